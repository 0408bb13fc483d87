"""From the Mboshi-French parallel corpus to fairseq manifests of Mboshi, a Bantu language.

No speaker is in two splits. train lacks the sentences that valid and test have.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from cli.options import above, add_jobs, add_max_skipped, corpus_parser, run
from corpus.rows import Row
from corpus.table import Table
from corpus.tabled import prepare_table
from manifest.lines import read_lines
from text.language import Language

FOLDER = Path("full_corpus_newsplit") / "all"
TEXT = ".mb.cleaned"
# As linguists wrote it, close to the sounds; accents are tones.
# The letters of Greek are what the corpus has for open vowels.
MBOSHI = Language("abdefghiklmnoprstuvwyz" + "áéíóú" + "\u03b5\u03ad\u03c9\u03ce")

EPILOG = """\
SOURCE is a clone of https://github.com/besacier/mboshi-french-parallel-corpus. Its README states no
licence, and makes the corpus available to the community. It has 4.5 hours of three speakers:
abiayi (3.2), kouarata (1.1) and martial (0.2).

DEST gets {train,valid,test}.{tsv,wrd,ltr}, dict.ltr.txt, speakers.tsv, skipped.tsv and audio/. The
same options give the same bytes, whatever --jobs is. A run that was interrupted resumes.

examples:
  python manifests/mboshi.py mboshi-french-parallel-corpus data/mboshi
  python manifests/mboshi.py mboshi-french-parallel-corpus data/mboshi-10min --train-minutes 10
"""


def read_corpus(source: Path, test: str, valid: str) -> Table:
    """The utterances, whose speakers say which split they are in.

    Raises:
        ValueError: SOURCE is no clone of the corpus, or has no such speaker.
    """
    folder = source / FOLDER
    rows = []
    for path in sorted(folder.glob(f"*{TEXT}")):
        name = path.name[: -len(TEXT)]
        rows.append(Row(f"{name}.wav", name.partition("_")[0], " ".join(read_lines(path))))
    random.Random(1).shuffle(rows)  # a part of train is of all recordings
    if not rows:
        raise ValueError(f"{folder}: found no *{TEXT}, expected those of the corpus")
    speakers = sorted({row.speaker for row in rows})
    for option, speaker in (("--test-speaker", test), ("--valid-speaker", valid)):
        if speaker not in speakers:
            raise ValueError(f"{option}: {speaker!r}, expected one of {', '.join(speakers)}")
    if test == valid or len(speakers) < 3:
        raise ValueError(
            f"--test-speaker, --valid-speaker: {test} and {valid} of {', '.join(speakers)}, "
            "expected two, and a third one to train on"
        )
    split_of = {test: "test", valid: "valid"}
    splits = {row.clip: split_of.get(row.speaker, "train") for row in rows}
    return Table(rows, splits, True, [])


def prepare(args: argparse.Namespace) -> None:
    """Writes the three splits."""
    table = read_corpus(args.source, args.test_speaker, args.valid_speaker)
    prepare_table(args, table, args.source / FOLDER, MBOSHI)


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "clone of the repository")
    add = parser.add_argument
    for split, default in (("test", "kouarata"), ("valid", "martial")):
        add(f"--{split}-speaker", default=default, metavar="NAME", help="default: %(default)s")
    add("--train-minutes", type=above(float, 0), metavar="M", help="default: all that there are")
    add_max_skipped(parser)
    add_jobs(parser)
    parser.set_defaults(labels="ltr", vocab_size=None, lang="", by=None, seed=1)
    # The headers of 26 of the 5,130 recordings say another length than they have.
    parser.set_defaults(disjoint=["sentences"], max_skipped=0.03)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
