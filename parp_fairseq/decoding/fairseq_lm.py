"""FairseqLm: a language model of fairseq as flashlight-text asks for it, one state at a time."""

from typing import Dict, List, Sequence, Tuple

import torch
from flashlight.lib.text.decoder import LM, LMState
from torch import Tensor


class FairseqLm(LM):
    """Scores in base e. A state is a sequence of words, and is computed once.

    Args:
        model: a language model of fairseq, in evaluation.
        indices: index in the model's dictionary of each word of the decoder.
        eos: index of the end of sentence, which sentences begin and end with.
    """

    def __init__(self, model, indices: Sequence[int], eos: int):
        super().__init__()
        self.model = model.eval()
        self.device = next(model.parameters()).device
        self.indices = list(indices)
        self.eos = eos
        self.prefixes: Dict[LMState, List[int]] = {}
        self.computed: Dict[LMState, Tensor] = {}

    def start(self, start_with_nothing: bool) -> LMState:
        # A new sentence: what is known of the last one is of no use.
        self.prefixes.clear()
        self.computed.clear()
        state = LMState()
        self.prefixes[state] = [self.eos]
        return state

    def score(self, state: LMState, usr_token_idx: int) -> Tuple[LMState, float]:
        return self._follow(state, usr_token_idx, self.indices[usr_token_idx])

    def finish(self, state: LMState) -> Tuple[LMState, float]:
        return self._follow(state, -1, self.eos)

    def _follow(self, state: LMState, child: int, index: int) -> Tuple[LMState, float]:
        if state not in self.computed:
            self.computed[state] = self._log_probs(self.prefixes[state])
        after = state.child(child)
        if after not in self.prefixes:
            self.prefixes[after] = [*self.prefixes[state], index]
        return after, self.computed[state][index].item()

    @torch.no_grad()
    def _log_probs(self, prefix: Sequence[int]) -> Tensor:
        output = self.model(torch.tensor([prefix], device=self.device))
        log_probs = self.model.get_normalized_probs(output, log_probs=True, sample=None)
        return log_probs[0, -1].float().cpu()
