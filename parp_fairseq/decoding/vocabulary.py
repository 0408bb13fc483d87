"""The words that an n-gram model knows, read from its file: ARPA, or binary of KenLM."""

import bz2
import gzip
import lzma
import mmap
import struct
from pathlib import Path
from typing import Optional, Set

_MAGIC = b"mmap lm http://kheafield.com/code format version"
# Where the header of a binary file tells whether the words are in it, and how many there are.
_HAS_WORDS, _COUNT = 100, 108
_OPENERS = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}


def read_vocabulary(path: Path) -> Optional[Set[str]]:
    """The words of a model that KenLM has loaded; None for a binary file made without its words.

    Raises:
        ValueError: a binary file is cut short among its words.
    """
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if start == _MAGIC:
        return _of_binary(path)
    with _OPENERS.get(start[:2], open)(path, "rb") as file:
        return _of_arpa(file)


def _of_binary(path: Path) -> Optional[Set[str]]:
    # KenLM appends the words, each with a zero byte, in the order of their numbers; <unk> is 0. It
    # does not notice where they are cut short.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        (has_words,) = struct.unpack_from("<?", content, _HAS_WORDS)
        (count,) = struct.unpack_from("<Q", content, _COUNT)
        if not has_words:
            return None
        words = content[max(content.rfind(b"<unk>\0"), 0) :].split(b"\0")[:-1]
    if len(words) != count:
        raise ValueError(
            f"language model {path} is cut short: expected the names of {count} words at its end, "
            f"found {len(words)}"
        )
    return {word.decode("utf-8", "replace") for word in words}


def _of_arpa(file) -> Set[str]:
    words: Set[str] = set()
    is_inside = False
    for line in file:
        line = line.strip()
        if line.startswith(b"\\"):
            if is_inside:
                break
            is_inside = line == b"\\1-grams:"
        elif is_inside and line:
            words.add(line.split()[1].decode("utf-8", "replace"))
    return words
