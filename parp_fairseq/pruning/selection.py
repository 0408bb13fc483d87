"""Selection: the k lowest scores among many weights, exactly, without joining or sorting them.

Floats that are not negative are ordered as their bit patterns are, so scores are compared as
integers. A sample of the weights gives a bracket, in which the k-th lowest score should lie. One
pass marks the scores from the bracket on, and collects the few inside it; the lowest of these lose
their marks. Where the bracket missed the k-th, or holds too many (equal scores), two histograms
find it, over the upper and then the lower half of the bits, and one more pass compares.
"""

from itertools import chain
from typing import Iterator, List, Mapping, NamedTuple, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from .bits import pack, unpack
from .criterion import Criterion

_INFINITY = 0x7F800000  # bit pattern of inf; those of NaN lie above it
_SAMPLED = 257  # the sample has every so manieth weight; a prime, to come upon all columns
_COLLECTED = 1 << 16  # scores of one weight inside the bracket at the most, or 1/32 of it


def keep_all_but_lowest(
    weights: Mapping[str, Tensor], criterion: Criterion, num_pruned: int
) -> Iterator[Tuple[str, Tensor]]:
    """Name and bool tensor of each weight, False at the ``num_pruned`` lowest scores of all.

    Equal scores are resolved by position: of two, the one that comes first is pruned first.

    Raises:
        ValueError: a score is infinite or not a number.
    """
    total = sum(weight.numel() for weight in weights.values())
    if not 0 <= num_pruned <= total:
        raise ValueError(f"cannot prune {num_pruned} of {total} weights")
    if num_pruned == 0:
        return ((name, torch.ones_like(w, dtype=torch.bool)) for name, w in weights.items())
    looks = _look(weights, criterion, *_bracket(weights, criterion, num_pruned / total))
    if len(looks) == len(weights):
        missing = num_pruned - sum(look.below for look in looks)
        if 0 < missing <= sum(len(look.inside) for look in looks):
            return _settle(weights, looks, missing)
    return _compare(weights, criterion, *_search(weights, criterion, num_pruned))


def _bracket(weights: Mapping[str, Tensor], criterion: Criterion, share: float) -> Tuple[int, int]:
    """Bit patterns between which the quantile ``share`` lies, but for a chance of 1 in 10,000."""
    samples = [
        scores.cpu().clone()
        for name, weight in weights.items()
        for scores in criterion(name, weight.detach().reshape(-1)[::_SAMPLED])
    ]
    ordered = torch.cat(samples).view(torch.int32).sort().values
    last, rank = ordered.numel() - 1, ordered.numel() * share
    spread = 4 * (rank * (1 - share)) ** 0.5 + 2
    return int(ordered[max(0, int(rank - spread))]), int(ordered[min(last, int(rank + spread))])


class _Look(NamedTuple):
    """What one pass over a weight found."""

    marks: Tensor  # packed: True from the bracket on
    below: int  # how many scores lie below the bracket
    positions: Tensor  # of the scores inside it
    inside: Tensor  # their bit patterns


def _look(weights: Mapping[str, Tensor], criterion: Criterion, low: int, high: int) -> List[_Look]:
    """A pass over all weights, given up at one that has too many scores in the bracket."""
    largest = max(weight.numel() for weight in weights.values())
    # Taken once, for memory taken and given back among what stays would be in pieces by the end.
    buffers = {
        device: _fast(torch.empty(2, largest, dtype=torch.bool, device=device))
        for device in {weight.device for weight in weights.values()}
    }
    looks = []
    for name, weight in weights.items():
        lib = np if weight.device.type == "cpu" else torch
        marks, flags = buffers[weight.device][:, : weight.numel()]
        positions, inside, start = [], [], 0
        for bits in _finite(name, weight, criterion):
            marked, flagged = marks[start : start + len(bits)], flags[: len(bits)]
            lib.greater_equal(bits, low, out=marked)
            lib.less_equal(bits, high, out=flagged)
            lib.logical_and(marked, flagged, out=flagged)
            found = flagged.nonzero()
            found = found[0] if lib is np else found.view(-1)
            inside.append(bits[found])
            found += start
            positions.append(found)
            start += len(bits)
        if sum(map(len, inside)) > max(_COLLECTED, len(marks) // 32):
            break
        below = len(marks) - int(lib.count_nonzero(marks))
        found = (torch.as_tensor(lib.concatenate(parts)) for parts in (positions, inside))
        looks.append(_Look(pack(torch.as_tensor(marks)), below, *found))
    return looks


def _fast(tensor: Tensor) -> Union[np.ndarray, Tensor]:
    """On the CPU as NumPy's, which compares and selects in half of torch's time."""
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def _settle(
    weights: Mapping[str, Tensor], looks: List[_Look], num_pruned: int
) -> Iterator[Tuple[str, Tensor]]:
    """Prune what is below the bracket, and the ``num_pruned`` lowest scores inside."""
    inside = torch.cat([look.inside.cpu() for look in looks])
    threshold = inside.kthvalue(num_pruned).values
    pruned = inside < threshold
    equal = (inside == threshold).nonzero().view(-1)
    pruned[equal[: num_pruned - int(pruned.sum())]] = True
    parts = pruned.split([len(look.inside) for look in looks])
    for (name, weight), part in zip(weights.items(), parts):
        look = looks.pop(0)  # with it goes its memory
        keep = unpack(look.marks, weight.shape)
        keep.view(-1)[look.positions[part.to(weight.device)]] = False
        yield name, keep


def _search(weights: Mapping[str, Tensor], criterion: Criterion, k: int) -> Tuple[int, int, int]:
    """Bit pattern of the k-th lowest score, how many equal scores to prune, how many there are."""

    def everything() -> Iterator[Tensor]:
        pieces = (_finite(*item, criterion) for item in weights.items())
        return map(torch.as_tensor, chain.from_iterable(pieces))

    upper = torch.zeros(1 << 15, dtype=torch.int64)
    for bits in everything():
        upper += torch.bincount(bits >> 16, minlength=len(upper)).cpu()
    high, below = _bin_of(upper, k)
    lower = torch.zeros(1 << 16, dtype=torch.int64)
    for bits in everything():
        inside = bits[(bits >> 16) == high] & 0xFFFF
        lower += torch.bincount(inside, minlength=len(lower)).cpu()
    low, inside_below = _bin_of(lower, k - below)
    return (high << 16) | low, k - below - inside_below, int(lower[low])


def _bin_of(counts: Tensor, k: int) -> Tuple[int, int]:
    """The bin that holds the k-th lowest entry of a histogram, and how many lie in lower bins."""
    cumulative = counts.cumsum(0)
    index = int(torch.searchsorted(cumulative, k))
    return index, int(cumulative[index] - counts[index])


def _compare(
    weights: Mapping[str, Tensor], criterion: Criterion, threshold: int, pruned: int, equal: int
) -> Iterator[Tuple[str, Tensor]]:
    """Prune what is below ``threshold``, and the first ``pruned`` of the ``equal`` scores at it."""
    for name, weight in weights.items():
        keep = torch.empty(weight.numel(), dtype=torch.bool, device=weight.device)
        start = 0
        for scores in criterion(name, weight):
            bits = scores.view(torch.int32)
            piece = keep[start : start + len(bits)]
            start += len(bits)
            if not 0 < pruned < equal:  # all of one kind from here on
                torch.gt(bits, threshold if pruned else threshold - 1, out=piece)
                continue
            torch.gt(bits, threshold, out=piece)
            positions = (bits == threshold).nonzero().view(-1)
            piece[positions[pruned:]] = True
            pruned, equal = max(0, pruned - len(positions)), equal - len(positions)
        yield name, keep.view(weight.shape)


def _finite(name: str, weight: Tensor, criterion: Criterion) -> Iterator[Union[np.ndarray, Tensor]]:
    """The bit patterns of the scores of a weight, piece by piece."""
    integers = np.int32 if weight.device.type == "cpu" else torch.int32
    for scores in criterion(name, weight):
        bits = _fast(scores).view(integers)
        if len(bits) and bits.max() >= _INFINITY:
            raise ValueError(f"{name} holds values that are infinite or not a number")
        yield bits
