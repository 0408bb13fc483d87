"""From the Deeply Korean Read Speech Corpus to fairseq manifests of Korean, read by two speakers.

test has a speaker and sentences that train does not have, and valid has other sentences of the
speaker of train.
"""

import argparse
import json
import unicodedata
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

EPILOG = """\
SOURCE is a clone of https://github.com/deeplyinc/Korean-Read-Speech-Corpus: dataset/ with a .json
and a folder for each place, 2.9 hours of two speakers, under CC BY-NC-ND 4.0. The same sentences
were recorded in three places, at three distances, with two phones, in three moods. Labels are the
letters (jamo) of syllables, and .wrd has the words in the same form. Sentences with digits and
Latin letters are skipped: of the 199 sentences, 21.

DEST gets {train,valid,test}.{tsv,wrd,ltr}, dict.ltr.txt, speakers.tsv, skipped.tsv and audio/. The
same options give the same bytes, whatever --jobs is. A run that was interrupted resumes.

examples:
  python manifests/korean_read_speech.py Korean-Read-Speech-Corpus data/korean
  python manifests/korean_read_speech.py Korean-Read-Speech-Corpus data/korean-dry \\
      --places AnechoicChamber --train-minutes 10
"""


def read_corpus(folder: Path, places: Optional[Sequence[str]]) -> list[Row]:
    """The recordings that were made in ``places``, or in all.

    Raises:
        ValueError: there is no table, or one of another form; or no such place.
    """
    tables = sorted(folder.glob("*.json"))
    if len(tables) != 1:
        raise ValueError(f"{folder}: found {len(tables)} files *.json, expected that of the corpus")
    try:
        recordings = json.loads(tables[0].read_text(encoding="utf-8"))
        rows = [
            (place, Row(f"{place}/{name}.wav", f"{one['subjectID']}{one['speaker']}", one["text"]))
            for place, of_place in recordings.items()
            for name, one in of_place.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{tables[0]}: {error!r}, expected the table of the corpus") from None
    unknown = sorted(set(places or ()) - set(recordings))
    if unknown:
        raise ValueError(
            f"--places: {', '.join(unknown)}, expected some of {', '.join(sorted(recordings))}"
        )
    return [row for place, row in rows if not places or place in places]


def jamo(words: str) -> str:
    """The words with each syllable taken apart into its two or three letters."""
    return unicodedata.normalize("NFD", words)


def prepare(args: argparse.Namespace) -> None:
    """Writes the three splits."""
    check_label_options(args)
    folder = args.source / "dataset"
    rows = read_corpus(folder, args.places)
    held = Held(args.test_speakers, (), args.test_sentences, args.valid_sentences, args.seed)
    language = choose_language(args)
    phonemizer, spell = make_phonemizer(args, language), str if args.syllables else jamo
    prepare_table(args, cross(rows, held), folder, language, phonemizer, spell)


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "clone of the repository")
    add = parser.add_argument
    add_label_options(parser, needs_language=False)
    add(
        "--test-speakers",
        type=names,
        default=["sub1001b"],
        metavar="NAMES",
        help="group and speaker; default: sub1001b",
    )
    add(
        "--syllables",
        action="store_true",
        help="label whole syllables, of which many are rare; default: their letters (jamo)",
    )
    add("--places", type=names, metavar="NAMES", help="default: all three")
    add("--train-minutes", type=above(float, 0), metavar="M", help="default: all that there are")
    add_sentences(parser)
    add_max_skipped(parser)
    add_jobs(parser)
    # A tenth of the sentences have digits or Latin letters: with ten minutes to train, 63 of 181
    # clips.
    parser.set_defaults(lang="ko", by=None, disjoint=[], max_skipped=0.4)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
