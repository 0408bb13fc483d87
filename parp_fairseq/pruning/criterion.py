"""Criterion: how weights are ranked. The lowest scores are pruned first.

A criterion is a callable ``criterion(name, weight)`` that returns one score for each element::

    @register_criterion("relative")
    def relative(name, weight):
        return weight.abs() / weight.abs().max()

A criterion that also needs gradients, inputs or the state of the optimizer is a class; see
:mod:`measuring`. :mod:`registry` makes criteria known by name.

``name`` is the name of the parameter. ``weight`` is the whole parameter, or the float32 copy that a
mixed-precision optimizer keeps of it; never a part of it, and never a changed copy.

The scores are a floating-point tensor in the shape of the weight, or flattened; or an iterator over
pieces of the flattened scores, which saves memory. They may have any sign and any floating-point
type, and are compared exactly: float64 scores are not rounded. They must be finite. A criterion is
called several times for one mask, and must return the same scores each time. Several threads may
call it, each for another parameter. A piece may be overwritten by the next one.

A criterion may have a method ``sample(name, weight, step)`` that returns about one of every
``step`` scores. The selection only uses it to estimate a threshold, so it changes how long a mask
takes and never the mask. Without it, all scores are computed once more.
"""

import zlib
from typing import Any, Callable, Iterator, Optional, Union

import numpy as np
import torch
from torch import Tensor

from . import bits

Criterion = Callable[[str, Tensor], Union[Tensor, Iterator[Tensor]]]

PIECE = 1 << 17  # scores on a CPU: 512 KB, which stay in the cache of a core
GPU_PIECE = 1 << 22  # a GPU has little cache, and each kernel launch takes time


class CriterionError(ValueError):
    """A criterion does not follow the contract; the message names it and the tensor."""


class Magnitude:
    """|w|, the L1 criterion of ``torch.nn.utils.prune``; exact for every floating-point type."""

    __name__ = "magnitude"

    def __call__(self, name: str, weight: Tensor) -> Iterator[Tensor]:
        flat = weight.detach().reshape(-1)
        if not bits.on_cpu(flat) or flat.dtype != torch.float32:
            yield from (widened(piece.abs()) for piece in flat.split(piece_size(flat)))
        else:  # into one buffer, by one thread: it stays in the cache of that core
            values, buffer = flat.numpy(), np.empty(min(PIECE, flat.numel()), np.float32)
            for start in range(0, len(values) or 1, PIECE):
                piece = values[start : start + PIECE]
                yield torch.from_numpy(np.abs(piece, out=buffer[: len(piece)]))

    def sample(self, name: str, weight: Tensor, step: int) -> Tensor:
        return widened(weight.detach().reshape(-1)[::step].abs())


magnitude = Magnitude()


class RandomScores:
    """Uniform scores, drawn from ``seed`` and the name of the weight, never from its values."""

    reprunes = False

    def __init__(self, seed: int):
        self.seed = seed

    def __call__(self, name: str, weight: Tensor) -> Iterator[Tensor]:
        # Drawn on the CPU, because a GPU's generator gives other numbers.
        generator = self._generator(name)
        for piece in weight.detach().reshape(-1).split(PIECE):
            yield torch.rand(piece.numel(), generator=generator).to(weight.device)

    def sample(self, name: str, weight: Tensor, step: int) -> Tensor:
        # The scores are independent, so the first ones represent all.
        return torch.rand(-(-weight.numel() // step), generator=self._generator(name))

    def _generator(self, name: str) -> torch.Generator:
        # The CPU's generator takes a seed of 32 bits.
        return torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {name}".encode()))


def scores_of(criterion: Criterion, name: str, weight: Tensor) -> Iterator[Tensor]:
    """The scores that ``criterion`` gives a weight, as flat pieces on the weight's device.

    A piece may be overwritten by the next one. Values are checked by whoever reads them.

    Raises:
        CriterionError: not tensors of floats, not the weight's shape, or not one score an element.
    """
    with torch.no_grad():
        given = criterion(name, weight)
        if isinstance(given, Tensor):
            if given.dim() > 1 and given.shape != weight.shape:
                raise broken(
                    criterion,
                    f"returned scores of shape {tuple(given.shape)} for {name}, "
                    f"expected {tuple(weight.shape)}",
                )
            given = iter([given])
        try:
            pieces = iter(given)
        except TypeError:
            raise broken(
                criterion,
                f"returned {type(given).__name__} for {name}, "
                "expected a tensor or an iterator over tensors",
            ) from None
    if weight.numel() == 0:
        yield torch.empty(0, device=weight.device)
    found, size = 0, piece_size(weight)
    while True:
        piece = _next(pieces)
        if piece is None:
            break
        if not _is_plain(piece, weight):
            piece = _checked(criterion, name, piece).to(weight.device)
        found += piece.numel()
        if found > weight.numel():
            break
        yield from piece.split(size) if piece.numel() > size else (piece,)
    if found != weight.numel():
        count = f"{found} or more" if found > weight.numel() else found
        raise broken(criterion, f"returned {count} scores for {name}, expected {weight.numel()}")


def whole_scores(criterion: Criterion, name: str, weight: Tensor) -> Tensor:
    """The scores that ``criterion`` gives a weight, as one tensor in its shape.

    Raises:
        CriterionError: see :func:`scores_of`; or scores that are infinite or not a number.
    """
    pieces = [piece.clone() for piece in scores_of(criterion, name, weight)]
    scores = torch.cat(pieces).view(weight.shape) if pieces else weight.new_zeros(weight.shape)
    if not scores.isfinite().all():
        raise not_finite(criterion, name, weight)
    return scores


def not_finite(criterion: Criterion, name: str, weight: Tensor) -> ValueError:
    """The error for scores that are infinite or not a number."""
    if not weight.isfinite().all():
        return ValueError(f"{name} holds values that are infinite or not a number")
    return broken(criterion, f"returned scores for {name} that are infinite or not a number")


def piece_size(tensor: Tensor) -> int:
    """How many scores to handle at a time on the device of ``tensor``."""
    return PIECE if bits.on_cpu(tensor) else GPU_PIECE


def _next(pieces: Iterator[Tensor]) -> Optional[Tensor]:
    if not torch.is_grad_enabled():
        return next(pieces, None)
    with torch.no_grad():  # not around the yield of a piece, where it would hold for the caller too
        return next(pieces, None)


def _is_plain(piece: Any, weight: Tensor) -> bool:
    """Whether a piece needs no conversion, which costs time where pieces are short."""
    return (
        isinstance(piece, Tensor)
        and piece.dtype in (torch.float32, torch.float64)
        and piece.dim() == 1
        and not piece.requires_grad
        and piece.device == weight.device
    )


def _checked(criterion: Criterion, name: str, piece: Any) -> Tensor:
    if not isinstance(piece, Tensor):
        raise broken(
            criterion, f"returned {type(piece).__name__} for {name}, expected tensors of scores"
        )
    if not piece.is_floating_point():
        raise broken(
            criterion, f"returned {piece.dtype} for {name}, expected floating-point scores"
        )
    return widened(piece.detach().reshape(-1))


def widened(scores: Tensor) -> Tensor:
    """As float32, or float64 where they are: every shorter type fits exactly."""
    return scores if scores.dtype == torch.float64 else scores.float()


def broken(criterion: Criterion, what: str) -> CriterionError:
    """The error for a criterion that does not follow the contract."""
    return CriterionError(f"criterion {name_of(criterion)} {what}")


def name_of(thing: Any) -> str:
    """The registered name of a criterion or a rule; without one, that of its function or class."""
    own = getattr(thing, "__name__", type(thing).__name__)
    return getattr(thing, "registered_as", own)
