"""Checks a folder of manifests before training: audio, labels, dictionary, and leaks.

Every file is decoded. The exit status is 0 if the folder is good, and 1 if it is not.
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

from audio.files import LONGEST, RATE, SHORTEST, BadAudio, Header, decode, is_silent
from checks.leaks import check_leaks, parts_of
from checks.picture import draw, require_drawable
from cli.options import add_jobs, run
from manifest.reading import (
    WORDS,
    Complain,
    Split,
    check_symbols,
    check_word_ends,
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

Problems, which you should fix before training:
  splits                      a training split without a validation split (valid, dev)
  manifest, text, labels      text that fairseq cannot read, more or fewer labels than files, or
                              letters without "|" in a language with spaces
  spelling                    letters (.ltr) or units (.spm) that do not spell the words (.wrd)
  dictionary, symbols         labels that the dictionary lacks, or symbols that fairseq adds itself
  audio                       a file that is missing, does not decode, is cut short, is not 16 kHz
                              or not mono, has not the length that the manifest says, or is too
                              short for one frame of the encoder (400 samples)
  speaker in two splits       known from speakers.tsv (path, tab, speaker), or from the file names
                              if they are those of LibriSpeech
  audio in two splits         the same samples under any names

Warnings, which do not change the exit status: silent audio, audio shorter than 0.1 s or longer than
60 s, the same audio twice in a split, sentences that two splits share, more labels than CTC can
align with the audio, symbols that training never shows, and unknown speakers.

A split such as train_es that has no file that train does not have is a part of it, and no leak.

exit status: 0 good, 1 problems, 2 bad command line

examples:
  python manifests/check.py data/es --plot es.png
  python manifests/check.py data/all && fairseq-hydra-train ... task.data="$PWD/data/all"
"""


class Findings:
    """Faults by kind, in the order in which they were found."""

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
    """What a file has when it is decoded: its header, a digest of its samples, silence."""

    header: Header
    digest: bytes
    is_silent: bool


def listen(path: Path) -> Heard | BadAudio:
    """Decodes a file, or says what is wrong with it."""
    try:
        header, samples = decode(path)
    except OSError as error:
        return BadAudio(f"cannot be read: {error.strerror}")
    except BadAudio as error:
        return error
    digest = blake2b(samples.tobytes(), digest_size=16).digest()
    return Heard(header, digest, is_silent(samples.mean(axis=1), header.rate))


def listen_to_all(splits: Sequence[Split], jobs: int) -> dict[Path, Heard | BadAudio]:
    """Decodes every file in the manifests once."""
    paths = sorted({split.root / entry.path for split in splits for entry in split.entries})
    with ThreadPool(jobs) as pool:
        heard = pool.imap(listen, paths, chunksize=8)
        return dict(zip(paths, tqdm(heard, desc="decoding", total=len(paths), unit="file")))


def check_audio(
    split: Split, heard: Mapping[Path, Heard | BadAudio], problem: Complain, warning: Complain
) -> list[Optional[bytes]]:
    """Complains of audio that is not what the manifest says. Returns the digest of each entry."""
    digests: list[Optional[bytes]] = []
    for number, entry in enumerate(split.entries):
        found = heard[split.root / entry.path]
        place = split.place(number)
        if isinstance(found, BadAudio):
            digests.append(None)
            problem("audio", place, f"{entry.path}: {found}")
            continue
        digests.append(found.digest)
        fault = audio_fault(found.header, entry.frames)
        if fault:
            problem("audio", place, f"{entry.path}: {fault}")
            continue
        seconds = entry.frames / RATE
        if found.is_silent:
            warning("silent audio", place, f"{entry.path}: all samples have the same value")
        if not SHORTEST <= seconds <= LONGEST:
            expected = f"expected {SHORTEST} to {LONGEST} s"
            warning("unusual length", place, f"{entry.path}: {seconds:.3f} s, {expected}")
    return digests


def audio_fault(header: Header, frames: int) -> Optional[str]:
    """Why a file cannot be trained on, by its header and the length that the manifest says."""
    if header.rate != RATE:
        return f"{header.rate} Hz, expected {RATE} Hz"
    if header.channels != 1:
        return f"{header.channels} channels, expected 1"
    if header.frames != frames:
        return f"{header.frames} samples, expected {frames} as the manifest says"
    if frames < RECEPTIVE_FIELD:
        return f"{frames} samples, expected {RECEPTIVE_FIELD} or more for one frame of the encoder"
    return None


def check_splits(data: Path, names: Sequence[str], problem: Complain, warning: Complain) -> None:
    """Complains of a folder that cannot be trained on, for it lacks a split."""
    trains = [name for name in names if name.startswith("train")]
    if not trains:
        warning("splits", str(data), f"{', '.join(names)}: no training split, for evaluation alone")
    elif not any(name.startswith(("valid", "dev")) for name in names):
        found = f"{', '.join(names)}: no split to validate on, expected valid.tsv"
        problem("splits", str(data), found)


def check_labels(
    data: Path, splits: Sequence[Split], suffix: str, problem: Complain, warning: Complain
) -> None:
    """Complains of one kind of labels: no file, unknown symbols, too many, never in training."""
    symbols = read_dictionary(data, suffix, problem)
    for split in splits:
        if not (data / f"{split.name}.{suffix}").is_file():
            problem("labels", f"{split.name}.{suffix}", "not found, expected it as in other splits")
        if symbols:
            check_symbols(split, suffix, symbols, problem)
        check_lengths(split, suffix, warning)
        if suffix == "ltr":
            check_word_ends(split, problem)
    check_unseen([split for split in splits if suffix in split.labels], suffix, symbols, warning)


def check_lengths(split: Split, suffix: str, complain: Complain) -> None:
    """Complains of labels that CTC cannot align: each needs a frame, and so do equal neighbours."""
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
    """Complains of symbols of the dictionary that the training splits do not have."""
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
    """Prints what the folder has and what is wrong with it. Exits with 1 if there are problems."""
    if args.plot:
        require_drawable(args.plot)
    problems, warnings = Findings(), Findings()
    names = split_names(args.data)
    check_splits(args.data, names, problems.add, warnings.add)
    splits = [read_split(args.data, name, problems.add) for name in names]
    kinds = label_kinds(splits)
    if not kinds:
        problems.add("labels", str(args.data), "none, expected .ltr, .phn or .spm files")
    for suffix in kinds:
        check_labels(args.data, splits, suffix, problems.add, warnings.add)
    heard = listen_to_all(splits, args.jobs)
    digests = {
        split.name: check_audio(split, heard, problems.add, warnings.add) for split in splits
    }
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
        help="draw lengths and symbol frequencies: .png, .pdf or .svg",
    )
    add_jobs(parser)
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
