"""A table of recordings that a user wrote: CSV or TSV with a path, a text, and a speaker."""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from audio.clips import Skipped
from manifest.lines import read_lines

from corpus.rows import Row

DELIMITERS = "\t,;|"
SPLIT_NAMES = {"train": "train", "valid": "valid", "dev": "valid", "validation": "valid"}
SPLIT_NAMES |= {"test": "test"}


@dataclass(frozen=True)
class Columns:
    """The names of the columns. Those of speaker and split may be missing in a table."""

    path: str = "path"
    text: str = "text"
    speaker: str = "speaker"
    split: str = "split"


@dataclass(frozen=True)
class Table:
    """What a table says.

    Attributes:
        rows: the good rows, in their order.
        splits: clip -> train, valid or test; empty if the table has no such column.
        has_speakers: whether the table has that column.
        skipped: the other rows.
    """

    rows: list[Row]
    splits: Mapping[str, str]
    has_speakers: bool
    skipped: list[Skipped]


def read_table(path: Path, columns: Columns) -> Table:
    """Reads a table with a header. Tabs, commas, semicolons or bars separate its columns.

    Raises:
        ValueError: the file does not exist, is not UTF-8, or lacks a column or all rows; a split
            has another name than train, valid (dev, validation) or test.
    """
    lines = [f"{line}\n" for line in read_lines(path)]
    header, delimiter = _header(path, lines[0] if lines else "", columns)
    # In a TSV a quotation mark belongs to the text.
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(lines[1:], delimiter=delimiter, quoting=quoting)
    rows: list[Row] = []
    splits: dict[str, str] = {}
    skipped: list[Skipped] = []
    for fields in reader:
        where = f"{path.name}, line {reader.line_num + 1}"
        if not fields or not any(field.strip() for field in fields):
            continue
        if len(fields) != len(header):
            found = f"{len(fields)} columns, expected {len(header)}"
            skipped.append(Skipped(where, found, path.name))
            continue
        row = dict(zip(header, (field.strip() for field in fields)))
        clip, speaker = row[columns.path], row.get(columns.speaker, "")
        if not clip or not clip.isprintable():
            skipped.append(Skipped(where, f"path {clip!r}, expected a file", path.name))
        elif columns.speaker in header and not speaker:
            skipped.append(Skipped(clip, "no speaker", path.name))
        else:
            rows.append(Row(clip, speaker, row[columns.text]))
            if columns.split in header:
                splits[clip] = _split_name(
                    f"{path}, line {reader.line_num + 1}", row[columns.split]
                )
    if not rows:
        raise ValueError(f"{path}: found no rows, expected some below the header")
    return Table(rows, splits, columns.speaker in header, skipped)


def _header(path: Path, line: str, columns: Columns) -> tuple[list[str], str]:
    needed = (columns.path, columns.text)
    for delimiter in DELIMITERS:
        header = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
        if set(needed) <= set(header):
            twice = [name for name in header if header.count(name) > 1]
            if twice:
                raise ValueError(f"{path}, line 1: two columns {twice[0]!r}, expected one")
            return header, delimiter
    raise ValueError(
        f"{path}, line 1: {line.rstrip()!r}, expected the columns {', '.join(needed)}, separated by"
        " tabs or commas; --path-column and --text-column name others"
    )


def _split_name(where: str, text: str) -> str:
    if text.lower() not in SPLIT_NAMES:
        raise ValueError(
            f"{where}: split {text!r}, expected train, valid (dev, validation) or test"
        )
    return SPLIT_NAMES[text.lower()]


def flac_names(rows: Iterable[Row]) -> dict[str, str]:
    """Clip -> path of its FLAC: the same path, without what leads out of the folder.

    Clips that differ in their suffix only keep it.
    """
    inside = {row.clip: os.path.normpath(row.clip).lstrip("./") for row in rows}
    stem_of = {clip: str(Path(name).with_suffix("")) for clip, name in inside.items()}
    count = Counter(stem_of.values())
    return {
        clip: f"{inside[clip] if count[stem] > 1 else stem}.flac" for clip, stem in stem_of.items()
    }
