"""Strings of isolated words: recordings of one speaker, joined with short pauses, at 16 kHz.

No speaker is in two splits. A deck of recordings for each speaker sees to it that all of them are
used equally often, and all speakers too.
"""

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Optional

import numpy as np
import soundfile
import soxr
from audio.files import FULL_SCALE, RATE, write_flac
from cli.options import above, add_jobs, names
from manifest.speakers import write_speakers
from manifest.writing import Utterance, write_letter_dictionary, write_split
from tqdm import tqdm

PAUSE_MS = (50, 200)  # shortest and longest
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Recording:
    """One spoken word: 16-bit samples."""

    word: str
    samples: np.ndarray


@dataclass(frozen=True)
class WordString:
    """An utterance: recordings, and the pauses between them in samples."""

    name: str
    speaker: str
    recordings: tuple[Recording, ...]
    pauses: tuple[int, ...]

    @property
    def words(self) -> str:
        return " ".join(recording.word for recording in self.recordings)

    @property
    def length(self) -> int:
        """Samples, at the rate of the recordings."""
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


def read_samples(path: Path, expected: int) -> np.ndarray:
    """The 16-bit samples of a recording at `expected` Hz: (n,).

    Raises:
        ValueError: what does not decode, is not mono, has another rate, or is empty.
    """
    try:
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path}: expected audio, found what does not decode: {error}") from error
    if samples.shape[1] != 1:
        raise ValueError(f"{path}: {samples.shape[1]} channels, expected 1")
    if rate != expected:
        raise ValueError(f"{path}: {rate} Hz, expected {expected} Hz")
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
    speakers: Mapping[str, Sequence[Recording]],
    minutes: float,
    counts: tuple[int, int],
    rate: int,
    rng: random.Random,
) -> list[WordString]:
    """Strings that last `minutes` or, with the last string, a little longer.

    Args:
        speakers: the recordings of each speaker of the split.
        counts: least and greatest number of words in a string.
        rate: of the recordings, in Hz.
    """
    decks = {name: Deck(recordings, rng) for name, recordings in speakers.items()}
    shortest, longest = (ms * rate // 1000 for ms in PAUSE_MS)
    missing = minutes * 60 * rate
    strings: list[WordString] = []
    while missing > 0:
        speaker = min(decks, key=lambda name: decks[name].rounds)
        count = rng.randint(*counts)
        strings.append(
            WordString(
                f"{speaker}_{len(strings):05d}.flac",
                speaker,
                tuple(decks[speaker].draw() for _ in range(count)),
                tuple(rng.randint(shortest, longest) for _ in range(count - 1)),
            )
        )
        missing -= strings[-1].length
    return strings


def write_audio(string: WordString, folder: Path, rate: int) -> int:
    """Joins, resamples and writes one string as FLAC; returns its samples at RATE."""
    pieces = [string.recordings[0].samples]
    for pause, recording in zip(string.pauses, string.recordings[1:]):
        pieces += [np.zeros(pause, np.int16), recording.samples]
    joined = np.concatenate(pieces) / FULL_SCALE
    return write_flac(folder / string.name, soxr.resample(joined, rate, RATE))


def prepare_strings(
    args: argparse.Namespace, read: Callable[[], Mapping[str, Sequence[Recording]]], rate: int
) -> None:
    """Writes the three splits into `args.dest`, as the options of `add_string_options` say.

    Args:
        read: gives the recordings of each speaker.
        rate: of the recordings, in Hz.

    Raises:
        ValueError: bad options or recordings; nothing is written then.
    """
    if args.min_digits > args.max_digits:
        raise ValueError(
            f"--min-digits: {args.min_digits}, expected no more than --max-digits {args.max_digits}"
        )
    speakers = read()
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
            rate,
            random.Random(f"{args.seed} {split}"),
        )
        folder = root / split
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPool(args.jobs) as pool:
            written = pool.imap(partial(write_audio, folder=folder, rate=rate), strings)
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


def add_string_options(parser: argparse.ArgumentParser, minutes: Mapping[str, float]) -> None:
    """Adds the options that `prepare_strings` reads.

    Args:
        minutes: of each split, by default.
    """
    add = parser.add_argument
    for split in SPLITS:
        add(
            f"--{split}-minutes",
            type=above(float, 0),
            default=minutes[split],
            metavar="M",
            help="default: %(default)s",
        )
    count = above(int, 0)
    add("--min-digits", type=count, default=3, metavar="N", help="a string; default: %(default)s")
    add("--max-digits", type=count, default=7, metavar="N", help="a string; default: %(default)s")
    add("--seed", type=int, default=1, metavar="N", help="of all random choices; default: 1")
    add_jobs(parser)


def add_speaker_options(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds --test-speakers and --valid-speakers; `default` says in words what they are."""
    for split, others in (("test", "train and valid"), ("valid", "train and test")):
        parser.add_argument(
            f"--{split}-speakers", type=names, metavar="A,B", help=f"not in {others}; {default}"
        )
