"""CtcGenerator: what ``fairseq-generate`` calls a generator, for CTC models and any search."""

from typing import Any, Dict, List, Mapping, Optional, Protocol, Sequence

import torch
from torch import Tensor

from .emissions import Emission, emissions_of
from .hypotheses_file import HypothesesFile
from .parallel import Workers
from .path import Path, Spelling, spell


class Search(Protocol):
    """Finds hypotheses in an emission."""

    uses_device: bool
    """Whether it needs the GPU, which a process cannot share with those that it forks."""

    def __call__(self, log_probs: Tensor, nbest: int = 1) -> List[Path]:
        """The ``nbest`` best paths at most, the best first, at least one."""


class CtcGenerator:
    """Turns the output of CTC models into hypotheses in the form that ``fairseq-generate`` scores.

    Args:
        search: what decodes one emission.
        blank: index of the CTC blank in the target dictionary.
        eos: index of the end of sentence, which fairseq strips from what it prints.
        symbols: those of the target dictionary, for ``output``.
        nbest: number of hypotheses of each utterance.
        workers: processes that decode the utterances of a batch side by side. The order of the
            hypotheses does not depend on it.
        output: where hypotheses are written to with the times of their words; None for nowhere.
        sample_rate: of the audio, in Hz.
    """

    def __init__(
        self,
        search: Search,
        blank: int,
        eos: int,
        symbols: Sequence[str] = (),
        nbest: int = 1,
        workers: int = 1,
        output: Optional[HypothesesFile] = None,
        sample_rate: int = 16000,
    ):
        self.blank = blank
        self.symbols = symbols
        self.symbols_to_strip_from_output = {eos}
        self.nbest = nbest
        self.workers = Workers(search, workers)
        self.output = output
        self.sample_rate = sample_rate

    @torch.no_grad()
    def generate(
        self, models: Sequence, sample: Mapping[str, Any], **_
    ) -> List[List[Dict[str, Any]]]:
        """The hypotheses of each utterance, the best first.

        ``score`` is the score of the search; ``positional_scores`` hold the log-probability of each
        token in its likeliest frame.

        Several models are an ensemble: the mean of their probabilities is decoded.
        """
        emissions = emissions_of(models, sample["net_input"], self.sample_rate)
        found = self.workers.decode([e.log_probs for e in emissions], self.nbest)
        spelt = [[(path, self._spell(path)) for path in paths] for paths in found]
        if self.output is not None:
            self.output.add(sample["id"].tolist(), emissions, spelt)
        return [
            [_hypothesis(emission, path, spelling) for path, spelling in hypotheses]
            for emission, hypotheses in zip(emissions, spelt)
        ]

    def _spell(self, path: Path) -> Spelling:
        return spell(path, self.blank, self.symbols)


def _hypothesis(emission: Emission, path: Path, spelling: Spelling) -> Dict[str, Any]:
    log_probs = emission.log_probs
    likeliest = [log_probs[r.start : r.end, r.token].max().item() for r in spelling.runs]
    return {
        "tokens": torch.tensor([run.token for run in spelling.runs], dtype=torch.long),
        "score": torch.tensor(path.score),
        "positional_scores": log_probs.new_tensor(likeliest),
        "words": None if spelling.words is None else [word.text for word in spelling.words],
        "alignment": None,
        "attention": None,
    }
