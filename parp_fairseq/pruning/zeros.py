"""Zeros: networks that are sparse already."""

from typing import Mapping, Optional

import torch
from torch import Tensor

_MANY = 1 << 20  # weights; of more, a sample tells first whether zeros are worth counting
_SAMPLED = 257  # the sample has every 257th weight; a prime, so that it visits all columns


def sparse_already(weights: Mapping[str, Tensor], num_pruned: int) -> Optional[str]:
    """A warning, where more weights are zero than ``num_pruned``, the number to prune; else None.

    Which of the zeros are pruned then goes by position: the first layers lose all of theirs and
    the last layers none.
    """
    total = sum(weight.numel() for weight in weights.values())
    if not 0 < num_pruned < total:
        return None
    if total > _MANY:
        sample = [w.detach().reshape(-1)[::_SAMPLED] for w in weights.values()]
        share = sum(map(_zeros, sample)) / sum(map(len, sample))
        if share < num_pruned / total / 2:
            return None
    zeros = sum(map(_zeros, weights.values()))
    if zeros <= num_pruned:
        return None
    return (
        f"{zeros:,} of {total:,} weights ({zeros / total:.1%}) are zero already, and "
        f"{num_pruned:,} ({num_pruned / total:.1%}) are to be pruned: which of the zeros goes by "
        "their position, so the first layers lose most; Mask.of_zeros (`parp mask --as-is`) makes "
        "the mask of exactly the zeros"
    )


def _zeros(weight: Tensor) -> int:
    return weight.numel() - int(torch.count_nonzero(weight.detach()))
