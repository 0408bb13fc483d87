"""Options that the commands share, and how errors end a command."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path


def corpus_parser(
    description: str, epilog: str, source: str, metavar: str = "SOURCE"
) -> argparse.ArgumentParser:
    """A parser with the arguments SOURCE and DEST.

    Args:
        source: help of SOURCE.
        metavar: name of SOURCE, if it is called otherwise.
    """
    parser = _parser(description, epilog)
    parser.add_argument("source", metavar=metavar, type=Path, help=source)
    _add_dest(parser)
    return parser


def folders_parser(description: str, epilog: str, folder: str) -> argparse.ArgumentParser:
    """A parser with the arguments FOLDER... and DEST; `folder` is the help of FOLDER."""
    parser = _parser(description, epilog)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+", help=folder)
    _add_dest(parser)
    return parser


def _parser(description: str, epilog: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_dest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dest", metavar="DEST", type=Path, help="folder to write; made if it does not exist"
    )


def add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs",
        type=above(int, 0),
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="threads; the result does not depend on them; default: the number of cores",
    )


def add_max_skipped(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-skipped",
        type=share,
        default=0.01,
        metavar="SHARE",
        help="fail if more than this share of a split's clips is bad (see DEST/skipped.tsv);"
        " default: %(default)s",
    )


def add_disjoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--disjoint",
        type=kinds,
        default=[],
        metavar="KINDS",
        help="speakers, sentences, or speakers,sentences: leave clips out of train, and out of"
        " valid, that share these with a split that is held out from them; default: report them",
    )


def run(
    parser: argparse.ArgumentParser,
    prepare: Callable[[argparse.Namespace], None],
    argv: Sequence[str] | None = None,
) -> None:
    """Parses the command line and prepares the corpus. Bad input ends in exit status 2."""
    args = parser.parse_args(argv)
    try:
        prepare(args)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted: run it again to resume\n")


def above(kind: Callable[[str], float], bound: float) -> Callable[[str], float]:
    """An argparse type: a finite number of `kind`, greater than `bound`."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = bound
        if not bound < value < float("inf"):
            noun = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{text!r}, expected a {noun} greater than {bound}")
        return value

    return parse


def share(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a share from 0 to 1")
    return value


def names(text: str) -> list[str]:
    """An argparse type: names separated by commas."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r}, expected names separated by commas")
    return found


def kinds(text: str) -> list[str]:
    """An argparse type: speakers, sentences, or both, separated by a comma."""
    found = names(text)
    if not set(found) <= {"speakers", "sentences"}:
        raise argparse.ArgumentTypeError(f"{text!r}, expected speakers, sentences or both")
    return found
