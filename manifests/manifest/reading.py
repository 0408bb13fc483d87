"""Reads a folder of manifests as fairseq reads it, and reports what is wrong with its text.

Faults go to a function `complain(kind, place, found)`, which may collect them or raise.
"""

import io
import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

WORDS = "wrd"
LABELS = ("ltr", "phn", "spm")
WORD_BOUNDARY = {"ltr": "|", "spm": "\N{LOWER ONE EIGHTH BLOCK}"}
LANGUAGE_TAG = re.compile(r"<[^<>\s]+>")  # joint.py --tags puts one before each line
UNKNOWN = "<unk>"
OWN_SYMBOLS = ("<s>", "<pad>", "</s>", UNKNOWN)  # fairseq adds them to every dictionary
OVERWRITE = " #fairseq:overwrite"
BOM = "\ufeff"
# How the Unicode names of letters begin that are written without spaces between words.
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")

Complain = Callable[[str, str, str], None]


class Entry(NamedTuple):
    """A line of a .tsv file: its number, the path below the root, and the length in samples."""

    line: int
    path: str
    frames: int


@dataclass(frozen=True)
class Split:
    """A manifest and its labels.

    Attributes:
        entries: the lines that can be read.
        labels: suffix (ltr, phn, spm, wrd) -> the line of each entry.
    """

    name: str
    root: Path
    entries: list[Entry]
    labels: dict[str, list[str]]

    def place(self, number: int, suffix: str = "tsv") -> str:
        """Where a file of the split has the entry of that number."""
        line = self.entries[number].line
        return f"{self.name}.{suffix}, line {line if suffix == 'tsv' else line - 1}"


def complain_by_raising(data: Path) -> Complain:
    """The strictest `complain`: it raises a ValueError that names the file below `data`."""

    def complain(kind: str, place: str, found: str) -> None:
        raise ValueError(f"{data / place}: {found}")

    return complain


def split_names(data: Path) -> list[str]:
    """The names of the manifests in `data`: training splits first, then validation, then test.

    Raises:
        ValueError: there are none.
    """
    if not data.is_dir():
        raise ValueError(f"{data}: not found, expected a folder of manifests")
    names = {path.stem for path in data.glob("*.tsv")} - {"speakers", "skipped"}
    if not names:
        raise ValueError(f"{data}: found no manifest, expected train.tsv and others")
    kinds = ("train", "valid", "dev", "test")
    ranks = {name: [name.startswith(kind) for kind in kinds] for name in names}
    return sorted(names, key=lambda name: ([not is_kind for is_kind in ranks[name]], name))


def read_lines(path: Path, complain: Complain) -> list[str]:
    """The lines of a text file. They end where fairseq ends them: at \\n, \\r\\n and \\r."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = content[error.start : error.end]
        complain("text", f"{path.name}, line {line}", f"{found!r}, expected UTF-8")
        text = content.decode("utf-8", "replace")
    if text.startswith(BOM):
        found = "begins with a byte order mark (BOM), expected UTF-8 without"
        complain("text", f"{path.name}, line 1", found)
        text = text.removeprefix(BOM)
    return [line.rstrip("\n") for line in io.StringIO(text, newline=None)]


def read_split(data: Path, name: str, complain: Complain) -> Split:
    """The manifest {name}.tsv in `data`, and its label files.

    Label files with more or fewer lines than the manifest are left out.
    """
    root, *lines = read_lines(data / f"{name}.tsv", complain) or [""]
    if not Path(root).is_dir() or not root.strip():
        complain("manifest", f"{name}.tsv, line 1", f"{root!r}, expected the folder of the audio")
    entries = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(lines, start=2):
        path, _, frames = line.strip().partition("\t")
        if not (path and frames.isdecimal()):
            expected = "expected a path, a tab, and the number of samples"
            complain("manifest", f"{name}.tsv, line {number}", f"{line!r}, {expected}")
            continue
        if path in line_of:
            found = f"{path!r} is also in line {line_of[path]}, expected it once"
            complain("file twice in a split", f"{name}.tsv, line {number}", found)
        line_of.setdefault(path, number)
        entries.append(Entry(number, path, int(frames)))
    if not lines:
        complain("manifest", f"{name}.tsv", "no utterances, expected at least one")
    split = Split(name, Path(root.strip()), entries, {})
    for suffix in (WORDS, *LABELS):
        if (data / f"{name}.{suffix}").is_file():
            labels = read_lines(data / f"{name}.{suffix}", complain)
            if len(labels) != len(lines):
                found = f"{len(labels)} lines, expected {len(lines)} as in {name}.tsv"
                complain("labels", f"{name}.{suffix}", found)
                continue
            split.labels[suffix] = [labels[entry.line - 2] for entry in entries]
    _check_labels(split, complain)
    return split


def _check_labels(split: Split, complain: Complain) -> None:
    words = split.labels.get(WORDS)
    for suffix, lines in split.labels.items():
        boundary = WORD_BOUNDARY.get(suffix)
        for number, line in enumerate(lines):
            place = split.place(number, suffix)
            if not line.split():
                complain("labels", place, "an empty line, expected labels")
            elif words and boundary and _words(line, boundary) != " ".join(words[number].split()):
                spelt = f"spells {_words(line, boundary)!r}, expected {words[number]!r}"
                complain("spelling", place, f"{spelt} as in {split.name}.{WORDS}")


def _words(labels: str, boundary: str) -> str:
    """The words that letters or sentencepiece units spell, without a language tag."""
    words = "".join(labels.split()).replace(boundary, " ").split()
    return " ".join(words[1:] if words and LANGUAGE_TAG.fullmatch(words[0]) else words)


def label_kinds(splits: Collection[Split]) -> list[str]:
    """The label files (ltr, phn, spm) that any of the splits has."""
    return [suffix for suffix in LABELS if any(suffix in split.labels for split in splits)]


def read_dictionary(data: Path, suffix: str, complain: Complain) -> dict[str, int]:
    """Symbol -> count of `data`/dict.{suffix}.txt. Empty if there is no such file."""
    name = f"dict.{suffix}.txt"
    counts: dict[str, int] = {}
    if not (data / name).is_file():
        complain("dictionary", name, f"not found, expected the symbols of the .{suffix} files")
        return counts
    for number, line in enumerate(read_lines(data / name, complain), start=1):
        overwrites = line.rstrip().endswith(OVERWRITE)
        symbol, _, count = line.rstrip().removesuffix(OVERWRITE).rpartition(" ")
        if symbol in OWN_SYMBOLS and not overwrites:
            found = f"{symbol!r}, which fairseq adds by itself, expected a file without it"
            complain("dictionary", f"{name}, line {number}", found)
        elif not (symbol and count.isdecimal()):
            expected = "expected a symbol, a space, and its count"
            complain("dictionary", f"{name}, line {number}", f"{line!r}, {expected}")
        elif symbol in counts and not overwrites:
            complain("dictionary", f"{name}, line {number}", f"{symbol!r} again, expected it once")
        else:
            counts[symbol] = int(count)
    return counts


def check_symbols(split: Split, suffix: str, symbols: Collection[str], complain: Complain) -> None:
    """Complains of symbols that the dictionary lacks, which fairseq reads as <unk>."""
    known = {*symbols, UNKNOWN}
    for number, line in enumerate(split.labels.get(suffix, ())):
        for symbol in dict.fromkeys(line.split()):
            if symbol not in known:
                found = f"{symbol!r}, expected one of the {len(symbols)} of dict.{suffix}.txt"
                complain("symbols", split.place(number, suffix), found)


def check_word_ends(split: Split, complain: Complain) -> None:
    """Complains of letters in which no word ends: each line would be scored as one word.

    Languages that are written without spaces between words need no ends of words. The .wrd file
    tells how many words a line has. Without it, the script of the letters does.
    """
    lines = split.labels.get("ltr", [])
    boundary = WORD_BOUNDARY["ltr"]
    if any(boundary in line for line in lines):
        return
    if WORDS in split.labels:
        several = [len(line.split()) > 1 for line in split.labels[WORDS]]
    else:
        several = [any(map(_is_spaced, line.split())) for line in lines]
    if any(several):
        found = f"no {boundary!r} in this or any other line, expected one after each word"
        complain("labels", split.place(several.index(True), "ltr"), found)


def _is_spaced(symbol: str) -> bool:
    letter = symbol[0]
    return letter.isalpha() and not unicodedata.name(letter, "").startswith(UNSPACED)
