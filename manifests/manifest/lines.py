"""The lines of a UTF-8 text file; where one is not UTF-8, an error names it."""

from collections.abc import Iterator
from pathlib import Path


def read_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a file without their ends, which are \\n or \\r\\n and nothing else.

    Raises:
        ValueError: a line is not UTF-8, or there is no such file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not found, expected a text file")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                # Some editors begin a file with a byte order mark.
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                found = line[error.start : error.end]
                raise ValueError(f"{path}, line {number}: {found!r}, expected UTF-8") from None
            yield text.rstrip("\r\n")
