"""A prepared corpus: a folder of manifests that fairseq could be trained on, and its case."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from manifest.reading import (
    LABELS,
    LANGUAGE_TAG,
    WORD_BOUNDARY,
    WORDS,
    Split,
    check_symbols,
    complain_by_raising,
    read_dictionary,
    read_split,
    split_names,
)
from manifest.speakers import read_speakers

TRAIN = "train"
CASED = (WORDS, "ltr", "spm")  # in phones, case may tell two sounds apart


@dataclass(frozen=True)
class Corpus:
    """A prepared folder.

    Attributes:
        splits: name -> manifest and labels.
        dictionaries: suffix -> symbol -> count.
        speakers: path -> speaker.
    """

    name: str
    splits: dict[str, Split]
    dictionaries: dict[str, dict[str, int]]
    speakers: dict[str, str]

    @property
    def size(self) -> int:
        """Utterances to train on."""
        return len(self.splits[TRAIN].entries)


def read_corpus(name: str, data: Path) -> Corpus:
    """Reads a folder. Raises ValueError if fairseq could not be trained on it."""
    complain = complain_by_raising(data)
    splits = {split: read_split(data, split, complain) for split in split_names(data)}
    if TRAIN not in splits:
        raise ValueError(f"{data / TRAIN}.tsv: not found, expected a split to train on")
    # Labels that train has and other splits lack are an error.
    suffixes = [suffix for suffix in LABELS if suffix in splits[TRAIN].labels]
    dictionaries = {suffix: read_dictionary(data, suffix, complain) for suffix in suffixes}
    for split in splits.values():
        for suffix, dictionary in dictionaries.items():
            if suffix not in split.labels:
                raise ValueError(f"{data / split.name}.{suffix}: not found, expected labels")
            check_symbols(split, suffix, dictionary, complain)
    return Corpus(name, splits, dictionaries, read_speakers(data, complain))


def require_one_case(corpora: Sequence[Corpus]) -> None:
    """Raises ValueError if symbols of two corpora differ only in case.

    A corpus that has a letter in both cases is no error by itself: its texts are cased.
    """
    for suffix in CASED[1:]:
        if not all(suffix in corpus.dictionaries for corpus in corpora):
            continue
        forms: dict[str, dict[str, set[str]]] = {}  # symbol in one case -> form -> corpora
        for corpus in corpora:
            for symbol in _symbols(corpus, suffix):
                forms.setdefault(symbol.upper(), {}).setdefault(symbol, set()).add(corpus.name)
        for found in forms.values():
            if len({frozenset(names) for names in found.values()}) > 1:
                shown = " and ".join(f"{s!r} of {', '.join(sorted(n))}" for s, n in found.items())
                raise ValueError(
                    f".{suffix}: {shown} differ only in case, expected one form;"
                    " --case upper or --case lower writes all in one"
                )


def in_case(corpus: Corpus, case: str) -> Corpus:
    """The corpus with its words, letters and units in upper or lower case.

    Raises:
        ValueError: two letters of the corpus would become one, or one would become two.
    """
    convert, back, other = str.upper, str.lower, "lower"
    if case == "lower":
        convert, back, other = back, convert, "upper"
    dictionaries = dict(corpus.dictionaries)
    for suffix in CASED[1:]:
        counts: Counter[str] = Counter()
        first: dict[str, str] = {}
        for symbol, count in corpus.dictionaries.get(suffix, {}).items():
            converted = symbol if _is_tag(symbol) else convert(symbol)
            twin = first.setdefault(converted, symbol)
            if len(converted) != len(symbol) or back(twin) != back(symbol):
                symbols = repr(symbol) if twin == symbol else f"{twin!r} and {symbol!r}"
                raise ValueError(
                    f"--case {case}: {symbols} of {corpus.name} would become {converted!r},"
                    f" expected --case {other}"
                )
            counts[converted] += count
        if counts:
            dictionaries[suffix] = dict(counts)
    splits = {}
    for name, split in corpus.splits.items():
        labels = {
            suffix: [_convert_line(line, convert) for line in lines] if suffix in CASED else lines
            for suffix, lines in split.labels.items()
        }
        splits[name] = replace(split, labels=labels)
    return replace(corpus, splits=splits, dictionaries=dictionaries)


def _is_tag(symbol: str) -> bool:
    return bool(LANGUAGE_TAG.fullmatch(symbol.removeprefix(WORD_BOUNDARY["spm"])))


def _symbols(corpus: Corpus, suffix: str) -> list[str]:
    return [s for s in corpus.dictionaries[suffix] if not _is_tag(s)]


def _convert_line(line: str, convert: Callable[[str], str]) -> str:
    words = (word if _is_tag(word) else convert(word) for word in line.split(" "))
    return " ".join(words)
