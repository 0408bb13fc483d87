"""The re-prune rules that come with the package: ``parp`` and ``rigl``."""

import math

import torch
from torch import Tensor

from .criterion import magnitude
from .mask import Mask
from .measuring import Measurement
from .registry import register_rule
from .rule import Parp, Reprune, Rule

register_rule("parp")(Parp)


@register_rule("rigl")
class Rigl(Rule):
    """Drop the smallest of the kept weights; regrow, from zero, where |gradient| is largest.

    The share of the kept weights that is dropped falls from 0.3 along a cosine, and is zero in the
    last quarter of the run. Between two masks pruned weights stay zero. U. Evci et al., *Rigging
    the Lottery: Making All Tickets Winners*, ICML 2020; both numbers are its defaults.
    """

    asks = ("gradient", "progress")
    every_update = False
    trains_pruned = False
    SHARE, END = 0.3, 0.75

    def measure(self, name: str, seen: Measurement) -> None:
        self.measured[name] = seen.gradient.abs()

    def __call__(self, now: Reprune) -> Mask:
        moving = min(now.progress / self.END, 1)
        share = self.SHARE / 2 * (1 + math.cos(math.pi * moving))
        # Pruned weights are zero, the smallest of all.
        stay = now.select(magnitude, 1 - (1 - now.sparsity) * (1 - share))

        def scores(name: str, weight: Tensor) -> Tensor:
            # A layer that took no part in the update (layer drop) has no gradient: what it dropped
            # comes first again, so its mask stays.
            grows = self.measured.get(name, weight.abs())
            return grows.masked_fill(stay[name], torch.finfo(grows.dtype).max)

        mask = now.select(scores)
        self.measured.clear()
        return mask
