"""Which clips of a CommonVoice release make the training, validation and test splits."""

import random
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from audio.clips import Skipped
from manifest.lines import read_lines

from corpus.commonvoice_release import Row, read_rows

# In the order in which they choose: what is tested is not trained on.
OFFICIAL = {"test": "test.tsv", "valid": "dev.tsv", "train": "train.tsv"}
SPLITS = tuple(OFFICIAL)
POOL = "validated.tsv"  # what the other splits are chosen from


def official(folder: Path, code: str, skipped: list[Skipped]) -> dict[str, list[Row]]:
    """The splits that come with the release."""
    rows = {split: read_rows(folder / name, code, skipped) for split, name in OFFICIAL.items()}
    return once(rows, skipped)


def listed(
    folder: Path, code: str, lists: Mapping[str, Path], skipped: list[Skipped]
) -> dict[str, list[Row]]:
    """The clips that lists name, a clip a line, with an ending such as ".mp3" or without."""
    pool = once({POOL: read_rows(folder / POOL, code, skipped)}, skipped)[POOL]
    row_of = {Path(row.clip).stem: row for row in pool}
    rows = {}
    for split in SPLITS:
        names = [_name(line) for line in read_lines(lists[split]) if line.strip()]
        skipped += [Skipped(name, f"not in {POOL}") for name in names if name not in row_of]
        rows[split] = [row_of[name] for name in names if name in row_of]
    return once(rows, skipped)


def _name(line: str) -> str:
    name = Path(line.strip())
    return name.stem if name.suffix in (".mp3", ".wav", ".flac") else name.name


def once(rows: Mapping[str, Iterable[Row]], skipped: list[Skipped]) -> dict[str, list[Row]]:
    """Each clip where it comes first; where it comes again, it is skipped."""
    home: dict[str, str] = {}
    kept: dict[str, list[Row]] = {}
    for split, found in rows.items():
        kept[split] = []
        for row in found:
            if row.clip in home:
                skipped.append(Skipped(row.clip, f"again in {split}, first in {home[row.clip]}"))
            else:
                home[row.clip] = split
                kept[split].append(row)
    return kept


class Speakers:
    """Rows by speaker, to be drawn so that no speaker is in two splits.

    Chance decides the order, the seed decides chance, and the order of the rows decides nothing.
    """

    def __init__(self, rows: Iterable[Row], seed: int) -> None:
        self.rng = random.Random(seed)
        rows_of = defaultdict(list)
        for row in sorted(rows):
            rows_of[row.speaker].append(row)
        speakers = list(rows_of.values())
        self.rng.shuffle(speakers)
        for rows in speakers:
            self.rng.shuffle(rows)
        # As in the official splits, those with few clips come first: they are many voices, and
        # they leave the hours to the training split. Among equals the shuffled order stays.
        self.left = deque(sorted(speakers, key=len))

    def one_by_one(self) -> Iterator[Row]:
        """All rows of a speaker, then those of the next; a speaker begun is drawn no more."""
        while self.left:
            yield from self.left.popleft()

    def in_turn(self) -> Iterator[Row]:
        """A row of each speaker who is left, then another of each who has one, and so on."""
        speakers = list(self.left)
        self.rng.shuffle(speakers)
        while speakers:
            yield from (rows.pop() for rows in speakers)
            speakers = [rows for rows in speakers if rows]
