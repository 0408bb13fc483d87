"""Criterion: how weights are ranked. The lowest scores are pruned first.

A criterion is called with the name of a weight and the weight, and yields its scores in pieces:
float32, not negative, in the order of the flattened weight. Each call yields the same scores, on
every machine. A piece is the caller's to write to, and gone with the next; pieces spare a ranking
the memory of a second copy of the weights, and stay in a core's cache while it looks at them.
"""

import zlib
from typing import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

Criterion = Callable[[str, Tensor], Iterator[Tensor]]

PIECE = 1 << 17  # scores on a CPU: 512 KB
GPU_PIECE = 1 << 22  # a GPU has little cache, and each call costs it time


def magnitude(name: str, weight: Tensor) -> Iterator[Tensor]:
    """|w|, the L1 criterion of ``torch.nn.utils.prune``; exact up to float32."""
    if weight.dtype == torch.float64:
        raise ValueError(f"{name} is float64: expected float32, float16 or bfloat16")
    flat = weight.detach().reshape(-1)
    on_cpu = flat.device.type == "cpu"
    if not on_cpu or flat.dtype != torch.float32:
        pieces = flat.split(PIECE if on_cpu else GPU_PIECE)
        yield from (piece.abs().float() for piece in pieces)
    else:  # into one buffer, by one thread: it stays in the cache of that core
        values, buffer = flat.numpy(), np.empty(min(PIECE, flat.numel()), np.float32)
        for start in range(0, len(values) or 1, PIECE):
            piece = values[start : start + PIECE]
            yield torch.from_numpy(np.abs(piece, out=buffer[: len(piece)]))


class RandomScores:
    """Uniform scores drawn from ``seed`` and the name of the weight, never from the weight."""

    def __init__(self, seed: int):
        self.seed = seed

    def __call__(self, name: str, weight: Tensor) -> Iterator[Tensor]:
        # On the CPU, for a GPU's generator gives other numbers. The CPU's takes 32 bits of seed.
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {name}".encode()))
        for piece in weight.detach().reshape(-1).split(PIECE):
            yield torch.rand(piece.numel(), generator=generator).to(weight.device)
