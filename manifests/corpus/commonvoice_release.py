"""A CommonVoice release as it unpacks: a folder a language, and the rows of its .tsv files."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from audio.clips import Skipped
from manifest.lines import read_lines


class Row(NamedTuple):
    """One recording: its file in clips/, who speaks, and what was there to read."""

    clip: str
    speaker: str
    sentence: str


def language_folder(source: Path, code: str) -> Path:
    """`source`/`code`, or `source` itself where it is the folder of a language.

    Raises:
        ValueError: neither holds clips/; the message names the languages that are there.
    """
    for folder in (source / code, source):
        if (folder / "clips").is_dir():
            return folder
    found = sorted(clips.parent.name for clips in source.glob("*/clips"))
    raise ValueError(
        f"SOURCE: found no clips/ in {source / code} nor in {source}, expected a CommonVoice"
        f" release; --lang could be {', '.join(found) or 'none'} there"
    )


def read_rows(tsv: Path, code: str, skipped: list[Skipped]) -> Iterator[Row]:
    """Yields the good rows of a .tsv file of any release, and adds the others to `skipped`.

    Columns may come in any order. Early releases have no locale, and leave out the clips' ".mp3".

    Raises:
        ValueError: the file is missing, not UTF-8, or lacks a column.
    """
    lines = read_lines(tsv)
    header = next(lines, "").split("\t")
    lacking = [name for name in ("client_id", "path", "sentence") if name not in header]
    if lacking:
        raise ValueError(
            f"{tsv}, line 1: columns {', '.join(header)}, expected {', '.join(lacking)} among them"
        )
    # Fields are not quoted: a quotation mark is one of the sentence.
    for number, line in enumerate(lines, start=2):
        fields = line.split("\t")
        where = f"{tsv.name}, line {number}"
        if len(fields) != len(header):
            # A tab or a line break in the sentence.
            skipped.append(Skipped(where, f"{len(fields)} columns, expected {len(header)}"))
            continue
        row = dict(zip(header, fields))
        clip = row["path"] if row["path"].endswith(".mp3") else row["path"] + ".mp3"
        locale = row.get("locale", code)
        if not row["path"]:
            skipped.append(Skipped(where, "no path"))
        elif Path(clip).name != clip or clip != clip.strip() or not clip.isprintable():
            skipped.append(Skipped(where, f"path {row['path']!r}, expected a file name"))
        elif not row["client_id"]:
            skipped.append(Skipped(clip, "no client_id"))
        elif locale != code:
            skipped.append(Skipped(clip, f"locale {locale!r}, expected {code!r}"))
        else:
            # Interned: a speaker's name has 128 characters, and may stand in a million rows.
            yield Row(clip, sys.intern(row["client_id"]), row["sentence"])
