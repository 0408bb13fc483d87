"""From the Free Spoken Digit Dataset to fairseq manifests of digit strings.

An utterance is a few recordings of one speaker, joined with pauses of 50 to 200 ms, at 16 kHz. No
speaker is in two splits.
"""

import argparse
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Optional

import numpy as np
import soundfile
import soxr
from audio.files import FULL_SCALE, RATE, write_flac
from cli.options import above, add_jobs, corpus_parser, names, run
from manifest.speakers import write_speakers
from manifest.writing import Utterance, write_letter_dictionary, write_split
from text.digits import DIGITS
from tqdm import tqdm

RECORDED_RATE = 8_000  # Hz, of the data set
PAUSE_MS = (50, 200)  # shortest and longest
SPLITS = ("train", "valid", "test")
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


@dataclass(frozen=True)
class Recording:
    """One spoken digit: 16-bit samples at RECORDED_RATE."""

    digit: int
    samples: np.ndarray


@dataclass(frozen=True)
class DigitString:
    """An utterance: recordings, and the pauses between them in samples at RECORDED_RATE."""

    name: str
    speaker: str
    recordings: tuple[Recording, ...]
    pauses: tuple[int, ...]

    @property
    def words(self) -> str:
        return " ".join(DIGITS[recording.digit] for recording in self.recordings)

    @property
    def length(self) -> int:
        """Samples at RECORDED_RATE."""
        return sum(len(r.samples) for r in self.recordings) + sum(self.pauses)


class Deck:
    """The recordings of one speaker, shuffled, and shuffled again when all are dealt."""

    def __init__(self, recordings: Sequence[Recording], rng: random.Random) -> None:
        self.recordings = recordings
        self.rng = rng
        self.left: list[Recording] = []
        self.dealt = 0

    @property
    def rounds(self) -> float:
        """How often each recording has been dealt, on average."""
        return self.dealt / len(self.recordings)

    def draw(self) -> Recording:
        if not self.left:
            self.left = self.rng.sample(self.recordings, len(self.recordings))
        self.dealt += 1
        return self.left.pop()


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
            recording = Recording(int(path.name[0]), _read_samples(path))
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


def _read_samples(path: Path) -> np.ndarray:
    try:
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path}: expected audio, found what does not decode: {error}") from error
    if samples.shape[1] != 1:
        raise ValueError(f"{path}: {samples.shape[1]} channels, expected 1")
    if rate != RECORDED_RATE:
        raise ValueError(f"{path}: {rate} Hz, expected {RECORDED_RATE} Hz")
    if len(samples) == 0:
        raise ValueError(f"{path}: 0 samples, expected at least one")
    return samples[:, 0]


def assign_speakers(
    speakers: Sequence[str], valid: Optional[Sequence[str]], test: Optional[Sequence[str]]
) -> dict[str, list[str]]:
    """Assigns every speaker to a split. None stands for the alphabetically last one still free.

    Raises:
        ValueError: an unknown speaker, one in two splits, or no speaker left for a split.
    """
    free = sorted(speakers)
    if len(free) < len(SPLITS):
        raise ValueError(
            f"SOURCE: {len(free)} speakers ({', '.join(free)}), expected {len(SPLITS)} or more,"
            " because no speaker may be in two splits"
        )
    for option, chosen in (("--valid-speakers", valid), ("--test-speakers", test)):
        for name in chosen or ():
            if name not in speakers:
                raise ValueError(f"{option}: {name!r}, expected one of {', '.join(free)}")
    both = sorted(set(valid or ()) & set(test or ()))
    if both:
        raise ValueError(
            f"--valid-speakers: {', '.join(both)} is also in --test-speakers,"
            " expected each speaker in one split"
        )
    named = sorted({*(valid or ()), *(test or ())})
    free = [name for name in free if name not in named]
    if len(free) < 1 + (valid is None) + (test is None):
        raise ValueError(
            f"--valid-speakers, --test-speakers: {', '.join(named)} leave too few speakers,"
            " expected one or more for each split"
        )
    chosen_test = sorted(set(test or [free.pop()]))
    chosen_valid = sorted(set(valid or [free.pop()]))
    return {"train": free, "valid": chosen_valid, "test": chosen_test}


def plan_split(
    speakers: dict[str, list[Recording]],
    minutes: float,
    digits: tuple[int, int],
    rng: random.Random,
) -> list[DigitString]:
    """Digit strings that last `minutes` or, with the last string, a little longer.

    Args:
        speakers: the recordings of each speaker of the split.
        digits: least and greatest number of digits in a string.
    """
    decks = {name: Deck(recordings, rng) for name, recordings in speakers.items()}
    shortest, longest = (ms * RECORDED_RATE // 1000 for ms in PAUSE_MS)
    missing = minutes * 60 * RECORDED_RATE
    strings: list[DigitString] = []
    while missing > 0:
        speaker = min(decks, key=lambda name: decks[name].rounds)
        count = rng.randint(*digits)
        strings.append(
            DigitString(
                f"{speaker}_{len(strings):05d}.flac",
                speaker,
                tuple(decks[speaker].draw() for _ in range(count)),
                tuple(rng.randint(shortest, longest) for _ in range(count - 1)),
            )
        )
        missing -= strings[-1].length
    return strings


def write_audio(string: DigitString, folder: Path) -> int:
    """Joins, resamples and writes one digit string as FLAC; returns its samples at RATE."""
    pieces = [string.recordings[0].samples]
    for pause, recording in zip(string.pauses, string.recordings[1:]):
        pieces += [np.zeros(pause, np.int16), recording.samples]
    joined = np.concatenate(pieces) / FULL_SCALE
    return write_flac(folder / string.name, soxr.resample(joined, RECORDED_RATE, RATE))


def prepare(args: argparse.Namespace) -> None:
    """Writes the three splits. Bad options and recordings are refused before that."""
    if args.min_digits > args.max_digits:
        raise ValueError(
            f"--min-digits: {args.min_digits}, expected no more than --max-digits {args.max_digits}"
        )
    speakers = read_recordings(args.source, args.speakers)
    assigned = assign_speakers(list(speakers), args.valid_speakers, args.test_speakers)
    # An interrupted run must not leave old manifests beside new audio.
    for split in SPLITS:
        (args.dest / f"{split}.tsv").unlink(missing_ok=True)
    root = args.dest / "audio"
    speaker_of: dict[str, str] = {}
    for split in SPLITS:
        strings = plan_split(
            {name: speakers[name] for name in assigned[split]},
            getattr(args, f"{split}_minutes"),
            (args.min_digits, args.max_digits),
            random.Random(f"{args.seed} {split}"),
        )
        folder = root / split
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPool(args.jobs) as pool:
            written = pool.imap(partial(write_audio, folder=folder), strings)
            frames = list(tqdm(written, desc=split, total=len(strings), unit="string"))
        for stale in {path.name for path in folder.glob("*_?????.flac")} - {
            s.name for s in strings
        }:
            (folder / stale).unlink()
        utterances = [
            Utterance(f"{split}/{string.name}", count, string.words)
            for string, count in zip(strings, frames)
        ]
        if split == "train":
            write_letter_dictionary(args.dest, [string.words for string in strings])
        write_split(args.dest, split, root, utterances)
        speaker_of |= {f"{split}/{string.name}": string.speaker for string in strings}
        print(
            f"{split}: {len(strings)} strings, {sum(frames) / RATE / 60:.1f} minutes,"
            f" speakers {', '.join(assigned[split])}"
        )
    write_speakers(args.dest, speaker_of)


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "clone of the data set, or its recordings")
    add = parser.add_argument
    minutes, count = above(float, 0), above(int, 0)
    add("--train-minutes", type=minutes, default=10.0, metavar="M", help="default: %(default)s")
    add("--valid-minutes", type=minutes, default=2.0, metavar="M", help="default: %(default)s")
    add("--test-minutes", type=minutes, default=3.0, metavar="M", help="default: %(default)s")
    add(
        "--speakers",
        type=names,
        metavar="A,B,C",
        help=f"whose recordings to use, or all; default: {','.join(SPEAKERS)}, if all are there",
    )
    last = "default: the alphabetically last one that the other option does not name"
    add("--test-speakers", type=names, metavar="A,B", help=f"not in train and valid; {last}")
    add("--valid-speakers", type=names, metavar="A,B", help=f"not in train and test; {last}")
    add("--min-digits", type=count, default=3, metavar="N", help="a string; default: %(default)s")
    add("--max-digits", type=count, default=7, metavar="N", help="a string; default: %(default)s")
    add("--seed", type=int, default=1, metavar="N", help="of all random choices; default: 1")
    add_jobs(parser)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
