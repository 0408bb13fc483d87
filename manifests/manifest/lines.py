"""Reads the lines of a UTF-8 text file. The error for a line that is not UTF-8 names it."""

from collections.abc import Iterator
from pathlib import Path


def read_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a file without their line ends. Only \\n and \\r\\n end a line.

    Raises:
        ValueError: a line is not UTF-8, or the file does not exist.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not found, expected a text file")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                # Some editors write a byte order mark at the start of a file.
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                found = line[error.start : error.end]
                raise ValueError(f"{path}, line {number}: {found!r}, expected UTF-8") from None
            yield text.rstrip("\r\n")
