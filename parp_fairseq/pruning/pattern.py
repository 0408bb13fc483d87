"""Pattern: which sets of weights compete, and how many of them a sparsity prunes."""

import math
import re
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Deque, Dict, Iterator, Mapping, Tuple

import torch
from torch import Tensor

from . import bits
from .arguments import as_pattern
from .criterion import PIECE, Criterion, whole_scores
from .mask import Mask
from .schedule import Schedule
from .selection import keep_all_but_lowest


class Pattern(ABC):
    """Makes masks of a certain structure.

    A subclass says how weights are grouped. It may look at several tensors together, for example
    at the rows of one and the columns of the next. :func:`criterion.whole_scores` gives it the
    checked scores of a tensor, :func:`selection.keep_all_but_lowest` the lowest scores of many.

    Attributes:
        name: as users write it.
    """

    name: str

    @abstractmethod
    def __call__(
        self, weights: Mapping[str, Tensor], criterion: Criterion, sparsity: float
    ) -> Iterator[Tuple[str, Tensor]]:
        """Name and bool tensor of each weight, True where it is kept.

        Raises:
            ValueError: the pattern cannot prune these weights to this sparsity, or the criterion
                breaks its contract.
        """

    @abstractmethod
    def num_pruned(self, weights: Mapping[str, Tensor], sparsity: float) -> int:
        """How many elements of ``weights`` (or of a mask) are pruned at this sparsity."""

    def covers(self, name: str) -> bool:
        """Whether the pattern prunes the parameter of this name; others stay whole."""
        return True

    def covered(self, params: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """Those of ``params`` that the pattern prunes.

        Raises:
            ValueError: there are none.
        """
        covered = {name: param for name, param in params.items() if self.covers(name)}
        if not covered:
            found = ", ".join(list(params)[:3])
            raise ValueError(f"pattern {self.name} prunes none of the parameters {found}")
        return covered

    def require_fit(self, weights: Mapping[str, Tensor], schedule: Schedule) -> None:  # noqa: B027
        """Raise ValueError if the pattern cannot prune ``weights`` as ``schedule`` says."""

    def require_followed(self, mask: Mask, sparsity: float) -> None:
        """Raise ValueError if ``mask`` is not a mask of this pattern at ``sparsity``."""
        self._require_number(mask, sparsity)
        self._require_same(mask, dict(mask.items()), sparsity)

    def _require_number(self, mask: Mask, sparsity: float) -> None:
        expected = self.num_pruned(mask, sparsity)
        if mask.num_pruned != expected:
            raise ValueError(
                f"the mask prunes {mask.num_pruned} of {mask.num_weights} weights, expected "
                f"{expected} for sparsity {sparsity:g}: the mask's own sparsity is "
                f"{mask.sparsity!r}"
            )

    def _require_same(self, mask: Mask, kept: Mapping[str, Tensor], sparsity: float) -> None:
        """``kept``: tensors of the mask that the pattern can judge by themselves."""
        # With the mask as scores, the pattern prunes exactly its zeros, if the mask follows it.
        for name, follows in self(kept, _mask_as_scores, sparsity):
            keep = kept[name]
            if not torch.equal(keep, follows):
                found, expected = int((~keep).sum()), int((~follows).sum())
                raise ValueError(
                    f"the mask does not follow the pattern {self.name}: it prunes "
                    f"{found} of {keep.numel()} weights of {name}, expected {expected}"
                    + (" in other places" if found == expected else "")
                )


class Global(Pattern):
    """All weights compete with each other: ``round(sparsity * n)`` are pruned."""

    name = "global"

    def __call__(self, weights: Mapping[str, Tensor], criterion: Criterion, sparsity: float):
        return keep_all_but_lowest(weights, criterion, self.num_pruned(weights, sparsity))

    def num_pruned(self, weights: Mapping[str, Tensor], sparsity: float) -> int:
        return round(sparsity * _total(weights))

    def require_followed(self, mask: Mask, sparsity: float) -> None:
        self._require_number(mask, sparsity)


class Layerwise(Pattern):
    """Each tensor by itself: ``round(sparsity * n)`` of its n weights are pruned."""

    name = "layerwise"

    def __call__(self, weights: Mapping[str, Tensor], criterion: Criterion, sparsity: float):
        def keep(name: str) -> Tuple[str, Tensor]:
            weight = weights[name]
            num_pruned = round(sparsity * weight.numel())
            (kept,) = keep_all_but_lowest({name: weight}, criterion, num_pruned)
            return kept

        if not all(map(bits.on_cpu, weights.values())):  # one stream of a GPU gains nothing
            yield from map(keep, weights)
            return
        # NumPy uses one core for each tensor. A few results wait at a time, for they take memory.
        threads = torch.get_num_threads()
        with ThreadPoolExecutor(threads) as pool:
            pending: Deque[Future] = deque()
            for name in weights:
                pending.append(pool.submit(keep, name))
                if len(pending) > threads:
                    yield pending.popleft().result()
            yield from (one.result() for one in pending)

    def num_pruned(self, weights: Mapping[str, Tensor], sparsity: float) -> int:
        return sum(round(sparsity * size) for size in _sizes(weights))

    def require_followed(self, mask: Mask, sparsity: float) -> None:
        self._require_number(mask, sparsity)
        for name, keep in mask.items():
            self._require_same(mask, {name: keep}, sparsity)


class NOfM(Pattern):
    """N of every M consecutive weights along the input dimension (dim 1) are kept."""

    def __init__(self, n: int, m: int):
        self.n, self.m = n, m
        self.name = f"{n}:{m}"

    def __call__(self, weights: Mapping[str, Tensor], criterion: Criterion, sparsity: float):
        if sparsity == 0:
            return keep_all_but_lowest(weights, criterion, 0)
        self._require_fit(weights, sparsity)
        return ((name, self._keep(name, w, criterion)) for name, w in weights.items())

    def num_pruned(self, weights: Mapping[str, Tensor], sparsity: float) -> int:
        return _total(weights) * (self.m - self.n) // self.m if sparsity else 0

    def covers(self, name: str) -> bool:
        """Biases have no input dimension."""
        return not name.endswith("bias")

    def require_fit(self, weights: Mapping[str, Tensor], schedule: Schedule) -> None:
        if schedule.sparsity == 0:
            return
        if schedule.grows:
            raise ValueError(
                f"pattern {self.name} has the same sparsity from the start: expected no "
                f"initial_sparsity, found {schedule.initial_sparsity}"
            )
        self._require_fit(weights, schedule.sparsity)

    def require_followed(self, mask: Mask, sparsity: float) -> None:
        self._require_number(mask, sparsity)
        for name, keep in mask.items():
            self._require_same(mask, {name: keep}, sparsity)

    def _require_fit(self, weights: Mapping[str, Tensor], sparsity: float) -> None:
        share = (self.m - self.n) / self.m
        # The pattern alone decides how many weights it prunes: 0.667 is how people write 2/3.
        if not math.isclose(sparsity, share, abs_tol=5e-4):
            raise ValueError(
                f"pattern {self.name} prunes {self.m - self.n} of every {self.m} weights: "
                f"expected sparsity {share:.4g}, found {sparsity:g}"
            )
        for name, weight in weights.items():
            if weight.dim() < 2 or weight.size(1) % self.m:
                raise ValueError(
                    f"pattern {self.name} needs an input dimension that is a multiple of "
                    f"{self.m}: {name} has shape {tuple(weight.shape)}"
                )

    def _keep(self, name: str, weight: Tensor, criterion: Criterion) -> Tensor:
        scores = whole_scores(criterion, name, weight).movedim(1, -1)
        groups = scores.reshape(-1, self.m)
        lowest = groups.argsort(dim=1, stable=True)[:, : self.m - self.n]
        keep = torch.ones_like(groups, dtype=torch.bool).scatter_(1, lowest, False)
        return keep.view(scores.shape).movedim(-1, 1).contiguous()


class FfnChannels(Pattern):
    """Whole hidden channels of the feed-forward layers, the same number in layers of equal width.

    A channel is a row of the first linear layer, its bias, and a column of the second. Its score is
    the sum of the scores of these weights, with the criterion ``magnitude`` their L1 norm;
    ``round(sparsity * channels)`` are pruned in each layer. What is pruned can be taken out of the
    network, which is then smaller and faster.
    """

    name = "ffn_channels"
    _PAIRS = (("fc1", "fc2"), ("intermediate_dense", "output_dense"))

    def __call__(self, weights: Mapping[str, Tensor], criterion: Criterion, sparsity: float):
        for first, bias, second in self._layers(weights):
            scores = whole_scores(criterion, first, weights[first]).double().sum(1)
            # One copy, because a criterion may reuse its buffer.
            scores = scores + whole_scores(criterion, second, weights[second]).double().sum(0)
            if bias in weights:
                scores = scores + whole_scores(criterion, bias, weights[bias]).double()
            lowest = scores.argsort(stable=True)[: round(sparsity * len(scores))]
            keep = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
            keep[lowest] = False
            yield first, keep[:, None].expand(weights[first].shape).contiguous()
            if bias in weights:
                yield bias, keep
            yield second, keep.expand(weights[second].shape).contiguous()

    def num_pruned(self, weights: Mapping[str, Tensor], sparsity: float) -> int:
        return sum(
            round(sparsity * channels) * sum(weights[n].numel() for n in names) // channels
            for channels, names in (
                (weights[first].shape[0], [n for n in (first, bias, second) if n in weights])
                for first, bias, second in self._layers(weights)
            )
        )

    def covers(self, name: str) -> bool:
        *_, module, kind = ("", *name.split("."))[-2:]
        return any(
            module == first or (module == second and kind == "weight")
            for first, second in self._PAIRS
        )

    def require_fit(self, weights: Mapping[str, Tensor], schedule: Schedule) -> None:
        for _ in self._layers(weights):
            pass

    def _layers(self, weights: Mapping[str, Tensor]) -> Iterator[Tuple[str, str, str]]:
        """Names of the three tensors of each layer; that of the bias may not be in ``weights``."""
        found = set()
        for name, weight in weights.items():
            path, module, kind = ("." + name).rsplit(".", 2)
            second = dict(self._PAIRS).get(module)
            if second is None or kind != "weight":
                continue
            start = f"{path}."[1:]
            names = (name, f"{start}{module}.bias", f"{start}{second}.weight")
            other = weights.get(names[2])
            if other is None or other.dim() != 2 or other.shape[1] != weight.shape[0]:
                told = "is not pruned" if other is None else f"has shape {tuple(other.shape)}"
                raise ValueError(
                    f"pattern {self.name} prunes rows of {name}, of shape {tuple(weight.shape)}, "
                    f"with columns of {names[2]}: expected as many, but that {told}"
                )
            found.update(names)
            yield names
        alone = sorted(weights.keys() - found)
        if alone:
            raise ValueError(
                f"pattern {self.name} prunes both linear layers of a feed-forward layer together: "
                f"found {alone[0]} without the other; expected a scope that covers both"
            )


def parse_pattern(pattern: str) -> Pattern:
    """The pattern that ``global``, ``layerwise``, ``N:M`` or ``ffn_channels`` names.

    Raises:
        ValueError: anything else, or not 0 < N < M.
    """
    pattern = as_pattern(pattern)
    for known in (Global(), Layerwise(), FfnChannels()):
        if pattern == known.name:
            return known
    numbers = re.fullmatch(r"(\d+):(\d+)", pattern)
    if numbers and 0 < int(numbers[1]) < int(numbers[2]):
        return NOfM(int(numbers[1]), int(numbers[2]))
    raise ValueError(
        f"unknown pattern {pattern!r}: expected global, layerwise, ffn_channels or N:M "
        "with 0 < N < M"
    )


def _mask_as_scores(name: str, keep: Tensor) -> Iterator[Tensor]:
    return (piece.float() for piece in keep.reshape(-1).split(PIECE))


def _sizes(weights: Mapping[str, Tensor]):
    return (weight.numel() for weight in weights.values())


def _total(weights: Mapping[str, Tensor]) -> int:
    return sum(_sizes(weights))
