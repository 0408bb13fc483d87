"""Windows: a long recording in pieces whose seams lose no words."""

from dataclasses import dataclass
from typing import Iterable, Iterator, NamedTuple

import numpy as np

from .recording import RATE

SHORTEST = 4.0  # seconds: the shortest window that is allowed
CONTEXT = 2.0  # seconds that two windows share on either side of a seam in speech
_LAST = 1.0  # seconds, at least, that are left for the last window
_PAUSE = 0.3  # seconds: the stretch whose loudness is compared
_STEP = 0.02  # seconds between two such stretches
_QUIET = 0.05  # a pause is silent below this share of the loudness of its window (-26 dB)


@dataclass(frozen=True)
class Window:
    """A piece of a recording.

    Attributes:
        samples: shape ``(samples,)``.
        start: position of the first in the recording.
        follows: whether it shares its first ``2 * CONTEXT`` seconds with the window before. If not,
            there is silence before it, or nothing.
    """

    samples: np.ndarray
    start: int
    follows: bool


class Seam(NamedTuple):
    position: int
    is_silent: bool


def cut(blocks: Iterable[np.ndarray], seconds: float, hop: int) -> Iterator[Window]:
    """Cut a stream of samples into windows of ``seconds`` at most, apart from what they share.

    A seam is laid in the quietest place of the second half of a window. If it is silent, the next
    window begins there: each is what a person would cut out. If it is not, the two windows overlap
    by ``CONTEXT`` seconds on either side.

    Args:
        blocks: samples at 16 kHz, of any lengths. Only about two windows are held in memory.
        seconds: length of a window, at least ``SHORTEST``.
        hop: samples from one frame of the network to the next. Seams lie between frames.
    """
    longest = int(seconds * RATE)
    context = int(CONTEXT * RATE) // hop * hop
    stream = _Stream(blocks)
    seam, is_silent = 0, True
    while True:
        begin = seam if is_silent else seam - context
        held = stream.read(begin, seam + longest + context)
        if len(held) <= seam - begin + longest:
            yield Window(held, begin, follows=not is_silent)
            return
        earliest, latest = longest // 2, longest - int(_LAST * RATE)
        found = find_seam(held[seam - begin :], earliest, latest)
        position = (seam + found.position) // hop * hop
        end = position if found.is_silent else position + context
        yield Window(held[: end - begin], begin, follows=not is_silent)
        seam, is_silent = position, found.is_silent


def find_seam(samples: np.ndarray, earliest: int, latest: int) -> Seam:
    """The middle of the quietest stretch that lies between two positions."""
    step, pause = int(_STEP * RATE), int(_PAUSE * RATE)
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples[:latest], dtype=np.float64))])
    starts = np.arange(earliest, latest - pause + 1, step)
    loudness = energy[starts + pause] - energy[starts]
    quietest = int(loudness.argmin())
    # Of equally quiet stretches, as in digital silence, the middle one.
    equal = np.flatnonzero(loudness <= loudness[quietest] * (1 + 1e-9))
    run = equal[: np.flatnonzero(np.diff(equal, append=equal[-1] + 2) > 1)[0] + 1]
    chosen = starts[run[len(run) // 2]]
    mean = energy[-1] / latest
    return Seam(int(chosen) + pause // 2, loudness[quietest] / pause <= _QUIET**2 * mean)


class _Stream:
    """Samples by their positions; what lies before the last position that was asked for is dropped.

    Args:
        blocks: the samples.
    """

    def __init__(self, blocks: Iterable[np.ndarray]):
        self._blocks = iter(blocks)
        self._held = np.zeros(0, np.float32)
        self._start = 0

    def read(self, begin: int, end: int) -> np.ndarray:
        """The samples from ``begin`` up to ``end``, or to the end of the stream."""
        parts = [self._held[begin - self._start :]]
        length = len(parts[0])
        while length < end - begin:
            block = next(self._blocks, None)
            if block is None:
                break
            parts.append(block)
            length += len(block)
        self._held, self._start = np.concatenate(parts), begin
        return self._held[: end - begin]
