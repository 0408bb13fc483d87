"""Writes fairseq manifests of a corpus that ships with the project.

manifests/mini has synthetic sentences, manifests/digits Arabic digits of thirty people.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from cli.options import corpus_parser, run
from manifest.speakers import write_speakers
from manifest.writing import RATE, Utterance, write_letter_dictionary, write_split

SPLITS = ("train", "valid", "test")

EPILOG = """\
DEST gets {train,valid,test}.{tsv,wrd,ltr}, dict.ltr.txt and speakers.tsv; the audio stays where it
is.

examples:
  python manifests/mini.py manifests/mini data/mini
  python manifests/mini.py manifests/digits data/digits
"""


def read_table(source: Path) -> list[dict[str, str]]:
    """The rows of transcripts.tsv: split, path, frames, voice, words.

    Raises:
        ValueError: the table, audio that it lists, or a split is missing.
    """
    table = source / "transcripts.tsv"
    if not table.is_file():
        raise ValueError(f"{table}: not found, expected the table that comes with the corpus")
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    for row in rows:
        audio = source / "audio" / row["path"]
        if not audio.is_file():
            raise ValueError(f"{audio}: not found, expected the audio that {table} lists")
    missing = [split for split in SPLITS if split not in {row["split"] for row in rows}]
    if missing:
        raise ValueError(f"{table}: found no {', '.join(missing)}, expected all of {SPLITS}")
    return rows


def prepare(args: argparse.Namespace) -> None:
    """Writes the manifests, after checking that all files exist."""
    rows = read_table(args.source)
    utterances: dict[str, list[Utterance]] = defaultdict(list)
    for row in rows:
        utterance = Utterance(row["path"], int(row["frames"]), row["words"].upper())
        utterances[row["split"]].append(utterance)
    write_letter_dictionary(args.dest, [utterance.words for utterance in utterances["train"]])
    # A person, 07, or a voice, en-gb+m4-p32-s143-g1: accent, speaker, pitch, speed and gap.
    speaker_of = {row["path"]: row["voice"].rpartition("+")[2].partition("-")[0] for row in rows}
    write_speakers(args.dest, speaker_of)
    for split in SPLITS:
        write_split(args.dest, split, args.source / "audio", utterances[split])
        minutes = sum(utterance.frames for utterance in utterances[split]) / RATE / 60
        print(f"{split}: {len(utterances[split])} utterances, {minutes:.1f} minutes")


def main(argv: Sequence[str] | None = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "folder with transcripts.tsv and audio/")
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
