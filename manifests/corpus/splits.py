"""Which clips make the training, validation and test splits."""

import random
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from audio.clips import Skipped
from manifest.lines import read_lines

from corpus.commonvoice_release import read_rows
from corpus.rows import Row

# In the order in which they choose: what is tested is not trained on.
OFFICIAL = {"test": "test.tsv", "valid": "dev.tsv", "train": "train.tsv"}
SPLITS = tuple(OFFICIAL)
POOL = "validated.tsv"  # all clips from which splits are chosen

Rows = dict[str, list[Row]]  # split -> its rows


def official(folder: Path, code: str, skipped: list[Skipped]) -> Rows:
    """The splits that come with the release. Raises ValueError if it has none."""
    missing = [name for name in OFFICIAL.values() if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{folder}: found no {', '.join(missing)}, as in a delta release, expected them;"
            f" --train-minutes M draws splits from {POOL}"
        )
    rows = {s: read_rows(folder / name, code, skipped, s) for s, name in OFFICIAL.items()}
    return once(rows, skipped)


def all_validated(folder: Path, code: str, skipped: list[Skipped]) -> Rows:
    """The official test and validation splits, and all other validated clips for training."""
    rows = official(folder, code, skipped)
    held_out = {row.clip for split in ("test", "valid") for row in rows[split]}
    pool = read_rows(folder / POOL, code, skipped, "train")
    pool = (row for row in pool if row.clip not in held_out)
    return {**rows, "train": once({"train": pool}, skipped)["train"]}


def listed(folder: Path, code: str, lists: Mapping[str, Path], skipped: list[Skipped]) -> Rows:
    """The clips that lists name: one clip a line, with a suffix such as ".mp3" or without."""
    pool = once({POOL: read_rows(folder / POOL, code, skipped, POOL)}, skipped)[POOL]
    row_of = {Path(row.clip).stem: row for row in pool}
    rows = {}
    for split in SPLITS:
        names = [_name(line) for line in read_lines(lists[split]) if line.strip()]
        missing = [name for name in names if name not in row_of]
        skipped += [Skipped(name, f"not in {POOL}", split) for name in missing]
        rows[split] = [row_of[name] for name in names if name in row_of]
    return once(rows, skipped)


def _name(line: str) -> str:
    name = Path(line.strip())
    return name.stem if name.suffix in (".mp3", ".wav", ".flac") else name.name


def once(rows: Mapping[str, Iterable[Row]], skipped: list[Skipped]) -> Rows:
    """Keeps each clip where it comes first, and skips it where it comes again."""
    home: dict[str, str] = {}
    kept: dict[str, list[Row]] = {}
    for split, found in rows.items():
        kept[split] = []
        for row in found:
            if row.clip in home:
                reason = f"again in {split}, first in {home[row.clip]}"
                skipped.append(Skipped(row.clip, reason, split))
            else:
                home[row.clip] = split
                kept[split].append(row)
    return kept


class Speakers:
    """Rows by speaker, drawn such that no speaker is in two splits.

    The draw depends on the seed, and not on the order of the rows.
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
        # As in the official splits, speakers with few clips come first: that gives many voices,
        # and leaves the hours to the training split. The sort is stable.
        self.left = deque(sorted(speakers, key=len))

    def one_by_one(self) -> Iterator[Row]:
        """All rows of a speaker, then those of the next. A speaker is not drawn again."""
        while self.left:
            yield from self.left.popleft()

    def in_turn(self) -> Iterator[Row]:
        """One row of each remaining speaker, then a second one of each who has two, and so on."""
        speakers = list(self.left)
        self.rng.shuffle(speakers)
        while speakers:
            yield from (rows.pop() for rows in speakers)
            speakers = [rows for rows in speakers if rows]
