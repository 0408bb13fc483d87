"""Refusals: input that cannot be trained on or scored, reported in one line.

Hydra prints a ``CompactHydraException`` without a traceback, so ``fairseq-hydra-train`` does so for
a :class:`Refusal`. The other programs of fairseq leave exceptions to Python, whose
``sys.excepthook`` exists to be replaced. ``HYDRA_FULL_ERROR=1`` brings all tracebacks back.
"""

import os
import sys
from contextlib import contextmanager
from typing import Iterator, List, Optional, Tuple

from hydra.errors import CompactHydraException
from torch import distributed


class Refusal(CompactHydraException, ValueError, RuntimeError):
    """Bad input: the message names the option or file, the value found and the value expected.

    A ``ValueError`` for callers in Python. Also a ``RuntimeError``, because fairseq's trainer
    writes a ``crash.pt`` for every other exception that leaves an update.
    """


class MissingFile(Refusal, FileNotFoundError):
    """A file that an option or a manifest names does not exist."""


@contextmanager
def refusals() -> Iterator[None]:
    """Turn ValueErrors and OSErrors of the block into refusals, on all ranks of a run.

    A rank that stops alone would leave the others waiting for it. All ranks must enter the block,
    and must not exchange anything else inside.

    Raises:
        Refusal: the block raised an error, on this rank or on another.
    """
    error = None
    try:
        yield
    except Exception as caught:
        error = caught
    others = _errors_of_all_ranks(error)
    if isinstance(error, (ValueError, OSError)) and not isinstance(error, Refusal):
        kind = MissingFile if isinstance(error, FileNotFoundError) else Refusal
        raise kind(_one_line(error)) from error
    if error is not None and not (others and "out of memory" in str(error)):
        raise error
    if others:
        rank, message = others[0]
        # Not in the words by which fairseq knows a lack of memory, which it would ignore.
        message = message.replace("out of memory", "no memory left")
        raise Refusal(f"rank {rank} stopped the run: {message}") from error


def _errors_of_all_ranks(error: Optional[Exception]) -> List[Tuple[int, str]]:
    """Rank and message of each that failed; empty in a single process."""
    if not distributed.is_initialized():
        return []
    messages = [None] * distributed.get_world_size()
    distributed.all_gather_object(messages, None if error is None else _one_line(error))
    return [(rank, message) for rank, message in enumerate(messages) if message is not None]


def report_in_one_line() -> None:
    """Have Python print a :class:`Refusal`, and Ctrl-C, without a traceback."""
    if sys.excepthook is not _report and not hasattr(sys, "ps1"):  # not in an interactive Python
        _previous.append(sys.excepthook)
        sys.excepthook = _report


_previous = []


def _report(kind, error, traceback) -> None:
    wants_all = os.environ.get("HYDRA_FULL_ERROR", "") not in ("", "0")
    if isinstance(error, Refusal) and not wants_all:
        print(f"error: {error}", file=sys.stderr)
    elif issubclass(kind, KeyboardInterrupt) and not wants_all:
        print("interrupted", file=sys.stderr)
    else:
        _previous[-1](kind, error, traceback)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split("\n"))
