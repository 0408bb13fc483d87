"""Reading the symbols of a dictionary file of fairseq, without importing fairseq."""

from pathlib import Path
from typing import List

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]  # fairseq puts them before the lines of the file


def read_dictionary(path: Path) -> List[str]:
    """The symbols of a ``dict.*.txt``, in order, after the special ones.

    Raises:
        OSError, ValueError: there is no such file, or a line is not a symbol and a count.
    """
    if not path.is_file():
        raise FileNotFoundError(f"dictionary {path} does not exist")
    symbols = list(SPECIAL)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"dictionary {path} is not UTF-8: {error}") from None
    for number, line in enumerate(lines, start=1):
        symbol, space, count = line.rstrip().removesuffix(" #fairseq:overwrite").rpartition(" ")
        if not (space and symbol and count.isdecimal()):
            raise ValueError(
                f"dictionary {path}, line {number}: expected a symbol, a space and a count, "
                f"found {line!r}"
            )
        symbols.append(symbol)
    return symbols
