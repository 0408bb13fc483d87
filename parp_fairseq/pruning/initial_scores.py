"""Initial scores: where the scores of a learned mask start (S3-Router).

Initial scores are a callable ``scores(name, weight)`` that returns one float32 score for each
element of the weight, in its shape. The weights with the highest |score| are kept.
"""

import math
import zlib
from typing import Callable

import numpy as np
import torch
from torch import Tensor

InitialScores = Callable[[str, Tensor], Tensor]


class DrawnScores:
    """Scores drawn from U(-b, b), b = 1 / sqrt(fan_in), as Kaiming initialization draws weights.

    They depend on ``seed``, the name and the shape alone, so all ranks draw the same. The fan-in of
    a vector is its length.

    Args:
        seed: of the draws.
        ranked: deal the draws so that |score| has the order of |weight|; of equal weights the later
            one gets the higher score. The signs stay random. False: deal them at random.
    """

    def __init__(self, seed: int, ranked: bool):
        self.seed, self.ranked = seed, ranked

    def __call__(self, name: str, weight: Tensor) -> Tensor:
        # Drawn on the CPU, because a GPU's generator gives other numbers.
        generator = torch.Generator().manual_seed(zlib.crc32(f"scores {self.seed} {name}".encode()))
        fan_in = weight.shape[1:].numel() if weight.dim() > 1 else weight.numel()
        bound = 1 / math.sqrt(max(1, fan_in))
        draws = torch.empty(weight.numel()).uniform_(-bound, bound, generator=generator)
        if self.ranked:
            sizes = torch.empty_like(draws)
            sizes[_order(weight)] = torch.from_numpy(np.sort(draws.abs().numpy()))
            draws = torch.copysign(sizes, draws)
        return draws.view(weight.shape).to(weight.device)


def _order(weight: Tensor) -> Tensor:
    """A stable argsort of |weight|: floats have the order of their bits, and positions follow."""
    bits = weight.detach().abs().flatten().cpu().float().numpy().view(np.int32)
    keys = (bits.astype(np.int64) << 32) | np.arange(len(bits))
    keys.sort()  # a tenth of the time of torch's stable argsort
    return torch.from_numpy(keys & 0xFFFFFFFF)


def magnitude_scores(name: str, weight: Tensor) -> Tensor:
    """The weight itself. A weight of exactly zero gets a score that never changes."""
    return weight.detach().float().clone()


def initial_scores(kind: str, seed: int) -> InitialScores:
    """The initial scores that ``rank``, ``magnitude`` or ``random`` names.

    Raises:
        ValueError: anything else.
    """
    if kind == "magnitude":
        return magnitude_scores
    if kind in ("rank", "random"):
        return DrawnScores(seed, ranked=kind == "rank")
    raise ValueError(f"unknown initial scores {kind!r}: expected rank, magnitude or random")
