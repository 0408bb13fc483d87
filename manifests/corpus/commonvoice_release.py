"""A CommonVoice release as it unpacks: a folder for each language, and the tables in it."""

import sys
from collections.abc import Iterator
from pathlib import Path

from audio.clips import Skipped
from manifest.lines import read_lines

from corpus.rows import Row

DURATIONS = "clip_durations.tsv"


def language_folder(source: Path, code: str) -> Path:
    """The folder of a language: `source`/`code`, `source`, or the one above or below them.

    Raises:
        ValueError: no such folder holds clips/, or several do. The message names the languages
            that are there.
    """
    for folder in (source / code, source):
        if (folder / "clips").is_dir():
            return folder
    if source.name == "clips" and any(source.parent.glob("*.tsv")):
        return source.parent
    deeper = sorted(path.parent for path in source.glob(f"*/{code}/clips"))
    if len(deeper) == 1:
        return deeper[0]
    if deeper:
        raise ValueError(
            f"SOURCE: found {code} in {', '.join(str(path.parent) for path in deeper)},"
            " expected one of them"
        )
    found = sorted(clips.parent.name for clips in source.glob("*/clips"))
    raise ValueError(
        f"SOURCE: found no clips/ in {source / code} nor in {source}, expected a CommonVoice"
        f" release; --lang could be {', '.join(found) or 'none'} there"
    )


def read_durations(folder: Path) -> dict[str, float]:
    """Clip -> seconds, from clip_durations.tsv. Empty for releases that do not have it.

    Raises:
        ValueError: the file has other columns, or a line without a duration.
    """
    if not (folder / DURATIONS).is_file():
        return {}
    header, *lines = read_lines(folder / DURATIONS)
    if not header.startswith("clip\tduration[ms]"):
        raise ValueError(f"{folder / DURATIONS}, line 1: {header!r}, expected clip, duration[ms]")
    durations = {}
    for number, line in enumerate(lines, start=2):
        clip, _, milliseconds = line.partition("\t")
        try:
            durations[clip] = float(milliseconds) / 1000
        except ValueError:
            raise ValueError(
                f"{folder / DURATIONS}, line {number}: {line!r}, expected a clip and milliseconds"
            ) from None
    return durations


def read_rows(tsv: Path, code: str, skipped: list[Skipped], split: str) -> Iterator[Row]:
    """Yields the good rows of a .tsv file of any release, and adds the others to `skipped`.

    Columns may have any order. Early releases have no locale, and leave out the ".mp3" of clips.

    Raises:
        ValueError: the file does not exist, is not UTF-8, or lacks a column.
    """
    lines = read_lines(tsv)
    header = next(lines, "").split("\t")
    lacking = [name for name in ("client_id", "path", "sentence") if name not in header]
    if lacking:
        raise ValueError(
            f"{tsv}, line 1: columns {', '.join(header)}, expected {', '.join(lacking)} among them"
        )
    # Fields are not quoted: a quotation mark belongs to the sentence.
    for number, line in enumerate(lines, start=2):
        fields = line.split("\t")
        where = f"{tsv.name}, line {number}"
        if len(fields) != len(header):
            # The sentence contains a tab or a line break.
            skipped.append(Skipped(where, f"{len(fields)} columns, expected {len(header)}", split))
            continue
        row = dict(zip(header, fields))
        clip = row["path"] if row["path"].endswith(".mp3") else row["path"] + ".mp3"
        locale = row.get("locale", code)
        if not row["path"]:
            skipped.append(Skipped(where, "no path", split))
        elif Path(clip).name != clip or clip != clip.strip() or not clip.isprintable():
            skipped.append(Skipped(where, f"path {row['path']!r}, expected a file name", split))
        elif not row["client_id"]:
            skipped.append(Skipped(clip, "no client_id", split))
        elif locale != code:
            skipped.append(Skipped(clip, f"locale {locale!r}, expected {code!r}", split))
        else:
            # Interned: a speaker's name has 128 characters, and may be in a million rows.
            yield Row(clip, sys.intern(row["client_id"]), row["sentence"])
