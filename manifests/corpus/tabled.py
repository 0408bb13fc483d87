"""From the rows of a table to the splits of a corpus, as several commands make them."""

import argparse
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Optional

from audio.files import BadAudio
from text.phones import Phonemizer
from text.sentences import Language
from tqdm import tqdm

from corpus.disjoint import HeldOut
from corpus.intake import Intake, Reading, Recording
from corpus.output import check_skipped, report, warn, write
from corpus.rows import Row
from corpus.splits import SPLITS, once
from corpus.table import Table, flac_names

LOWEST_RATE = 4000  # Hz: telephone speech has 8000


def prepare_table(
    args: argparse.Namespace,
    table: Table,
    clips: Path,
    language: Language,
    phonemizer: Optional[Phonemizer] = None,
    spell: Callable[[str], str] = str,
) -> None:
    """Converts the clips of a table and writes the manifests, unless too much data is bad.

    Args:
        args: ``source``, ``dest``, ``by``, ``test``, ``valid``, ``train_minutes``, ``seed``,
            ``disjoint``, ``max_skipped``, ``jobs``, and the options of labels.
        table: the rows, and where it says so their splits.
        clips: folder of the audio.
        language, phonemizer: how the sentences are written and pronounced.
        spell: words -> the same words, as labels spell them.
    """
    skipped = table.skipped
    rows = once({args.source.name: table.rows}, skipped)[args.source.name]
    names = flac_names(rows)
    intake = Intake(
        clips=clips,
        root=args.dest / "audio",
        language=language,
        phonemizer=phonemizer,
        jobs=args.jobs,
        lowest_rate=LOWEST_RATE,
        name_of=names.__getitem__,
        spell=spell,
        skipped=skipped,
    )
    if not (table.splits or table.has_speakers):
        args.by = "clips"
    held_out = HeldOut()
    splits = choose(args, table, rows, intake, held_out)
    check_skipped(args.dest, splits, skipped, held_out.left_out, args.max_skipped)
    write(args, splits, intake.root)
    report(splits, intake, held_out.left_out)
    warn(args, splits, intake)


def choose(
    args: argparse.Namespace, table: Table, rows: Sequence[Row], intake: Intake, held_out: HeldOut
) -> dict[str, list[Recording]]:
    """The recordings of each split, with their audio converted."""
    bar = tqdm(rows, desc="reading", unit="row")
    if table.splits:
        chosen: dict[str, list[Reading]] = {split: [] for split in SPLITS}
        for row in bar:
            chosen[table.splits[row.clip]] += intake.read([row], table.splits[row.clip])
    else:
        chosen = draw(args, list(intake.read(bar, args.source.name)), intake)
    splits = {}
    for split in SPLITS:
        kept = held_out.without(chosen[split], args.disjoint)
        if split == "train" and args.train_minutes:
            splits[split] = intake.fill(split, kept, args.train_minutes)
        else:
            splits[split] = intake.convert(kept, split)
        held_out.add(split, splits[split])
    return splits


def draw(
    args: argparse.Namespace, readings: Sequence[Reading], intake: Intake
) -> dict[str, list[Reading]]:
    """Draws speakers or clips for test and valid. What is left is for training.

    The draw depends on the seed, and not on the order of the rows. The speakers with the fewest
    clips come first, which gives many voices, and leaves the hours to the training split.

    Raises:
        ValueError: there are too few speakers, or clips.
    """
    rng = random.Random(args.seed)
    group_of: dict[str, list[Reading]] = {}
    for reading in sorted(readings):
        key = reading.row.clip if args.by == "clips" else reading.speaker
        group_of.setdefault(key, []).append(reading)
    groups = list(group_of.values())
    if len(groups) < len(SPLITS):
        what = "clips" if args.by == "clips" else "speakers"
        hint = "" if args.by == "clips" else "; --by clips draws clips, whoever speaks"
        raise ValueError(
            f"{args.source}: {len(groups)} {what} with usable text, expected {len(SPLITS)} or more"
            f" for {len(SPLITS)} splits{hint}"
        )
    rng.shuffle(groups)
    groups.sort(key=len)
    lasting = [(sum(_seconds(reading, intake) for reading in group), group) for group in groups]
    total = sum(seconds for seconds, _ in lasting)
    chosen: dict[str, list[Reading]] = {}
    # Each split that follows needs a group too.
    for split, part, needed in (("test", args.test, 2), ("valid", args.valid, 1)):
        chosen[split], taken = [], 0.0
        while not chosen[split] or (taken < part * total and len(lasting) > needed):
            seconds, group = lasting.pop(0)
            chosen[split] += group
            taken += seconds
    groups = [group for _, group in lasting]
    for group in groups:
        rng.shuffle(group)
    rng.shuffle(groups)
    longest = max(map(len, groups))
    chosen["train"] = [group[n] for n in range(longest) for group in groups if n < len(group)]
    return chosen


def _seconds(reading: Reading, intake: Intake) -> float:
    with suppress(BadAudio):  # `convert` will say what is wrong
        return intake.seconds_of(reading)
    return 0.0
