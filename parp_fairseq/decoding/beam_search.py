"""BeamSearch: CTC beam search with a lexicon, a language model or both, by flashlight-text."""

import logging
import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Dict, List, Optional, Sequence, Tuple

from torch import Tensor

from .language_model import NoLanguageModel
from .lexicon import UNKNOWN, Entry, Lexicon
from .path import Path

logger = logging.getLogger(__name__)

# What flashlight-text keeps of words that are spelled alike (kTrieMaxLabel).
_MAX_HOMOPHONES = 6


@dataclass(frozen=True)
class SearchOptions:
    """How wide to search, and what to maximise.

    The search maximises the log-probability of the path, plus ``lm_weight`` times the score of the
    language model, plus ``word_score`` for each word (with a lexicon), ``unk_score`` for each
    unknown word, and ``sil_weight`` for each frame of the word separator.

    Args:
        beam: hypotheses that are kept after each frame.
        beam_threshold: hypotheses that score so much less than the best are dropped.
        beam_size_token: so many symbols, the likeliest, are tried in each frame; None for all.
        lm_weight: weight of the language model.
        word_score: added for each word of the lexicon.
        unk_score: added for each unknown word; None for no unknown words.
        sil_weight: added for each frame of the separator.
    """

    beam: int = 50
    beam_threshold: float = 25.0
    beam_size_token: Optional[int] = None
    lm_weight: float = 0.0
    word_score: float = 0.0
    unk_score: Optional[float] = None
    sil_weight: float = 0.0

    def __post_init__(self):
        for name in ("beam", "beam_size_token"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}: expected 1 or more")
        if not self.beam_threshold > 0:
            raise ValueError(f"beam_threshold is {self.beam_threshold}: expected more than 0")
        for name in ("lm_weight", "word_score", "unk_score", "sil_weight"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is {value}: expected a number that is finite")


class BeamSearch:
    """The best paths through an emission.

    Args:
        options: how to search.
        symbols: those of the target dictionary.
        blank: index of the CTC blank.
        separator: index of the symbol between words, which may be heard any number of times there;
            that of the end of sentence where symbols are not letters.
        language_model: of words, or, without a lexicon, of symbols.
        lexicon: words to find; None finds any sequence of symbols.

    Raises:
        ValueError: flashlight-text is not installed, or language model and lexicon do not fit.
    """

    def __init__(
        self,
        options: SearchOptions,
        symbols: Sequence[str],
        blank: int,
        separator: int,
        language_model=None,
        lexicon: Optional[Lexicon] = None,
    ):
        _require_flashlight()
        language_model = language_model or NoLanguageModel()
        self.symbols = list(symbols)
        self.blank = blank
        self.separator = separator
        self.lexicon = lexicon
        self.uses_device = language_model.uses_device
        if lexicon is None:
            self.words: List[str] = self.symbols
            self.lm = language_model.bind(self.words, self._describe_symbol, least=0.5)
            self.trie = None
        else:
            self.words = [*lexicon.words, UNKNOWN]
            self.lm = language_model.bind(self.words, self._describe_word, least=0.1)
            self.trie = _make_trie(lexicon, self.words, self.lm, len(symbols), separator)
        self.options = options
        self.decoder = self._make_decoder(options)

    def set_weights(self, lm_weight: float, word_score: float) -> None:
        """Search with other weights from now on."""
        self.options = replace(self.options, lm_weight=lm_weight, word_score=word_score)
        self.decoder = self._make_decoder(self.options)

    def __call__(self, log_probs: Tensor, nbest: int = 1) -> List[Path]:
        """The ``nbest`` best paths at most, the best first; one at least, which may be empty.

        Args:
            log_probs: natural logarithms, shape ``(frames, symbols)``.
        """
        log_probs = log_probs.float().contiguous()
        frames, symbols = log_probs.shape
        if symbols != len(self.symbols):
            raise ValueError(
                f"the model has {symbols} outputs, the dictionary {len(self.symbols)} symbols"
            )
        results = self.decoder.decode(log_probs.data_ptr(), frames, symbols) if frames else []
        if not results:  # no frames, or emissions that are not numbers
            empty = [self.blank] * frames
            return [Path(empty, -math.inf, -math.inf, word_ends=self.lexicon and [])]
        return [self._path(result) for result in results[:nbest]]

    def _path(self, result) -> Path:
        # The first element is the state before the first frame, the last the end of the sentence.
        word_ends = None
        if self.lexicon is not None:
            ends = enumerate(result.words[1:-1])
            word_ends = [(self.words[word], frame) for frame, word in ends if word >= 0]
        return Path(
            result.tokens[1:-1],
            result.score,
            result.emittingModelScore,
            result.lmScore,
            word_ends,
        )

    def _make_decoder(self, options: SearchOptions):
        from flashlight.lib.text import decoder

        shared = dict(
            beam_size=options.beam,
            beam_size_token=options.beam_size_token or len(self.symbols),
            beam_threshold=options.beam_threshold,
            lm_weight=options.lm_weight,
            sil_score=options.sil_weight,
            log_add=False,
            criterion_type=decoder.CriterionType.CTC,
        )
        if self.trie is None:
            return decoder.LexiconFreeDecoder(
                decoder.LexiconFreeDecoderOptions(**shared),
                self.lm,
                self.separator,
                self.blank,
                [],
            )
        unk_score = -math.inf if options.unk_score is None else options.unk_score
        return decoder.LexiconDecoder(
            decoder.LexiconDecoderOptions(
                word_score=options.word_score, unk_score=unk_score, **shared
            ),
            self.trie,
            self.lm,
            self.separator,
            self.blank,
            self.words.index(UNKNOWN),
            [],
            False,  # the language model is one of words
        )

    def _describe_word(self, word: str) -> str:
        return f"{word!r} (lexicon {self.lexicon.path}, line {self.lexicon.first_line[word]})"

    def _describe_symbol(self, symbol: str) -> str:
        return f"the symbol {symbol!r} of the target dictionary"


def _require_flashlight() -> None:
    try:
        import flashlight.lib.text.decoder  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "decoders other than greedy need flashlight-text: pip install 'parp_fairseq[lm]' "
            f"({error})"
        ) from None


def _make_trie(lexicon: Lexicon, words: Sequence[str], lm, num_symbols: int, separator: int):
    from flashlight.lib.text.decoder import SmearingMode, Trie

    trie = Trie(num_symbols, separator)
    start = lm.start(False)
    number = {word: index for index, word in enumerate(words)}
    scores = {word: lm.score(start, number[word])[1] for word in lexicon.words}
    for entry in _without_rare_homophones(lexicon.entries, scores):
        trie.insert(list(entry.spelling), number[entry.word], scores[entry.word])
    trie.smear(SmearingMode.MAX)
    return trie


def _without_rare_homophones(entries: Sequence[Entry], scores: Dict[str, float]) -> List[Entry]:
    alike: Dict[Tuple[int, ...], List[Entry]] = defaultdict(list)
    for entry in entries:
        alike[entry.spelling].append(entry)
    kept: List[Entry] = []
    for homophones in alike.values():
        likeliest = sorted(homophones, key=lambda entry: -scores[entry.word])
        kept += likeliest[:_MAX_HOMOPHONES]
        dropped = likeliest[_MAX_HOMOPHONES:]
        if dropped:
            logger.warning(
                f"{len(homophones)} words are spelled alike, of which the {_MAX_HOMOPHONES} "
                f"likeliest are used; without {', '.join(entry.word for entry in dropped)}"
            )
    return kept
