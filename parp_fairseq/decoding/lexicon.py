"""Lexicon: the words that a decoder may find, and how each is spelled in symbols."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

UNKNOWN = "<unk>"


class Entry(NamedTuple):
    word: str
    spelling: Tuple[int, ...]
    """Indices of symbols of the target dictionary."""
    line: int
    """Where it stands in the file, from 1."""


@dataclass(frozen=True)
class Lexicon:
    """The entries of a lexicon file.

    Args:
        path: the file.
        entries: in the order of the file. A word may have several spellings.
    """

    path: Path
    entries: Sequence[Entry]

    @property
    def words(self) -> List[str]:
        """The words, each once, in the order of the file."""
        return list(self.first_line)

    @property
    def first_line(self) -> Dict[str, int]:
        """The line of the first entry of each word."""
        lines: Dict[str, int] = {}
        for entry in self.entries:
            lines.setdefault(entry.word, entry.line)
        return lines


def read_lexicon(path: Path, symbols: Mapping[str, int], dictionary: str) -> Lexicon:
    """Read lines of a word, white space, and the symbols that spell it, separated by spaces.

    ``TWO T W O |`` is such a line. Empty lines are skipped.

    Args:
        path: the file, in UTF-8.
        symbols: symbol -> index, of the target dictionary, without its special symbols.
        dictionary: name of the target dictionary, for errors.

    Raises:
        FileNotFoundError, ValueError: there is no such file, it is empty, a line has no spelling,
            or the dictionary lacks a symbol. The message names the file and the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"lexicon {path} does not exist: see task.lexicon")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"lexicon {path} is not UTF-8: {error.reason}") from None
    entries: List[Entry] = []
    seen = set()
    # Not splitlines(), which also splits at characters that may be part of a word.
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields:
            continue
        word, *spelling = fields
        where = f"lexicon {path}, line {number}"
        if not spelling:
            raise ValueError(
                f"{where}: the word {word!r} has no spelling, expected a word, then the symbols "
                "that spell it, separated by spaces"
            )
        if word == UNKNOWN:
            raise ValueError(f"{where}: {UNKNOWN} stands for unknown words and cannot be spelled")
        unknown = next((symbol for symbol in spelling if symbol not in symbols), None)
        if unknown is not None:
            raise ValueError(
                f"{where}: {word!r} is spelled with {unknown!r}, which is not in the dictionary "
                f"{dictionary}: expected symbols such as {' '.join(list(symbols)[:5])}"
            )
        entry = Entry(word, tuple(symbols[symbol] for symbol in spelling), number)
        if entry[:2] not in seen:
            seen.add(entry[:2])
            entries.append(entry)
    if not entries:
        raise ValueError(
            f"lexicon {path} is empty: expected lines of a word and the symbols that spell it"
        )
    return Lexicon(path, entries)
