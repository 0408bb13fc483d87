"""CTC emissions to hypotheses, in the form that stock ``fairseq-generate`` prints and scores."""

from .greedy import GreedyCtcDecoder

__all__ = ["GreedyCtcDecoder"]
