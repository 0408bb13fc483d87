"""Pattern: over which sets of weights the scores compete.

A pattern is called with weights, a criterion and a sparsity, and yields name and bool tensor of
each weight, True where it is kept.
"""

import math
import re
from typing import Callable, Iterator, Mapping, Tuple

import torch
from torch import Tensor

from .criterion import Criterion
from .schedule import Schedule
from .selection import keep_all_but_lowest

Pattern = Callable[[Mapping[str, Tensor], Criterion, float], Iterator[Tuple[str, Tensor]]]


def global_(weights: Mapping[str, Tensor], criterion: Criterion, sparsity: float):
    """All weights compete with all others: ``round(sparsity * n)`` are pruned."""
    total = sum(weight.numel() for weight in weights.values())
    return keep_all_but_lowest(weights, criterion, round(sparsity * total))


def layerwise(weights: Mapping[str, Tensor], criterion: Criterion, sparsity: float):
    """Each tensor by itself: ``round(sparsity * n)`` of its n weights are pruned."""
    for name, weight in weights.items():
        num_pruned = round(sparsity * weight.numel())
        yield from keep_all_but_lowest({name: weight}, criterion, num_pruned)


class NOfM:
    """N of every M weights that follow one another along the input dimension (dim 1) are kept."""

    def __init__(self, n: int, m: int):
        self.n, self.m = n, m
        self.__name__ = f"{n}:{m}"

    def __call__(self, weights: Mapping[str, Tensor], criterion: Criterion, sparsity: float):
        if sparsity == 0:
            return keep_all_but_lowest(weights, criterion, 0)
        self.require_fit(weights, sparsity)
        return ((name, self._keep(name, w, criterion)) for name, w in weights.items())

    def require_fit(self, weights: Mapping[str, Tensor], sparsity: float) -> None:
        """Raise ValueError at another sparsity than 1 - N / M, or where M does not divide dim 1."""
        share = (self.m - self.n) / self.m
        if not math.isclose(sparsity, share):
            raise ValueError(
                f"pattern {self.n}:{self.m} prunes a share of {share}: "
                f"expected that sparsity, found {sparsity}"
            )
        for name, weight in weights.items():
            if weight.dim() < 2 or weight.size(1) % self.m:
                raise ValueError(
                    f"pattern {self.n}:{self.m} needs an input dimension that {self.m} divides: "
                    f"{name} has shape {tuple(weight.shape)}"
                )

    def _keep(self, name: str, weight: Tensor, criterion: Criterion) -> Tensor:
        # A copy of each piece, for the next one may be written over it.
        scores = torch.cat([piece.clone() for piece in criterion(name, weight)])
        scores = scores.view(weight.shape).movedim(1, -1)
        if not scores.isfinite().all():
            raise ValueError(f"{name} holds values that are infinite or not a number")
        groups = scores.reshape(-1, self.m)
        lowest = groups.argsort(dim=1, stable=True)[:, : self.m - self.n]
        keep = torch.ones_like(groups, dtype=torch.bool).scatter_(1, lowest, False)
        return keep.view(scores.shape).movedim(-1, 1).contiguous()


def require_fit(pattern: Pattern, weights: Mapping[str, Tensor], schedule: Schedule) -> None:
    """Raise ValueError where ``pattern`` cannot prune ``weights`` as ``schedule`` says."""
    if not isinstance(pattern, NOfM) or schedule.sparsity == 0:
        return
    if schedule.grows:
        raise ValueError(
            f"pattern {pattern.n}:{pattern.m} has the same sparsity from the start: expected no "
            f"initial_sparsity, found {schedule.initial_sparsity}"
        )
    pattern.require_fit(weights, schedule.sparsity)


def prunes_biases(bias: bool, pattern: str) -> bool:
    """Whether biases are pruned where they may be: the pattern N:M needs an input dimension."""
    return bias and pattern in ("global", "layerwise")


def parse_pattern(pattern: str) -> Pattern:
    """The pattern that ``global``, ``layerwise`` or ``N:M`` names.

    Raises:
        ValueError: anything else, or not 0 < N < M.
    """
    if pattern == "global":
        return global_
    if pattern == "layerwise":
        return layerwise
    numbers = re.fullmatch(r"(\d+):(\d+)", pattern)
    if numbers and 0 < int(numbers[1]) < int(numbers[2]):
        return NOfM(int(numbers[1]), int(numbers[2]))
    raise ValueError(
        f"unknown pattern {pattern!r}: expected global, layerwise or N:M with 0 < N < M"
    )
