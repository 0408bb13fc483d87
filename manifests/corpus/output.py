"""Writes the splits of a corpus, with their labels, and reports what was written."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from audio.clips import Skipped, check_share, write_skipped
from audio.files import RATE
from manifest.speakers import write_speakers
from manifest.writing import write_dictionary, write_labels, write_letter_dictionary, write_split
from text.doubts import homophones, rare_symbols
from text.units import train, write_units

from corpus.disjoint import describe_leaks
from corpus.intake import Intake, Recording
from corpus.labels import LABELS
from corpus.splits import SPLITS

Splits = Mapping[str, Sequence[Recording]]


def check_skipped(
    dest: Path,
    splits: Splits,
    skipped: Sequence[Skipped],
    left_out: Sequence[Skipped],
    max_share: float,
) -> None:
    """Writes skipped.tsv, and raises ValueError if a split lacks more than a share of its clips.

    Args:
        left_out: clips that an option leaves out. They are written, and do not count.
    """
    write_skipped(dest, [*skipped, *left_out])
    total = sum(map(len, splits.values()))
    for name in dict.fromkeys([*splits, *(clip.split for clip in skipped)]):
        lacking = sum(clip.split == name for clip in skipped)
        taken = len(splits[name]) if name in splits else total
        check_share(dest, name, lacking, taken + lacking, max_share)


def write(args: argparse.Namespace, splits: Splits, root: Path) -> None:
    """Writes the manifests, the labels and the dictionaries.

    Raises:
        ValueError: a split is empty, or --vocab-size does not suit; nothing is written then.
    """
    dest = args.dest
    for split, recordings in splits.items():
        if not recordings:
            raise ValueError(
                f"{dest}: no clip of {split} can be used, expected one or more; see skipped.tsv"
            )
    words = {split: [r.words for r in recordings] for split, recordings in splits.items()}
    units = train(words["train"], args.vocab_size) if args.labels == "spm" else None
    clear(dest)
    write_letter_dictionary(dest, words["train"], words["valid"] + words["test"])
    if units:
        write_units(dest, units, words)
    if args.labels == "phn":
        phones = {split: [r.phones for r in recordings] for split, recordings in splits.items()}
        write_dictionary(dest, "phn", phones["train"], phones["valid"] + phones["test"])
        for split in SPLITS:
            write_labels(dest, split, "phn", phones[split])
    speaker_of = {r.path: r.speaker for split in SPLITS for r in splits[split] if r.speaker}
    if speaker_of:
        write_speakers(dest, speaker_of)
    for split in SPLITS:
        write_split(dest, split, root, splits[split])


def clear(dest: Path) -> None:
    """Removes what another run may have written, because its labels would not fit the manifests."""
    splits = [f"{split}.{suffix}" for split in SPLITS for suffix in ("tsv", "wrd", *LABELS)]
    for name in (*splits, "dict.phn.txt", "dict.spm.txt", "spm.model", "speakers.tsv"):
        (dest / name).unlink(missing_ok=True)


def report(splits: Splits, intake: Intake, left_out: Sequence[Skipped]) -> None:
    changed = ", ".join(f"{name} {count}" for name, count in intake.changed.items() if count)
    print(f"text: {intake.sentences} sentences, changed in {changed or 'nothing'}")
    for split in reversed(SPLITS):
        recordings = splits[split]
        minutes = sum(recording.frames for recording in recordings) / RATE / 60
        speakers = len({recording.speaker for recording in recordings} - {""}) or "?"
        print(f"{split}: {len(recordings)} clips, {minutes:.1f} minutes, {speakers} speakers")
    print(f"skipped: {len(intake.skipped)} clips, see skipped.tsv")
    if left_out:
        print(f"left out of a split: {len(left_out)} clips, see skipped.tsv")
    for line in describe_leaks({split: splits[split] for split in SPLITS}):
        print(line)


def warn(args: argparse.Namespace, splits: Splits, intake: Intake) -> None:
    """Names, on stderr, symbols that are too rare to be learnt, and suspicious homophones."""
    warnings = []
    if args.labels == "ltr":
        warnings.append(rare_symbols(" ".join(recording.words) for recording in splits["train"]))
    if args.labels == "phn":
        warnings.append(rare_symbols(recording.phones for recording in splits["train"]))
    if intake.phonemizer and intake.language.spaced:
        words = (recording.words for split in SPLITS for recording in splits[split])
        warnings.append(homophones(words, intake.phonemizer, args.lang))
    for warning in filter(None, warnings):
        print(f"warning: {warning}", file=sys.stderr)
