"""Writes fairseq manifests of the mini corpus, which lies in manifests/mini/.

usage: python manifests/mini.py manifests/mini DEST
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

from manifest import Utterance, write_letter_dictionary, write_split

SPLITS = ("train", "valid", "test")


def read_transcripts(source: Path) -> dict[str, list[Utterance]]:
    """The utterances of each split, from transcripts.tsv: split, path, frames, voice, words."""
    table = source / "transcripts.tsv"
    if not table.is_file():
        raise ValueError(f"{table}: not found, expected the table that comes with the corpus")
    utterances: dict[str, list[Utterance]] = defaultdict(list)
    with table.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            audio = source / "audio" / row["path"]
            if not audio.is_file():
                raise ValueError(f"{audio}: not found, expected the audio that {table} lists")
            utterances[row["split"]].append(
                Utterance(row["path"], int(row["frames"]), row["words"].upper())
            )
    missing = [split for split in SPLITS if not utterances[split]]
    if missing:
        raise ValueError(f"{table}: found no {', '.join(missing)}, expected all of {SPLITS}")
    return utterances


def write_manifests(source: Path, dest: Path) -> None:
    utterances = read_transcripts(source)
    write_letter_dictionary(dest, [utterance.words for utterance in utterances["train"]])
    for split in SPLITS:
        write_split(dest, split, source / "audio", utterances[split])
        minutes = sum(utterance.frames for utterance in utterances[split]) / 16_000 / 60
        print(f"{split}: {len(utterances[split])} utterances, {minutes:.1f} minutes")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="folder with transcripts.tsv and audio/")
    parser.add_argument("dest", type=Path, help="folder for the manifests; made if it is not there")
    args = parser.parse_args(argv)
    try:
        write_manifests(args.source, args.dest)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()
