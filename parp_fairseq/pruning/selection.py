"""Selection: the k lowest scores among many weights, exactly, without joining or sorting them.

Floats that are not negative are ordered as their bit patterns are. Two histograms of 2^16 bins,
over the upper and then the lower half of the 32 bits, find the k-th lowest pattern; a third pass
compares.
"""

from typing import Dict, Mapping

import torch
from torch import Tensor

from .criterion import Criterion

_INFINITY = 0x7F80  # upper half of the bit pattern of inf; NaN lies above it


def keep_all_but_lowest(
    weights: Mapping[str, Tensor], criterion: Criterion, num_pruned: int
) -> Dict[str, Tensor]:
    """Bool tensors in the weights' shapes, False at the ``num_pruned`` lowest scores of all.

    Equal scores are resolved by position: of two, the one that comes first is pruned first.

    Raises:
        ValueError: a score is infinite or not a number.
    """
    total = sum(weight.numel() for weight in weights.values())
    if not 0 <= num_pruned <= total:
        raise ValueError(f"cannot prune {num_pruned} of {total} weights")
    if num_pruned == 0:
        return {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}

    threshold, ties = _kth_lowest(weights, criterion, num_pruned)
    kept = {}
    for name, weight in weights.items():
        keep = torch.empty(weight.numel(), dtype=torch.bool, device=weight.device)
        start = 0
        for scores in criterion(name, weight):
            piece = keep[start : start + scores.numel()]
            bits = scores.view(torch.int32)
            torch.gt(bits, threshold, out=piece)
            equal = bits.eq(threshold).nonzero().view(-1)
            piece[equal[ties:]] = True
            ties = max(0, ties - equal.numel())
            start += scores.numel()
        kept[name] = keep.view(weight.shape)
    return kept


def _kth_lowest(weights: Mapping[str, Tensor], criterion: Criterion, k: int):
    """The bit pattern of the k-th lowest score, and how many scores equal to it are pruned."""
    upper = torch.zeros(1 << 15, dtype=torch.int64)
    for name, weight in weights.items():
        for scores in criterion(name, weight):
            counts = torch.bincount(scores.view(torch.int32) >> 16, minlength=1 << 15).cpu()
            if counts[_INFINITY:].any():
                raise ValueError(f"{name} holds values that are infinite or not a number")
            upper += counts
    high, below = _bin_of(upper, k)

    lower = torch.zeros(1 << 16, dtype=torch.int64)
    for name, weight in weights.items():
        for scores in criterion(name, weight):
            bits = scores.view(torch.int32)
            inside = bits[(bits >> 16) == high] & 0xFFFF
            lower += torch.bincount(inside, minlength=1 << 16).cpu()
    low, inside_below = _bin_of(lower, k - below)
    return (high << 16) | low, k - below - inside_below


def _bin_of(counts: Tensor, k: int):
    """The bin that holds the k-th lowest entry of a histogram, and how many lie in lower bins."""
    cumulative = counts.cumsum(0)
    index = int(torch.searchsorted(cumulative, k))
    return index, int(cumulative[index] - counts[index])
