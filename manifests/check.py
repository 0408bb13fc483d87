"""Checks a folder of manifests before anyone trains on it: audio, labels, dictionary, and leaks.

Every file is decoded whole. The exit status is 0 where the folder is good, 1 where it is not.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise
from multiprocessing.pool import ThreadPool
from pathlib import Path
from statistics import median
from typing import NamedTuple, Optional

from audio.files import RATE, BadAudio, Header, decode
from checks.leaks import check_leaks, parts_of
from checks.picture import draw, require_drawable
from cli.options import add_jobs, run
from manifest.reading import (
    WORDS,
    Complain,
    Split,
    check_symbols,
    label_kinds,
    read_dictionary,
    read_split,
    split_names,
)
from manifest.speakers import find_speaker, read_speakers
from tabulate import tabulate
from tqdm import tqdm

SHOWN = 5  # findings of a kind that are printed in full
RECEPTIVE_FIELD, HOP = 400, 320  # samples, of the convolutions of wav2vec 2.0 and XLSR

EPILOG = """\
DATA is a folder that another script here wrote, or one of your own.

Problems, on which it is better not to train:
  manifest, text, labels      what fairseq cannot read, or more or fewer labels than files
  spelling                    letters (.ltr) or units (.spm) that do not spell the words (.wrd)
  dictionary, symbols         labels that the dictionary lacks
  audio                       a file that is missing, does not decode whole, is not 16 kHz or not
                              mono, or has not the length that the manifest says
  speaker in two splits       known from speakers.tsv (path, tab, speaker), or from the names of
                              files where they are those of LibriSpeech
  audio in two splits         the same samples, whatever the names

Warnings, which do not change the exit status: the same audio twice in a split, sentences that two
splits share, more labels than CTC can align with the audio, symbols that training never shows,
speakers that are not known.

A split that is named like another, as train_es like train, and holds nothing that the other does
not, is a part of it, and no leak.

exit status: 0 good, 1 problems, 2 the command line is wrong

examples:
  python manifests/check.py data/es --plot es.png
  python manifests/check.py data/all && fairseq-hydra-train ... task.data="$PWD/data/all"
"""


class Findings:
    """What is wrong, by kind, in the order in which it was found."""

    def __init__(self) -> None:
        self.of_kind: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, place: str, found: str) -> None:
        self.of_kind[kind].append(f"{place}: {found}")

    def __len__(self) -> int:
        return sum(map(len, self.of_kind.values()))

    def print(self, name: str) -> None:
        """Prints some of each kind, and how many more there are."""
        for kind, lines in self.of_kind.items():
            print(f"\n{name}: {kind} ({len(lines)})")
            for line in lines[:SHOWN]:
                print(f"  {line}")
            if len(lines) > SHOWN:
                print(f"  ... and {len(lines) - SHOWN} more")


class Heard(NamedTuple):
    """What a file holds when it is decoded whole; the digest is that of the samples."""

    header: Header
    digest: bytes


def listen(path: Path) -> Heard | BadAudio:
    """Decodes a file, or says what is wrong with it."""
    try:
        header, samples = decode(path)
    except FileNotFoundError:
        return BadAudio("not found")
    except OSError as error:
        return BadAudio(f"cannot be read: {error.strerror}")
    except BadAudio as error:
        return error
    return Heard(header, blake2b(samples.tobytes(), digest_size=16).digest())


def listen_to_all(splits: Sequence[Split], jobs: int) -> dict[Path, Heard | BadAudio]:
    """Decodes every file that a manifest names, each once."""
    paths = sorted({split.root / entry.path for split in splits for entry in split.entries})
    with ThreadPool(jobs) as pool:
        heard = pool.imap(listen, paths, chunksize=8)
        return dict(zip(paths, tqdm(heard, desc="decoding", total=len(paths), unit="file")))


def check_audio(
    split: Split, heard: Mapping[Path, Heard | BadAudio], complain: Complain
) -> list[Optional[bytes]]:
    """Complains of audio that is not what the manifest says; the digest of each entry's."""
    digests: list[Optional[bytes]] = []
    for number, entry in enumerate(split.entries):
        found = heard[split.root / entry.path]
        digests.append(None if isinstance(found, BadAudio) else found.digest)
        if not isinstance(found, BadAudio):
            frames, rate, channels = found.header
            if rate != RATE:
                found = BadAudio(f"{rate} Hz, expected {RATE} Hz")
            elif channels != 1:
                found = BadAudio(f"{channels} channels, expected 1")
            elif frames != entry.frames:
                found = BadAudio(f"{frames} samples, expected {entry.frames} as the manifest says")
        if isinstance(found, BadAudio):
            complain("audio", split.place(number), f"{entry.path}: {found}")
    return digests


def check_labels(
    data: Path, splits: Sequence[Split], suffix: str, problem: Complain, warning: Complain
) -> None:
    """Complains of one kind of labels: without file, unknown, too long, never trained."""
    symbols = read_dictionary(data, suffix, problem)
    for split in splits:
        if not (data / f"{split.name}.{suffix}").is_file():
            problem("labels", f"{split.name}.{suffix}", "not found, as others have it")
        if symbols:
            check_symbols(split, suffix, symbols, problem)
        check_lengths(split, suffix, warning)
    check_unseen([split for split in splits if suffix in split.labels], suffix, symbols, warning)


def check_lengths(split: Split, suffix: str, complain: Complain) -> None:
    """Complains of labels that CTC cannot align: one frame each, and one between equal ones."""
    for number, line in enumerate(split.labels.get(suffix, ())):
        symbols = line.split()
        needed = len(symbols) + sum(a == b for a, b in pairwise(symbols))
        frames = max(0, (split.entries[number].frames - RECEPTIVE_FIELD) // HOP + 1)
        if frames < needed:
            found = f"{frames} frames of the encoder, expected {needed} or more for CTC"
            complain("too many labels", split.place(number, suffix), found)


def check_unseen(
    splits: Sequence[Split], suffix: str, symbols: Iterable[str], complain: Complain
) -> None:
    """Complains of symbols that are in the dictionary, or in a split, but not in training."""
    trained = [split for split in splits if split.name.startswith("train")]
    seen = {symbol for split in trained for line in split.labels[suffix] for symbol in line.split()}
    unseen = [symbol for symbol in symbols if symbol not in seen]
    if trained and unseen:
        found = f"{', '.join(map(repr, unseen))}: never in training"
        complain("symbols never trained", f"dict.{suffix}.txt", found)


def table(
    splits: Sequence[Split], kinds: Sequence[str], speakers: Mapping[str, Sequence[Optional[str]]]
) -> str:
    """Hours, speakers, words, symbols and lengths of each split."""
    rows = []
    for split in splits:
        seconds = [entry.frames / RATE for entry in split.entries] or [0.0]
        known = {speaker for speaker in speakers[split.name] if speaker is not None}
        words = {word for line in split.labels.get(WORDS, ()) for word in line.split()}
        symbols = [
            len({symbol for line in split.labels.get(suffix, ()) for symbol in line.split()})
            for suffix in kinds
        ]
        rows.append(
            [split.name, len(split.entries), f"{sum(seconds) / 3600:.2f}", len(known) or "?"]
            + [len(words) or "?", *symbols]
            + [f"{value:.1f}" for value in (min(seconds), median(seconds), max(seconds))]
        )
    heads = ["split", "utterances", "hours", "speakers", "words", *kinds]
    return tabulate(rows, [*heads, "min s", "median s", "max s"], disable_numparse=True)


def prepare(args: argparse.Namespace) -> None:
    """Prints what the folder holds and what is wrong with it; exits with 1 where something is."""
    if args.plot:
        require_drawable(args.plot)
    problems, warnings = Findings(), Findings()
    splits = [read_split(args.data, name, problems.add) for name in split_names(args.data)]
    kinds = label_kinds(splits)
    if not kinds:
        problems.add("labels", str(args.data), "none, expected .ltr, .phn or .spm files")
    for suffix in kinds:
        check_labels(args.data, splits, suffix, problems.add, warnings.add)
    heard = listen_to_all(splits, args.jobs)
    digests = {split.name: check_audio(split, heard, problems.add) for split in splits}
    speaker_of = read_speakers(args.data, problems.add)
    speakers = {
        split.name: [find_speaker(entry.path, speaker_of) for entry in split.entries]
        for split in splits
    }
    parts = parts_of(splits)
    whole = [split for split in splits if split.name not in parts]
    check_leaks(whole, speakers, digests, problems.add, warnings.add)
    print(table(splits, kinds, speakers))
    problems.print("problem")
    warnings.print("warning")
    if args.plot:
        draw(args.plot, whole, kinds)
    print(f"\n{args.data}: {len(problems)} problems, {len(warnings)} warnings")
    if problems:
        sys.exit(1)


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", metavar="DATA", type=Path, help="folder of manifests")
    parser.add_argument(
        "--plot",
        metavar="FILE",
        type=Path,
        help="draw lengths and frequencies of symbols: .png, .pdf or .svg",
    )
    add_jobs(parser)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
