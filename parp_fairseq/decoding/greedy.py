"""Greedy CTC decoding: the best symbol of each frame, repeats merged, blanks dropped."""

import math
from typing import Any, Dict, List, Mapping, Sequence

import torch
from torch import Tensor


class GreedyCtcDecoder:
    """What ``fairseq-generate`` calls a generator, for CTC models.

    Args:
        blank: index of the CTC blank in the target dictionary.
        eos: index of the end of sentence, which fairseq strips from what it prints.
    """

    def __init__(self, blank: int, eos: int):
        self.blank = blank
        self.symbols_to_strip_from_output = {eos}

    @torch.no_grad()
    def generate(
        self, models: Sequence, sample: Mapping[str, Any], **_
    ) -> List[List[Dict[str, Tensor]]]:
        """One hypothesis an utterance.

        ``score`` is the log-probability of the best path, ``positional_scores`` hold that of each
        token's likeliest frame.

        Several models are an ensemble: the mean of their probabilities is decoded.
        """
        emissions, lengths = self._emissions(models, sample["net_input"])
        return [[self._best_path(e[:n])] for e, n in zip(emissions, lengths)]

    def _emissions(self, models: Sequence, net_input: Mapping[str, Tensor]):
        total = None
        for model in models:
            model.eval()
            output = model(**net_input)
            log_probs = model.get_normalized_probs(
                output, log_probs=True
            )  # frames x batch x symbols
            total = log_probs if total is None else torch.logaddexp(total, log_probs)
        log_probs = (total - math.log(len(models))).transpose(0, 1).cpu()
        padding = output["padding_mask"]
        if padding is None:
            return log_probs, [log_probs.size(1)] * log_probs.size(0)
        return log_probs, (~padding).sum(dim=1).tolist()

    def _best_path(self, log_probs: Tensor) -> Dict[str, Tensor]:
        scores, path = log_probs.max(dim=1)
        symbols, runs = path.unique_consecutive(return_inverse=True)
        likeliest = scores.new_full(symbols.shape, -math.inf).scatter_reduce(
            0, runs, scores, "amax"
        )
        is_token = symbols != self.blank
        return {
            "tokens": symbols[is_token],
            "score": scores.sum(),
            "positional_scores": likeliest[is_token],
            "alignment": None,
            "attention": None,
        }
