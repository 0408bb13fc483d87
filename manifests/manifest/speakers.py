"""Who speaks in which audio file: DATA/speakers.tsv, or LibriSpeech's names of files."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from manifest.reading import Complain, read_lines
from manifest.writing import write_lines

HEADER = "path\tspeaker"
LIBRISPEECH = re.compile(r"(\d+)-\d+-\d{4}")  # SPEAKER-CHAPTER-UTTERANCE


def write_speakers(dest: Path, speaker_of: Mapping[str, str]) -> None:
    """Writes `dest`/speakers.tsv: a line for each file, named as in the .tsv files."""
    rows = (f"{path}\t{speaker}" for path, speaker in speaker_of.items())
    write_lines(dest / "speakers.tsv", [HEADER, *rows])


def read_speakers(data: Path, complain: Complain) -> dict[str, str]:
    """Path -> speaker of `data`/speakers.tsv. Empty if there is no such file."""
    table = data / "speakers.tsv"
    if not table.is_file():
        return {}
    header, *rows = read_lines(table, complain) or [""]
    if header != HEADER:
        complain("speakers", f"{table.name}, line 1", f"{header!r}, expected {HEADER!r}")
    speaker_of = {}
    for number, row in enumerate(rows, start=2):
        path, _, speaker = row.partition("\t")
        if not (path and speaker):
            found = f"{row!r}, expected a path, a tab, a speaker"
            complain("speakers", f"{table.name}, line {number}", found)
        speaker_of[path] = speaker
    return speaker_of


def find_speaker(path: str, speaker_of: Mapping[str, str]) -> Optional[str]:
    """Who speaks in a file, from the table or from the file's name. None if unknown."""
    named = LIBRISPEECH.fullmatch(Path(path).stem)
    return speaker_of.get(path) or (named[1] if named else None)
