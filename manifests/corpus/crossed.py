"""Splits that share neither speakers nor sentences, where all speakers read the same sentences."""

import argparse
import random
from collections.abc import Collection, Iterable
from typing import NamedTuple

from cli.options import share

from corpus.rows import Row
from corpus.table import Table


class Held(NamedTuple):
    """Who and what is in which split; the rest is for training.

    Attributes:
        test, valid: speakers.
        test_sentences, valid_sentences: share of the sentences, 0 to 1.
        seed: of the draw of sentences.
    """

    test: Collection[str]
    valid: Collection[str]
    test_sentences: float
    valid_sentences: float
    seed: int


def add_sentences(parser: argparse.ArgumentParser) -> None:
    """Adds --test-sentences, --valid-sentences and --seed."""
    for split, default in (("test", 0.2), ("valid", 0.1)):
        parser.add_argument(
            f"--{split}-sentences",
            type=share,
            default=default,
            metavar="SHARE",
            help=f"of the sentences that {split} alone has; default: %(default)s",
        )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the draw; default: %(default)s"
    )


def cross(rows: Iterable[Row], held: Held) -> Table:
    """The rows with their splits. Those that would share a speaker or a sentence are left out.

    A row is of a split if both its speaker and its sentence are. Speakers of ``valid`` who are
    also training speakers are shared with ``train``, and not their sentences.

    Raises:
        ValueError: a speaker does not exist, or a split gets no sentence.
    """
    rows = sorted(rows)
    speakers = {row.speaker for row in rows}
    for split in ("test", "valid"):
        unknown = sorted(set(getattr(held, split)) - speakers)
        if unknown:
            raise ValueError(
                f"--{split}-speakers: {', '.join(unknown)}, expected some of "
                f"{', '.join(sorted(speakers))}"
            )
    sentences, rng = sorted({row.sentence for row in rows}), random.Random(held.seed)
    rng.shuffle(sentences)
    rng.shuffle(rows)  # a part of train is of all speakers
    numbers = [round(part * len(sentences)) for part in (held.test_sentences, held.valid_sentences)]
    if min(numbers) < 1 or sum(numbers) >= len(sentences):
        raise ValueError(
            f"--test-sentences, --valid-sentences: {held.test_sentences:g} and "
            f"{held.valid_sentences:g} of {len(sentences)} sentences, expected one or more for "
            "each split"
        )
    tested, validated = sentences[: numbers[0]], sentences[numbers[0] : sum(numbers)]
    split_of = {**dict.fromkeys(tested, "test"), **dict.fromkeys(validated, "valid")}
    # Where nobody is held out for it alone, training speakers are validated on other sentences.
    own_valid = set(held.valid) - set(held.test)
    splits: dict[str, str] = {}
    kept = []
    for row in rows:
        split = split_of.get(row.sentence, "train")
        if row.speaker in held.test:
            fits = split == "test"
        elif own_valid:
            fits = split == ("valid" if row.speaker in own_valid else "train")
        else:
            fits = split in ("train", "valid")
        if fits:
            kept.append(row)
            splits[row.clip] = split
    return Table(kept, splits, True, [])
