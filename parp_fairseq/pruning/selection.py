"""Selection: the k lowest scores among many weights, exactly, without joining or sorting them.

Scores are compared as integers, the keys, which have the order of the floats (see :func:`_keys`).
A sample of the scores gives a bracket that should contain the k-th lowest key. One pass marks the
keys from the bracket on and collects the few inside it; the lowest of these lose their marks. Where
the bracket missed the k-th key, or holds too many (equal scores), histograms over 16 bits at a time
find it, and one more pass compares.
"""

from typing import Iterator, List, Mapping, NamedTuple, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from . import bits
from .criterion import Criterion, broken, not_finite, scores_of

# The sample holds every n-th score, n being a prime number, so that it meets all columns. It has at
# least 16,384 scores where there are as many: of fewer, the bracket would be wide.
_STEPS = (257, 131, 67, 37, 17, 7, 3, 1)
_SAMPLED = 1 << 14
_COLLECTED = 1 << 16  # most scores of one weight inside the bracket, or 1/32 of the weight
_BINS = 1 << 16

Keys = Union[np.ndarray, Tensor]  # on the CPU NumPy, which takes half of torch's time


class _Width(NamedTuple):
    """The integers that scores of one floating-point type are compared as."""

    score: torch.dtype
    key: torch.dtype
    infinity: int  # bit pattern; above it are NaN, and as unsigned numbers all negative floats
    shifts: Tuple[int, ...]  # of each 16 bits of a key, from the highest


_SINGLE = _Width(torch.float32, torch.int32, 0x7F800000, (16, 0))
_DOUBLE = _Width(torch.float64, torch.int64, 0x7FF0000000000000, (48, 32, 16, 0))
_UNSIGNED = {torch.int32: np.uint32, torch.int64: np.uint64}


def keep_all_but_lowest(
    weights: Mapping[str, Tensor], criterion: Criterion, num_pruned: int
) -> Iterator[Tuple[str, Tensor]]:
    """Name and bool tensor of each weight, False at the ``num_pruned`` lowest scores of all.

    Equal scores are resolved by position: the first one is pruned first.

    Raises:
        ValueError: a weight is infinite or not a number, or ``num_pruned`` is out of range.
        CriterionError: the criterion breaks its contract; see :mod:`criterion`.
    """
    total = sum(weight.numel() for weight in weights.values())
    if not 0 <= num_pruned <= total:
        raise ValueError(f"cannot prune {num_pruned} of {total} weights")
    if num_pruned == 0:
        return ((name, torch.ones_like(w, dtype=torch.bool)) for name, w in weights.items())
    step = next((step for step in _STEPS if total >= step * _SAMPLED), 1)
    sample = _sample(weights, criterion, step)
    width = _DOUBLE if any(s.dtype == torch.float64 for s in sample) else _SINGLE
    low, high = _bracket(sample, width, num_pruned / total)
    looks = _look(weights, criterion, width, low, high)
    if len(looks) == len(weights):
        missing = num_pruned - sum(look.below for look in looks)
        if 0 < missing <= sum(len(look.inside) for look in looks):
            return _settle(weights, looks, missing)
    return _compare(weights, criterion, width, *_search(weights, criterion, width, num_pruned))


@torch.no_grad()
def _sample(weights: Mapping[str, Tensor], criterion: Criterion, step: int) -> List[Tensor]:
    """About one of every ``step`` scores, on the CPU."""
    parts = []
    for name, weight in weights.items():
        if hasattr(criterion, "sample"):
            parts.append(criterion.sample(name, weight, step).cpu())
            continue
        start = 0
        for scores in scores_of(criterion, name, weight):
            parts.append(scores[-start % step :: step].cpu().clone())
            start += len(scores)
    return parts


def _bracket(sample: List[Tensor], width: _Width, share: float) -> Tuple[int, int]:
    """Keys that enclose the quantile ``share`` of all scores in all but 1 of 10,000 cases."""
    keys = _ordered(torch.cat([part.to(width.score) for part in sample]), width).numpy()
    last, rank = len(keys) - 1, len(keys) * share
    spread = 4 * (rank * (1 - share)) ** 0.5 + 2
    ends = max(0, int(rank - spread)), min(last, int(rank + spread))
    parted = np.partition(keys, ends)
    return int(parted[ends[0]]), int(parted[ends[1]])


class _Look(NamedTuple):
    """What one pass over a weight found."""

    marks: Tensor  # packed: True from the bracket on
    below: int  # number of scores below the bracket
    positions: Tensor  # of the scores inside it
    inside: Tensor  # their keys


@torch.no_grad()
def _look(
    weights: Mapping[str, Tensor], criterion: Criterion, width: _Width, low: int, high: int
) -> List[_Look]:
    """One pass over all weights; it stops at a weight with too many scores in the bracket."""
    largest = max(weight.numel() for weight in weights.values())
    # Allocated once: buffers that come and go between the results would fragment the memory.
    buffers = {
        device: torch.empty(2, largest, dtype=torch.bool, device=device)
        for device in {weight.device for weight in weights.values()}
    }
    looks = []
    for name, weight in weights.items():
        lib = np if bits.on_cpu(weight) else torch
        marks, flags = buffers[weight.device][:, : weight.numel()]
        if lib is np:
            marks, flags = marks.numpy(), flags.numpy()
        positions, inside, start = [], [], 0
        for keys in _keys(name, weight, criterion, width):
            marked, flagged = marks[start : start + len(keys)], flags[: len(keys)]
            lib.greater_equal(keys, low, out=marked)
            lib.less_equal(keys, high, out=flagged)
            lib.logical_and(marked, flagged, out=flagged)
            found = flagged.nonzero()
            found = found[0] if lib is np else found.view(-1)
            inside.append(keys[found])
            found += start
            positions.append(found)
            start += len(keys)
        if sum(map(len, inside)) > max(_COLLECTED, len(marks) // 32):
            break
        below = len(marks) - int(lib.count_nonzero(marks))
        found = (torch.as_tensor(lib.concatenate(parts)) for parts in (positions, inside))
        looks.append(_Look(bits.pack(torch.as_tensor(marks)), below, *found))
    return looks


def _settle(
    weights: Mapping[str, Tensor], looks: List[_Look], num_pruned: int
) -> Iterator[Tuple[str, Tensor]]:
    """Prune what is below the bracket, and the ``num_pruned`` lowest scores inside."""
    inside = torch.cat([look.inside.cpu() for look in looks])
    # NumPy, because torch.kthvalue takes several times as long.
    threshold = int(np.partition(inside.numpy(), num_pruned - 1)[num_pruned - 1])
    pruned = inside < threshold
    equal = (inside == threshold).nonzero().view(-1)
    pruned[equal[: num_pruned - int(pruned.sum())]] = True
    parts = pruned.split([len(look.inside) for look in looks])
    for (name, weight), part in zip(weights.items(), parts):
        look = looks.pop(0)  # frees its memory
        keep = bits.unpack(look.marks, weight.shape)
        keep.view(-1)[look.positions[part.to(weight.device)]] = False
        yield name, keep


@torch.no_grad()
def _search(
    weights: Mapping[str, Tensor], criterion: Criterion, width: _Width, k: int
) -> Tuple[int, int, int]:
    """The k-th lowest key, how many scores equal to it to prune, and how many there are."""
    prefix, below, equal = 0, 0, 0
    for level, shift in enumerate(width.shifts):
        counts = torch.zeros(_BINS, dtype=torch.int64)
        for name, weight in weights.items():
            for keys in map(torch.as_tensor, _keys(name, weight, criterion, width)):
                if level == 0:  # the highest bits have a sign
                    digits = (keys >> shift) + _BINS // 2
                else:
                    inside = keys[(keys >> (shift + 16)) == prefix]
                    digits = (inside >> shift) & (_BINS - 1)
                counts += torch.bincount(digits, minlength=_BINS).cpu()
        digit, lower = _bin_of(counts, k - below)
        below, equal = below + lower, int(counts[digit])
        prefix = digit - _BINS // 2 if level == 0 else (prefix << 16) | digit
    return prefix, k - below, equal


def _bin_of(counts: Tensor, k: int) -> Tuple[int, int]:
    """The bin that holds the k-th lowest entry of a histogram, and how many lie in lower bins."""
    cumulative = counts.cumsum(0)
    index = int(torch.searchsorted(cumulative, k))
    return index, int(cumulative[index] - counts[index])


def _compare(
    weights: Mapping[str, Tensor],
    criterion: Criterion,
    width: _Width,
    threshold: int,
    pruned: int,
    equal: int,
) -> Iterator[Tuple[str, Tensor]]:
    """Prune what is below ``threshold``, and the first ``pruned`` of the ``equal`` scores at it."""
    for name, weight in weights.items():
        keep = torch.empty(weight.numel(), dtype=torch.bool, device=weight.device)
        start = 0
        for keys in map(torch.as_tensor, _keys(name, weight, criterion, width)):
            piece = keep[start : start + len(keys)]
            start += len(keys)
            if not 0 < pruned < equal:  # all that are left are treated alike
                torch.gt(keys, threshold if pruned else threshold - 1, out=piece)
                continue
            torch.gt(keys, threshold, out=piece)
            positions = (keys == threshold).nonzero().view(-1)
            piece[positions[pruned:]] = True
            pruned, equal = max(0, pruned - len(positions)), equal - len(positions)
        yield name, keep.view(weight.shape)


def _keys(name: str, weight: Tensor, criterion: Criterion, width: _Width) -> Iterator[Keys]:
    """The keys of the scores of a weight, piece by piece.

    Raises:
        ValueError: a score is infinite or not a number.
    """
    for scores in scores_of(criterion, name, weight):
        if scores.dtype != width.score:
            scores = _converted(scores, criterion, name, width)
        if not len(scores):
            is_plain = True
        elif bits.on_cpu(scores):
            unsigned = scores.numpy().view(_UNSIGNED[width.key])
            is_plain = unsigned.max() < width.infinity  # no sign bit either: one pass tells both
        else:
            lowest, highest = scores.view(width.key).aminmax()
            is_plain = bool((lowest >= 0) & (highest < width.infinity))
        if is_plain:
            keys = scores.view(width.key)
        elif scores.isfinite().all():
            keys = _ordered(scores, width)
        else:
            raise not_finite(criterion, name, weight)
        yield keys.numpy() if bits.on_cpu(keys) else keys


def _ordered(scores: Tensor, width: _Width) -> Tensor:
    """Integers in the order of the floats, with one integer for 0.0 and -0.0.

    Floats that are not negative are ordered as their bit patterns are. Those of negative floats
    grow with the magnitude, from the lowest integer on, so they are subtracted from it.
    """
    patterns = scores.view(width.key)
    return torch.where(patterns < 0, torch.iinfo(width.key).min - patterns, patterns)


def _converted(scores: Tensor, criterion: Criterion, name: str, width: _Width) -> Tensor:
    if width is _SINGLE:  # an earlier call returned another type
        raise broken(criterion, f"returned float64 scores for {name}, and float32 scores before")
    return scores.to(width.score)
