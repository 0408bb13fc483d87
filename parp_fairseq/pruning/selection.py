"""Selection: the k lowest scores among many weights, exactly, without joining or sorting them.

Floats that are not negative are ordered as their bit patterns are, so the k-th lowest is looked for
among integers. A sample of the weights brackets it; one pass counts what is below the bracket and
collects the few inside, among which the k-th is found. Where the bracket missed it, or holds too
many (equal scores), two histograms find it, over the upper and then the lower half of the bits. A
last pass compares.
"""

from typing import Iterator, Mapping, NamedTuple, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from .criterion import Criterion

_INFINITY = 0x7F800000  # bit pattern of inf; those of NaN lie above it
_SAMPLED = 257  # the sample has every so manieth weight; a prime, to come upon all columns
_COLLECTED = 1 << 21  # scores inside the bracket at the most


class _Cut(NamedTuple):
    """Where the pruned scores end: those below ``bits``, and the first ``pruned`` of ``equal``."""

    bits: int
    pruned: int
    equal: int


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
        yield from ((name, torch.ones_like(w, dtype=torch.bool)) for name, w in weights.items())
        return
    bracket = _bracket(weights, criterion, num_pruned / total)
    cut = _look_inside(weights, criterion, num_pruned, *bracket)
    threshold, pruned, equal = cut or _look_everywhere(weights, criterion, num_pruned)
    for name, weight in weights.items():
        keep = torch.empty(weight.numel(), dtype=torch.bool, device=weight.device)
        start = 0
        for scores in criterion(name, weight):
            bits = scores.view(torch.int32)
            piece = keep[start : start + bits.numel()]
            start += bits.numel()
            torch.gt(bits, threshold, out=piece)
            if equal > pruned:  # some of the scores at the threshold are kept
                at_threshold = bits.eq_(threshold)
                if at_threshold.any():
                    positions = at_threshold.nonzero().view(-1)
                    piece[positions[pruned:]] = True
                    pruned = max(0, pruned - positions.numel())
                    equal -= positions.numel()
        yield name, keep.view(weight.shape)


def _finite(weights: Mapping[str, Tensor], criterion: Criterion) -> Iterator[Tensor]:
    """The bit patterns of all scores, piece by piece."""
    for name, weight in weights.items():
        for scores in criterion(name, weight):
            bits = scores.view(torch.int32)
            if bits.numel() and bits.max() >= _INFINITY:
                raise ValueError(f"{name} holds values that are infinite or not a number")
            yield bits


def _bracket(weights: Mapping[str, Tensor], criterion: Criterion, share: float) -> Tuple[int, int]:
    """Bit patterns between which the quantile ``share`` lies, but for a chance of 1 in 10,000."""
    samples = (
        torch.cat(list(criterion(name, weight.detach().reshape(-1)[::_SAMPLED]))).cpu()
        for name, weight in weights.items()
        if weight.numel()
    )
    ordered = torch.cat(list(samples)).view(torch.int32).sort().values
    last, rank = ordered.numel() - 1, ordered.numel() * share
    spread = 4 * (rank * (1 - share)) ** 0.5 + 2
    return int(ordered[max(0, int(rank - spread))]), int(ordered[min(last, int(rank + spread))])


def _look_inside(
    weights: Mapping[str, Tensor], criterion: Criterion, k: int, low: int, high: int
) -> Optional[_Cut]:
    """The cut at the k-th lowest score, if that is among few others from ``low`` to ``high``."""
    below = num_inside = 0
    inside = []
    for bits in _finite(weights, criterion):
        offsets = bits.sub_(low)
        if offsets.device.type == "cpu":  # NumPy compares and selects in half of torch's time
            array = offsets.numpy()
            below += array.size - int(np.count_nonzero(array >= 0))
            array = array.view(np.uint32)  # what is below the bracket is far above it now
            inside.append(torch.from_numpy(array[array <= high - low].view(np.int32)))
        else:
            below += int((offsets < 0).sum())
            inside.append(offsets[(offsets >= 0) & (offsets <= high - low)].cpu())
        num_inside += inside[-1].numel()
        if num_inside > _COLLECTED:
            return None
    if not below < k <= below + num_inside:
        return None
    candidates = torch.cat(inside)
    offset = int(candidates.kthvalue(k - below).values)
    below += int((candidates < offset).sum())
    return _Cut(low + offset, k - below, int((candidates == offset).sum()))


def _look_everywhere(weights: Mapping[str, Tensor], criterion: Criterion, k: int) -> _Cut:
    """The cut at the k-th lowest score, by two histograms of at most 2^16 bins."""
    upper = torch.zeros(1 << 15, dtype=torch.int64)
    for bits in _finite(weights, criterion):
        upper += torch.bincount(bits >> 16, minlength=upper.numel()).cpu()
    high, below = _bin_of(upper, k)
    lower = torch.zeros(1 << 16, dtype=torch.int64)
    for bits in _finite(weights, criterion):
        inside = bits[(bits >> 16) == high] & 0xFFFF
        lower += torch.bincount(inside, minlength=lower.numel()).cpu()
    low, inside_below = _bin_of(lower, k - below)
    return _Cut((high << 16) | low, k - below - inside_below, int(lower[low]))


def _bin_of(counts: Tensor, k: int) -> Tuple[int, int]:
    """The bin that holds the k-th lowest entry of a histogram, and how many lie in lower bins."""
    cumulative = counts.cumsum(0)
    index = int(torch.searchsorted(cumulative, k))
    return index, int(cumulative[index] - counts[index])
