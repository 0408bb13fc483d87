"""Greedy CTC decoding: the best symbol of each frame."""

from typing import List

from torch import Tensor

from .generator import CtcGenerator
from .path import Path


class GreedySearch:
    """The best path, frame by frame, without a lexicon and without a language model."""

    uses_device = False

    def __call__(self, log_probs: Tensor, nbest: int = 1) -> List[Path]:
        """The best path through ``log_probs``, shape ``(frames, symbols)``: always one."""
        scores, symbols = log_probs.max(dim=1)
        score = scores.sum().item()
        return [Path(symbols.tolist(), score, score)]


class GreedyCtcDecoder(CtcGenerator):
    """Greedy decoding for ``fairseq-generate``.

    Args:
        blank: index of the CTC blank in the target dictionary.
        eos: index of the end of sentence, which fairseq strips from what it prints.
    """

    def __init__(self, blank: int, eos: int):
        super().__init__(GreedySearch(), blank, eos)
