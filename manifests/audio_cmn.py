"""From audio-cmn to fairseq manifests of Mandarin words, spoken by one voice.

No word is in two splits. The one speaker is in all of them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from cli.options import above, add_jobs, add_max_skipped, corpus_parser, run, share
from corpus.labels import (
    add_label_options,
    check_label_options,
    choose_language,
    make_phonemizer,
)
from corpus.rows import Row
from corpus.table import Table
from corpus.tabled import prepare_table

PREFIX = "cmn-"

EPILOG = """\
SOURCE is a clone of https://github.com/hugolpz/audio-cmn: 64k/hsk/cmn-WORD.mp3 and the same in
other qualities, 8,596 words and characters, 3 hours, under CC BY-SA.

As letters the words are characters, of which there are thousands: --labels phn writes phones by
espeak-ng instead.

DEST gets {train,valid,test}.{tsv,wrd,ltr}, dict.ltr.txt, skipped.tsv and audio/; with --labels phn
or spm also those labels and their dictionary. The same options give the same bytes, whatever
--jobs is. A run that was interrupted resumes.

examples:
  python manifests/audio_cmn.py audio-cmn data/cmn --labels phn
  python manifests/audio_cmn.py audio-cmn data/cmn-10min --labels phn --train-minutes 10
"""


def read_corpus(folder: Path) -> Table:
    """The words, as their files are named.

    Raises:
        ValueError: there are none.
    """
    paths = sorted(folder.glob(f"{PREFIX}*.mp3"))
    if not paths:
        raise ValueError(f"{folder}: found no {PREFIX}*.mp3, expected those of the corpus")
    rows = [Row(path.name, "", path.stem[len(PREFIX) :]) for path in paths]
    return Table(rows, {}, False, [])


def prepare(args: argparse.Namespace) -> None:
    """Writes the three splits."""
    check_label_options(args)
    folder = args.source / args.quality / "hsk"
    language = choose_language(args)
    prepare_table(args, read_corpus(folder), folder, language, make_phonemizer(args, language))


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "clone of the repository audio-cmn")
    add = parser.add_argument
    add_label_options(parser, needs_language=False)
    add("--quality", default="64k", metavar="NAME", help="folder in SOURCE; default: %(default)s")
    add("--test", type=share, default=0.1, metavar="SHARE", help="default: %(default)s")
    add("--valid", type=share, default=0.1, metavar="SHARE", help="default: %(default)s")
    add("--train-minutes", type=above(float, 0), metavar="M", help="default: all that there are")
    add("--seed", type=int, default=1, metavar="N", help="of the draw; default: %(default)s")
    add_max_skipped(parser)
    add_jobs(parser)
    # espeak-ng reads 62 of 2,247 words in part as another language.
    parser.set_defaults(lang="zh-CN", by="clips", disjoint=[], max_skipped=0.05)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
