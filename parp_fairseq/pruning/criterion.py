"""Criterion: how weights are ranked. The lowest scores are pruned first.

A criterion is called with the name of a weight and the weight, and yields its scores in pieces:
float32, not negative, in the order of the flattened weight. Each call yields the same scores, on
every machine. Pieces are the caller's to write to; they spare a ranking the memory of a second copy
of the weights, and stay in a processor's cache while it looks at them.
"""

import zlib
from typing import Callable, Iterator

import torch
from torch import Tensor

Criterion = Callable[[str, Tensor], Iterator[Tensor]]

PIECE = 1 << 18


def magnitude(name: str, weight: Tensor) -> Iterator[Tensor]:
    """|w|, the L1 criterion of ``torch.nn.utils.prune``; exact up to float32."""
    if weight.dtype == torch.float64:
        raise ValueError(f"{name} is float64: expected float32, float16 or bfloat16")
    for piece in weight.detach().reshape(-1).split(PIECE):
        yield piece.abs().float()


class RandomScores:
    """Uniform scores drawn from ``seed`` and the name of the weight, never from the weight."""

    def __init__(self, seed: int):
        self.seed = seed

    def __call__(self, name: str, weight: Tensor) -> Iterator[Tensor]:
        # On the CPU, for a GPU's generator gives other numbers. The CPU's takes 32 bits of seed.
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {name}".encode()))
        for piece in weight.detach().reshape(-1).split(PIECE):
            yield torch.rand(piece.numel(), generator=generator).to(weight.device)
