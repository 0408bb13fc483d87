"""Outside: the values that a mask prunes, taken out of a network and put back, bit for bit."""

from typing import Dict, Iterator, Mapping, Tuple

import numpy as np
import torch
from torch import Tensor

from .mask import INTEGERS, Mask

_PIECE = 1 << 16  # weights whose positions stay in a core's cache


def take(mask: Mask, weights: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    """Name -> the values that ``mask`` prunes, one after another."""
    return {name: _take(weight.data, ~mask[name]) for name, weight in weights.items()}


def put_back(mask: Mask, weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Undo pruning: write back what :func:`take` gave, in place."""
    for name, taken in values.items():
        _put(weights[name].data, ~mask[name], taken)


def _take(weight: Tensor, pruned: Tensor) -> Tensor:
    if not _is_plain(weight):
        return weight[pruned.to(weight.device)]
    values = torch.empty(np.count_nonzero(pruned.numpy()), dtype=weight.dtype)
    target = _numbers(values)
    for piece, positions, place in _pieces(weight, pruned):
        np.take(piece, positions, out=target[place], mode="clip")  # "raise" would copy once more
    return values


def _put(weight: Tensor, pruned: Tensor, values: Tensor) -> None:
    if not _is_plain(weight):
        weight[pruned.to(weight.device)] = values.to(weight)
        return
    source = _numbers(values.to(weight))
    for piece, positions, place in _pieces(weight, pruned):
        piece[positions] = source[place]


def _is_plain(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.is_contiguous()


def _numbers(tensor: Tensor) -> np.ndarray:
    """The tensor's memory as integers, for NumPy knows no bfloat16."""
    return tensor.view(-1).view(INTEGERS[tensor.element_size()]).numpy()


def _pieces(weight: Tensor, pruned: Tensor) -> Iterator[Tuple[np.ndarray, np.ndarray, slice]]:
    """A piece of the weight, the positions pruned in it, and where their values stand in all.

    By positions it takes a third of the time of a boolean index where about half is pruned.
    """
    numbers, flags, done = _numbers(weight), pruned.view(-1).numpy(), 0
    for start in range(0, len(numbers), _PIECE):
        positions = np.flatnonzero(flags[start : start + _PIECE])
        yield numbers[start : start + _PIECE], positions, slice(done, done + len(positions))
        done += len(positions)
