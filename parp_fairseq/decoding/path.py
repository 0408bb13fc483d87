"""Path: the symbol of each frame that a decoder chose, and the tokens and words that it spells."""

from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Sequence, Tuple


class Run(NamedTuple):
    """Successive frames with the same symbol: one token of the hypothesis."""

    token: int
    start: int
    """First frame."""
    end: int
    """The frame after the last."""


class Word(NamedTuple):
    text: str
    start: int
    """First frame of its first token."""
    end: int
    """The frame after its last token. A separator at its end does not count."""


@dataclass(frozen=True)
class Path:
    """A hypothesis, frame by frame.

    Args:
        symbols: index of a symbol of the target dictionary for each frame.
        score: what the decoder maximised: the emission score, plus weighted scores of the language
            model and of words.
        emission_score: sum of the log-probabilities of ``symbols``.
        lm_score: the score of the language model, without its weight: in base 10 for KenLM, in base
            e for a model of fairseq.
        word_ends: for a decoder with a lexicon, each word and the frame in which its last token
            begins; None for other decoders.
    """

    symbols: Sequence[int]
    score: float
    emission_score: float
    lm_score: float = 0.0
    word_ends: Optional[Sequence[Tuple[str, int]]] = None


class Spelling(NamedTuple):
    """What a path spells."""

    runs: List[Run]
    words: Optional[List[Word]]
    """None where the symbols do not tell where words end, as phones do not."""


def spell(path: Path, blank: int, symbols: Sequence[str]) -> Spelling:
    """The tokens of a path, and its words.

    With a lexicon, the words are those that the decoder found, and the tokens are their spellings.
    Without one, words are told apart by the symbols: ``|`` ends one, and a symbol of sentencepiece
    that begins with ``▁`` starts one.

    Args:
        path: the path.
        blank: index of the CTC blank.
        symbols: those of the target dictionary.
    """
    runs = merge_repeats(path.symbols, blank)
    if path.word_ends is not None:
        return _spell_words(runs, path.word_ends, symbols)
    if "|" in symbols:
        return Spelling(runs, _words_before_separators(runs, symbols))
    if any(symbol.startswith("▁") for symbol in symbols):
        return Spelling(runs, _words_after_marks(runs, symbols))
    return Spelling(runs, None)


def merge_repeats(symbols: Sequence[int], blank: int) -> List[Run]:
    """The runs of equal symbols, without those of the blank."""
    runs: List[Run] = []
    start = 0
    for frame in range(1, len(symbols) + 1):
        if frame == len(symbols) or symbols[frame] != symbols[start]:
            if symbols[start] != blank:
                runs.append(Run(symbols[start], start, frame))
            start = frame
    return runs


def _spell_words(
    runs: Sequence[Run], word_ends: Sequence[Tuple[str, int]], symbols: Sequence[str]
) -> Spelling:
    # Between two words flashlight-text accepts any number of separators, which spell nothing. After
    # the last word there may be a word that the beam cut short.
    spelt, words = [], []
    position = 0
    for text, last in word_ends:
        first = position
        while position < len(runs) and runs[position].start <= last:
            position += 1
        of_word = list(runs[first:position])
        while len(of_word) > 1 and symbols[of_word[0].token] == "|":
            del of_word[0]
        spelt += of_word
        heard = [run for run in of_word if symbols[run.token] != "|"] or of_word
        if heard:
            words.append(Word(text, heard[0].start, heard[-1].end))
    return Spelling(spelt, words)


def _words_before_separators(runs: Sequence[Run], symbols: Sequence[str]) -> List[Word]:
    groups: List[List[Run]] = [[]]
    for run in runs:
        if symbols[run.token] == "|":
            groups.append([])
        else:
            groups[-1].append(run)
    return [_join(group, symbols) for group in groups if group]


def _words_after_marks(runs: Sequence[Run], symbols: Sequence[str]) -> List[Word]:
    groups: List[List[Run]] = []
    for run in runs:
        if not groups or symbols[run.token].startswith("▁"):
            groups.append([])
        groups[-1].append(run)
    words = (_join(group, symbols) for group in groups)
    return [word for word in words if word.text]


def _join(runs: Sequence[Run], symbols: Sequence[str]) -> Word:
    text = "".join(symbols[run.token] for run in runs).replace("▁", "")
    return Word(text, runs[0].start, runs[-1].end)
