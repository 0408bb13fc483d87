"""What LibriSpeech and Libri-Light were published with, to tell whether a copy is whole."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from audio.clips import Skipped
from audio.files import RATE
from manifest.lines import read_lines
from manifest.writing import Utterance

PUBLISHED = {  # utterances of each subset
    "dev-clean": 2703,
    "dev-other": 2864,
    "test-clean": 2620,
    "test-other": 2939,
    "train-clean-100": 28539,
    "train-clean-360": 104014,
    "train-other-500": 148688,
}
MINUTES = {"10min": 10, "1h": 60, "10h": 600}  # of Libri-Light's sets
SHORTER = 0.1  # share by which a set may be shorter than its name says
CHAPTERS = "CHAPTERS.TXT"


def missing_chapters(root: Path, folders: Sequence[str]) -> list[Skipped]:
    """The chapters of some subsets that CHAPTERS.TXT lists and that have no audio.

    A line of the table is "chapter | reader | minutes | subset | ...". Without the table, nothing
    is known to be missing.
    """
    if not (root / CHAPTERS).is_file():
        return []
    missing = []
    for line in read_lines(root / CHAPTERS):
        fields = [field.strip() for field in line.split("|")]
        if line.startswith(";") or len(fields) < 4 or fields[3] not in folders:
            continue
        chapter = f"{fields[3]}/{fields[1]}/{fields[0]}"
        if not any((root / chapter).glob("*.flac")):
            missing.append(Skipped(chapter, f"no audio, though {CHAPTERS} lists it", CHAPTERS))
    return missing


def check_whole(
    folders: Sequence[str],
    utterances: Sequence[Utterance],
    skipped: Sequence[Skipped],
    max_missing: float,
) -> None:
    """Raises ValueError if a subset lacks a chapter, or a share of its published utterances.

    Args:
        folders: the subsets. Those that are not LibriSpeech's own are not looked at.
        utterances: the good ones of all subsets.
        skipped: what is left out of them, missing chapters included.
        max_missing: share, from 0 to 1.
    """
    hint = "see skipped.tsv; --partial takes what is there"
    chapters = [clip.clip for clip in skipped if clip.split == CHAPTERS]
    if chapters:
        raise ValueError(
            f"{chapters[0]}: found no audio in {len(chapters)} chapters that {CHAPTERS} lists,"
            f" expected all; {hint}"
        )
    found = Counter(utterance.path.partition("/")[0] for utterance in utterances)
    for folder in folders:
        published = PUBLISHED.get(folder, 0)
        if published - found[folder] > max_missing * published:
            raise ValueError(
                f"{folder}: found {found[folder]} good utterances, expected the {published} that"
                f" were published; {hint}"
            )


def check_minutes(
    split: str, train: str | None, utterances: Sequence[Utterance], max_missing: float
) -> None:
    """Raises ValueError if a set of Libri-Light is shorter than its name says."""
    if split != "train" or train not in MINUTES:
        return
    minutes = sum(utterance.frames for utterance in utterances) / RATE / 60
    if minutes < (1 - SHORTER - max_missing) * MINUTES[train]:
        raise ValueError(
            f"--train {train}: found {minutes:.1f} minutes, expected about {MINUTES[train]};"
            " see skipped.tsv; --partial takes what is there"
        )
