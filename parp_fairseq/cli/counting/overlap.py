"""How far masks prune the same weights, layer by layer, beyond what chance would do.

Two random masks that keep 90 % of the weights have 90 % of what they keep in common, so the overlap
of the pruned weights is compared with that of random masks of the same sparsity in every tensor.
"""

from collections import Counter
from itertools import combinations
from typing import List, Optional, Sequence

from parp_fairseq.pruning import Mask

from .layers import ALL, OTHER, layer_of


class OverlapByLayer:
    """Overlap of the pruned weights of every pair of masks above chance.

    0: as much as random masks have in common. 1: one of the two prunes all that the other prunes.
    Below 0: less than random masks.

    Attributes:
        rows: layers as text, ``other`` for what is in no transformer layer, and ``all``.
        pairs: indices of the two masks of each column.
        values: a row of overlaps for each of ``rows``; None where a mask prunes nothing or all.
    """

    def __init__(self, masks: Sequence[Mask]):
        self.pairs = list(combinations(range(len(masks)), 2))
        layers = {layer_of(name) for name in masks[0]}
        numbered = sorted((layer for layer in layers if layer != OTHER), key=int)
        self.rows = numbered + [OTHER] * (OTHER in layers) + [ALL]
        by_pair = [_overlaps(masks[a], masks[b]) for a, b in self.pairs]
        self.values: List[List[Optional[float]]] = [
            [of_pair.get(row) for of_pair in by_pair] for row in self.rows
        ]


def _overlaps(a: Mask, b: Mask):
    """Row -> overlap above chance, 0 to 1 between chance and the most that is possible."""
    found, chance, most = Counter(), Counter(), Counter()
    for name in a:
        pruned = [~mask[name] for mask in (a, b)]
        first, second = (int(one.count_nonzero()) for one in pruned)
        for row in (layer_of(name), ALL):
            found[row] += int((pruned[0] & pruned[1]).count_nonzero())
            chance[row] += first * second / max(1, pruned[0].numel())
            most[row] += min(first, second)
    return {
        row: (found[row] - chance[row]) / (most[row] - chance[row])
        for row in most
        if most[row] - chance[row] > 1e-9
    }
