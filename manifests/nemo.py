"""From nEMO to fairseq manifests of Polish sentences, acted by nine speakers.

All speakers read the same 90 sentences: no speaker and no sentence is in two splits.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from cli.options import above, add_jobs, add_max_skipped, corpus_parser, names, run
from corpus.crossed import Held, add_sentences, cross
from corpus.labels import (
    add_label_options,
    check_label_options,
    choose_language,
    make_phonemizer,
)
from corpus.rows import Row
from corpus.tabled import prepare_table
from manifest.lines import read_lines

TABLE, SAMPLES = "data.tsv", "samples"
COLUMNS = ("file_id", "emotion", "normalized_text", "speaker_id")

EPILOG = """\
SOURCE is a clone of https://github.com/amu-cai/nEMO: data.tsv and samples/, 3.1 hours, under
CC BY-NC-SA 4.0. Nine actors read 90 sentences with six emotions.

A recording of a held-out speaker who reads a sentence of another split is in none of them, and so
is one of a training speaker who reads a held-out sentence.

DEST gets {train,valid,test}.{tsv,wrd,ltr}, dict.ltr.txt, speakers.tsv, skipped.tsv and audio/. The
same options give the same bytes, whatever --jobs is. A run that was interrupted resumes.

examples:
  python manifests/nemo.py nEMO data/nemo
  python manifests/nemo.py nEMO data/nemo-10min --train-minutes 10 --emotions neutral,happiness
"""


def read_corpus(source: Path) -> list[tuple[Row, str]]:
    """Each recording with its emotion.

    Raises:
        ValueError: data.tsv is missing or lacks a column.
    """
    path = source / TABLE
    reader = csv.DictReader(read_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    lacking = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if lacking:
        raise ValueError(f"{path}: no column {', '.join(lacking)}, expected that of nEMO")
    found = []
    for line in reader:
        clip, emotion, text, speaker = ((line[name] or "").strip() for name in COLUMNS)
        if not (clip and speaker):
            raise ValueError(f"{path}, line {reader.line_num}: expected a file and a speaker")
        found.append((Row(clip, speaker, text), emotion))
    if not found:
        raise ValueError(f"{path}: found no rows, expected some below the header")
    return found


def prepare(args: argparse.Namespace) -> None:
    """Writes the three splits."""
    check_label_options(args)
    recordings = read_corpus(args.source)
    emotions = {emotion for _, emotion in recordings}
    unknown = sorted(set(args.emotions or ()) - emotions)
    if unknown:
        raise ValueError(
            f"--emotions: {', '.join(unknown)}, expected some of {', '.join(sorted(emotions))}"
        )
    rows = [row for row, emotion in recordings if not args.emotions or emotion in args.emotions]
    held = Held(
        args.test_speakers,
        args.valid_speakers,
        args.test_sentences,
        args.valid_sentences,
        args.seed,
    )
    language = choose_language(args)
    table, samples = cross(rows, held), args.source / SAMPLES
    prepare_table(args, table, samples, language, make_phonemizer(args, language))


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "clone of the repository nEMO")
    add = parser.add_argument
    add_label_options(parser, needs_language=False)
    speakers = {"test": ["MP0", "EB0"], "valid": ["KD0"]}
    for split, default in speakers.items():
        add(
            f"--{split}-speakers",
            type=names,
            default=default,
            metavar="NAMES",
            help=f"default: {','.join(default)}",
        )
    add("--emotions", type=names, metavar="NAMES", help="default: all six")
    add("--train-minutes", type=above(float, 0), metavar="M", help="default: all that there are")
    add_sentences(parser)
    add_max_skipped(parser)
    add_jobs(parser)
    parser.set_defaults(lang="pl", by=None, disjoint=[])
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
