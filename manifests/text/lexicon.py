"""Pronunciation lexicons: plain ones, those of the Montreal Forced Aligner, and Kaldi's.

A line is a word and its phones, separated by white space. Between them may stand the probability of
the pronunciation (Kaldi's lexiconp.txt, MFA), and three more numbers about silence (Kaldi's
lexiconp_silprob.txt, MFA).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median_high
from typing import NamedTuple

from manifest.lines import read_lines

from text.sentences import BadText, Language, normalise

VARIANT = re.compile(r"\([0-9]+\)$")  # read(2)
NUMBER = re.compile(r"[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?", re.IGNORECASE)
COLUMNS = 4  # a probability and three numbers about silence
COMMENT = ";;;"  # of CMUdict


class Pronunciation(NamedTuple):
    """An entry of a lexicon.

    Attributes:
        word: without the number of a variant.
        phones: separated by one space.
        probability: 1 in a lexicon without probabilities.
    """

    word: str
    phones: str
    probability: float


def read_lexicon(path: Path) -> Iterator[Pronunciation]:
    """Yields the pronunciations in a file, in their order. Skips empty lines and comments.

    Raises:
        ValueError: a line has no phones, or the file is not UTF-8. The message names the line.
    """
    lines = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if "#" in fields[1:]:  # what follows is a remark, in CMUdict
            fields = fields[: fields.index("#", 1)]
        if fields and not line.startswith(COMMENT):
            lines.append((number, line, fields))
    numbers = _number_columns([fields for _, _, fields in lines])
    for number, line, (word, *fields) in lines:
        # Lines that were added by hand may lack the numbers.
        found = min(_leading_numbers(fields), numbers)
        phones = fields[numbers:] if found == numbers else fields
        if not phones or any("." in p and NUMBER.fullmatch(p) for p in phones):
            raise ValueError(f"{path}, line {number}: {line!r}, expected a word and its phones")
        probability = float(fields[0]) if numbers and found == numbers else 1.0
        yield Pronunciation(VARIANT.sub("", word), " ".join(phones), probability)


def _number_columns(lines: list[list[str]]) -> int:
    """How many numbers stand between a word and its phones: 0, 1 or 4.

    A phone may be a number too (2 and 9 are vowels in X-SAMPA), but not one with a decimal point.
    """
    counts = [_leading_numbers(fields[1:]) for fields in lines]
    weighted = [
        count
        for count, (_, *fields) in zip(counts, lines)
        if count and any("." in field for field in fields[: min(count, COLUMNS)])
    ]
    if not weighted:
        # Kaldi writes the probability 1 without a decimal point.
        ones = [count for count, (_, *fields) in zip(counts, lines) if fields[:1] == ["1"]]
        if not lines or len(ones) < len(lines) or min(ones) == 0:
            return 0
        weighted = ones
    return COLUMNS if median_high(weighted) >= COLUMNS else 1


def _leading_numbers(fields: list[str]) -> int:
    """The numbers at the beginning of some fields, of which the last is a phone in any case."""
    count = 0
    while count < len(fields) - 1 and NUMBER.fullmatch(fields[count]):
        count += 1
    return count


def lexicon_phonemizer(path: Path, language: Language) -> Callable[[str], str]:
    """Looks words up in a lexicon.

    Words are normalised as transcripts are. In a language without spaces they are characters. If a
    word has several pronunciations, the most probable one counts, and the first among equals.

    Returns:
        A function from words to phones, both separated by one space. It raises BadText for words
        that the lexicon lacks.

    Raises:
        ValueError: a line has no phones, or no line has a word of the language.
    """
    best: dict[str, Pronunciation] = {}
    for pronunciation in read_lexicon(path):
        try:
            word = normalise(pronunciation.word, language, Counter())
        except BadText:
            continue  # no transcript contains it
        known = best.get(word)
        if known is None or pronunciation.probability > known.probability:
            best[word] = pronunciation
    if not best:
        raise ValueError(f"{path}: found no word of the language, expected a lexicon")

    def look_up(words: str) -> str:
        keys = words.split() if language.spaced else list(words)
        missing = [key for key in keys if key not in best]
        if missing:
            raise BadText(f"the lexicon lacks {', '.join(map(repr, missing))}")
        return " ".join(best[key].phones for key in keys)

    return look_up
