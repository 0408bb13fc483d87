"""From your own recordings and a table of what is said in them to fairseq manifests.

Audio of any format and rate becomes 16 kHz FLAC; texts become letters, phones or sentencepiece
units. If the speakers are known, none is in two splits.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from cli.options import above, add_disjoint, add_jobs, add_max_skipped, corpus_parser, run, share
from corpus.labels import (
    add_label_options,
    check_label_options,
    choose_language,
    make_phonemizer,
)
from corpus.splits import SPLITS
from corpus.table import Columns, Table, read_table
from corpus.tabled import prepare_table

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
    if not (table.splits or table.has_speakers):
        print(f"no column {args.speaker_column!r}: a speaker may be in two splits")
    language = choose_language(args)
    clips = args.audio or args.source.parent
    prepare_table(args, table, clips, language, make_phonemizer(args, language))


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
