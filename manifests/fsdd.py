"""From the Free Spoken Digit Dataset to fairseq manifests of digit strings.

An utterance is a few recordings of one speaker, joined with pauses of 50 to 200 ms, at 16 kHz. No
speaker is in two splits.
"""

import argparse
import re
from collections.abc import Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Optional

from cli.options import corpus_parser, names, run
from corpus.strings import (
    Recording,
    add_speaker_options,
    add_string_options,
    prepare_strings,
    read_samples,
)
from text.digits import DIGITS
from tqdm import tqdm

RECORDED_RATE = 8_000  # Hz, of the data set
NAME = re.compile(r"([0-9])_(.+)_[0-9]+\.wav")

# The speakers of docs/results.md. The data set has got others since.
SPEAKERS = ("george", "jackson", "lucas", "theo", "yweweler")
RELEASE = "v1.0.10"  # of the data set; its later commits do not change the recordings
DIGEST = "1fcbd597"  # of the recordings of SPEAKERS in RELEASE

EPILOG = """\
SOURCE is a clone of https://github.com/Jakobovski/free-spoken-digit-dataset, or its folder
"recordings". The licence, CC BY-SA 4.0, also covers the audio in DEST.

By default, the speakers are those of docs/results.md: george, jackson, lucas, theo and yweweler.
These recordings are those of release v1.0.10 (git checkout v1.0.10). A line says if they differ.

If a split asks for more minutes than its speakers recorded, a recording is used in several digit
strings of the split. Strings are dealt from shuffled decks, one for each speaker, so that all
recordings of a speaker are used equally often, and all speakers too.

DEST gets {train,valid,test}.{tsv,wrd,ltr}, dict.ltr.txt, speakers.tsv and
audio/{train,valid,test}/*.flac. Audio of an earlier run is removed. The same options give the same
bytes, whatever --jobs is.

examples:
  python manifests/fsdd.py free-spoken-digit-dataset data/fsdd
  python manifests/fsdd.py recordings data/fsdd-1min --train-minutes 1 --test-speakers lucas,theo
  python manifests/fsdd.py recordings data/fsdd-all --speakers all
"""


def read_recordings(source: Path, chosen: Optional[Sequence[str]]) -> dict[str, list[Recording]]:
    """Reads the recordings of some speakers, and says who is left out.

    Args:
        chosen: names of speakers, or "all". None stands for SPEAKERS if all of them are there, and
            else for all.

    Raises:
        ValueError: the folder or one of its files is not what the data set has, or a speaker has
            no recordings.
    """
    if not source.is_dir():
        raise ValueError(f"SOURCE: {source} is not a folder, expected one of recordings")
    if not any(source.glob("*.wav")) and (source / "recordings").is_dir():
        source = source / "recordings"
    paths = sorted(source.glob("*.wav"))
    if not paths:
        raise ValueError(f"SOURCE: found no .wav file in {source}, expected the recordings")
    speaker_of = {path: _speaker(path) for path in paths}
    found = sorted(set(speaker_of.values()))
    if chosen is None and set(SPEAKERS) <= set(found):
        chosen = SPEAKERS
    elif chosen is None or list(chosen) == ["all"]:
        chosen = found
    missing = [name for name in chosen if name not in found]
    if missing:
        raise ValueError(
            f"--speakers: found no recordings of {', '.join(missing)} in {source}, expected some of"
            f" {', '.join(found)}; all takes all"
        )
    left_out = [name for name in found if name not in chosen]
    if left_out:
        print(f"speakers left out: {', '.join(left_out)} (--speakers all takes all)")
    speakers: dict[str, list[Recording]] = {}
    digest = blake2b(digest_size=4)
    for path in tqdm(paths, desc="reading", unit="file"):
        if speaker_of[path] not in left_out:
            recording = Recording(DIGITS[int(path.name[0])], read_samples(path, RECORDED_RATE))
            digest.update(path.name.encode() + recording.samples.tobytes())
            speakers.setdefault(speaker_of[path], []).append(recording)
    if sorted(speakers) == sorted(SPEAKERS) and digest.hexdigest() != DIGEST:
        print(f"recordings: not those of {RELEASE}, so results differ from docs/results.md")
    return speakers


def _speaker(path: Path) -> str:
    parts = NAME.fullmatch(path.name)
    if parts is None:
        raise ValueError(f"{path}: expected a name like 7_theo_12.wav (digit_speaker_index)")
    return parts[2]


def prepare(args: argparse.Namespace) -> None:
    """Writes the three splits. Bad options and recordings are refused before that."""
    prepare_strings(args, partial(read_recordings, args.source, args.speakers), RECORDED_RATE)


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "clone of the data set, or its recordings")
    parser.add_argument(
        "--speakers",
        type=names,
        metavar="A,B,C",
        help=f"whose recordings to use, or all; default: {','.join(SPEAKERS)}, if all are there",
    )
    last = "default: the alphabetically last one that the other option does not name"
    add_speaker_options(parser, last)
    add_string_options(parser, {"train": 10.0, "valid": 2.0, "test": 3.0})
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
