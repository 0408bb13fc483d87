"""CTC emissions to hypotheses, in the form that stock ``fairseq-generate`` prints and scores."""

from .beam_search import BeamSearch, SearchOptions
from .generator import CtcGenerator
from .greedy import GreedyCtcDecoder, GreedySearch
from .language_model import FairseqLanguageModel, KenLanguageModel
from .lexicon import Lexicon, read_lexicon

__all__ = [
    "BeamSearch",
    "CtcGenerator",
    "FairseqLanguageModel",
    "GreedyCtcDecoder",
    "GreedySearch",
    "KenLanguageModel",
    "Lexicon",
    "SearchOptions",
    "read_lexicon",
]
