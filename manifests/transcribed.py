"""From your own recordings and a table of what is said in them to fairseq manifests.

Audio of any format and rate becomes 16 kHz FLAC; texts become letters, phones or sentencepiece
units. If the speakers are known, none is in two splits.
"""

import argparse
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Optional

from audio.files import BadAudio
from cli.options import above, add_disjoint, add_jobs, add_max_skipped, corpus_parser, run, share
from corpus.disjoint import HeldOut
from corpus.intake import Intake, Reading, Recording
from corpus.labels import (
    add_label_options,
    check_label_options,
    choose_language,
    make_phonemizer,
)
from corpus.output import check_skipped, report, warn, write
from corpus.rows import Row
from corpus.splits import SPLITS, once
from corpus.table import Columns, Table, flac_names, read_table
from tqdm import tqdm

LOWEST_RATE = 4000  # Hz: telephone speech has 8000

EPILOG = """\
TABLE is a CSV or TSV file, UTF-8, with a header and a line for each recording:

  path,text,speaker
  a/0001.wav,"Good morning, everyone.",anna
  a/0002.mp3,How are you?,ben

Paths are relative to the folder of the table, or to --audio; they may be absolute. The audio may be
anything that libsndfile reads (WAV, FLAC, MP3, Ogg, Opus, AIFF, ...), of any rate and any number of
channels. Other columns are ignored. Other names of columns: --path-column and so on.

Splits. If the table has a column "split" with train, valid (or dev) and test, these are the splits.
Otherwise whole speakers are drawn for test and for valid, until a tenth of the hours is in each
(--test, --valid). --by clips draws clips instead, as for a table without speakers: then nothing
keeps a speaker out of two splits. --train-minutes takes a part of the training split, of all its
speakers alike; with the same seed, a shorter one is the beginning of a longer one. Speakers and
sentences that two splits share are reported; --disjoint leaves them out of training.

Texts become words as in commonvoice.py: composed, in lower case, without punctuation. A text with a
digit, a symbol or a letter of another alphabet is skipped, as is a clip that is missing, cut short,
silent, or not from 0.1 to 60 s long. skipped.tsv has each with its reason.

DEST gets {train,valid,test}.{tsv,wrd,ltr} and dict.ltr.txt; with --labels phn or spm also those
labels and their dictionary; speakers.tsv; skipped.tsv; and audio/. A run that was interrupted
resumes. The same options give the same bytes, whatever --jobs is.

examples:
  python manifests/transcribed.py recordings/table.csv data/mine
  python manifests/transcribed.py corpus.tsv data/mine --lang de --audio /corpora/wav \\
      --path-column file --text-column transcript --speaker-column who --train-minutes 60
"""


def prepare(args: argparse.Namespace) -> None:
    """Converts the clips and writes the manifests, unless an option or too much data is bad."""
    check_label_options(args)
    columns = Columns(args.path_column, args.text_column, args.speaker_column, args.split_column)
    table = read_table(args.source, columns)
    check_splits(args, table)
    skipped = table.skipped
    rows = once({args.source.name: table.rows}, skipped)[args.source.name]
    names = flac_names(rows)
    language = choose_language(args)
    intake = Intake(
        clips=args.audio or args.source.parent,
        root=args.dest / "audio",
        language=language,
        phonemizer=make_phonemizer(args, language),
        jobs=args.jobs,
        lowest_rate=LOWEST_RATE,
        name_of=names.__getitem__,
        skipped=skipped,
    )
    if not (table.splits or table.has_speakers):
        args.by = "clips"
        print(f"no column {args.speaker_column!r}: a speaker may be in two splits")
    held_out = HeldOut()
    splits = choose(args, table, rows, intake, held_out)
    check_skipped(args.dest, splits, skipped, held_out.left_out, args.max_skipped)
    write(args, splits, intake.root)
    report(splits, intake, held_out.left_out)
    warn(args, splits, intake)


def check_splits(args: argparse.Namespace, table: Table) -> None:
    """Raises ValueError if the table does not have what the splits are made from."""
    if table.splits:
        missing = [split for split in SPLITS if split not in table.splits.values()]
        if missing:
            raise ValueError(
                f"{args.source}: no row of split {', '.join(missing)}, expected some of each"
            )
        if args.by:
            raise ValueError(
                f"--by: {args.by}, but {args.source} has a column {args.split_column!r}, expected"
                " the one or the other; --split-column '' ignores it"
            )
    elif args.by == "speakers" and not table.has_speakers:
        raise ValueError(
            f"--by: speakers, but {args.source} has no column {args.speaker_column!r}, expected"
            " one; --speaker-column names another"
        )
    elif args.test + args.valid >= 1:
        raise ValueError(f"--test, --valid: {args.test:g} and {args.valid:g}, expected less than 1")


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


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "CSV or TSV file: path, text, speaker", "TABLE")
    add = parser.add_argument
    add_label_options(parser, needs_language=False)
    add("--audio", type=Path, metavar="FOLDER", help="of the audio; default: that of the table")
    for name in ("path", "text", "speaker", "split"):
        add(f"--{name}-column", default=name, metavar="NAME", help="default: %(default)s")
    add("--by", choices=("speakers", "clips"), help="what is drawn for the splits; default:"
        " speakers, or nothing if the table has splits")  # fmt: skip
    add("--test", type=share, default=0.1, metavar="SHARE", help="default: %(default)s")
    add("--valid", type=share, default=0.1, metavar="SHARE", help="default: %(default)s")
    add("--train-minutes", type=above(float, 0), metavar="M", help="default: all that is left")
    add("--seed", type=int, default=1, metavar="N", help="of the draw; default: %(default)s")
    add_disjoint(parser)
    add_max_skipped(parser)
    add_jobs(parser)
    parser.set_defaults(max_skipped=0.05)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
