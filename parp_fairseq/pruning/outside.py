"""Outside: the values that a mask prunes, taken out of weights and put back, bit for bit."""

from typing import Dict, Iterator, Mapping, Tuple

import numpy as np
import torch
from torch import Tensor

from . import bits
from .mask import INTEGERS, Mask

_PIECE = 1 << 16  # weights whose positions stay in the cache of a core


def take(mask: Mask, weights: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    """Name -> the values that ``mask`` prunes, in the order of the flattened weight."""
    return {name: take_one(mask, name, weight) for name, weight in weights.items()}


def take_one(mask: Mask, name: str, weight: Tensor) -> Tensor:
    """The values of one weight that ``mask`` prunes, on the weight's device."""
    if _is_plain(weight):
        return _take(weight.data, mask.packed(name))
    return weight.data[~mask[name].to(weight.device)]


def put_back(mask: Mask, weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Undo pruning: write back what :func:`take` returned, in place."""
    for name, taken in values.items():
        weight = weights[name].data
        if _is_plain(weight):
            _put(weight, mask.packed(name), taken.to(weight))
        else:
            weight[~mask[name].to(weight.device)] = taken.to(weight)


def _is_plain(weight: Tensor) -> bool:
    return bits.on_cpu(weight) and weight.is_contiguous()


def _take(weight: Tensor, kept: Tensor) -> Tensor:
    values = torch.empty(weight.numel() - bits.popcount(kept), dtype=weight.dtype)
    target = _numbers(values)
    for piece, positions, place in _pieces(weight, kept):
        np.take(piece, positions, out=target[place], mode="clip")  # "raise" would copy once more
    return values


def _put(weight: Tensor, kept: Tensor, values: Tensor) -> None:
    source = _numbers(values)
    for piece, positions, place in _pieces(weight, kept):
        piece[positions] = source[place]


def _numbers(tensor: Tensor) -> np.ndarray:
    """The tensor's memory as integers, because NumPy has no bfloat16."""
    return tensor.view(-1).view(INTEGERS[tensor.element_size()]).numpy()


def _pieces(weight: Tensor, kept: Tensor) -> Iterator[Tuple[np.ndarray, np.ndarray, slice]]:
    """A piece of the weight, the positions pruned in it, and the place of their values among all.

    Positions take a third of the time of a boolean index where about half is pruned. Pieces keep
    the memory for them small.
    """
    numbers, packed, done = _numbers(weight), kept.cpu(), 0
    for start in range(0, len(numbers), _PIECE):
        piece = numbers[start : start + _PIECE]
        flags = bits.unpack(packed[start // 8 : (start + _PIECE) // 8], torch.Size([len(piece)]))
        positions = np.flatnonzero(~flags.numpy())
        yield piece, positions, slice(done, done + len(positions))
        done += len(positions)
