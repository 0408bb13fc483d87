"""Passages: the emissions of windows joined, from one silence to the next."""

from dataclasses import dataclass
from typing import Callable, Iterable, Iterator, List

import torch
from torch import Tensor

from .windows import Window


@dataclass(frozen=True)
class Passage:
    """A stretch of a recording between two silent seams.

    Attributes:
        log_probs: shape ``(frames, symbols)``.
        start: position of its first sample in the recording.
    """

    log_probs: Tensor
    start: int


def join_windows(
    windows: Iterable[Window], emit: Callable[[Window], Tensor], hop: int
) -> Iterator[Passage]:
    """Run the network over windows, and join the emissions of those that overlap.

    Args:
        windows: of one recording, in order.
        emit: the log-probabilities of a window, shape ``(frames, symbols)``.
        hop: samples from one frame to the next.
    """
    parts: List[Tensor] = []
    start = first = 0  # where the passage begins in samples, and the last part of it in frames
    for window in windows:
        log_probs = emit(window)
        if not window.follows:
            if parts:
                yield Passage(torch.cat(parts), start)
            parts, start, first = [log_probs], window.start, 0
            continue
        position = (window.start - start) // hop
        join = find_join(parts[-1][position - first :], log_probs)
        parts[-1] = parts[-1][: position - first + join]
        parts.append(log_probs[join:])
        first = position + join
    if parts:
        yield Passage(torch.cat(parts), start)


def find_join(left: Tensor, right: Tensor) -> int:
    """The frame of an overlap from which on the emission of the right window is taken.

    Two windows may place a symbol in frames that differ by one. A join between them would lose it,
    or double it. So the join is where both windows have the same best symbols in the frame before
    it and in the frame after it, as near to the middle as possible.

    Args:
        left: the end of one window's emission, shape ``(frames, symbols)``.
        right: the emission of the next window, which begins with the same frames.
    """
    frames = min(len(left), len(right))
    agrees = left[:frames].argmax(dim=1) == right[:frames].argmax(dim=1)
    inner = range(max(1, frames // 4), max(2, frames - frames // 4))  # away from the edges
    middle = frames // 2
    good = [frame for frame in inner if frame < frames and agrees[frame - 1] and agrees[frame]]
    return min(good, key=lambda frame: abs(frame - middle), default=middle)
