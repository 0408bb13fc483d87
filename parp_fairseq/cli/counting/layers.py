"""How sparse each projection of each transformer layer is."""

import re
from collections import Counter
from typing import List, Optional

from parp_fairseq.pruning import Mask

PROJECTIONS = ("k_proj", "v_proj", "q_proj", "out_proj", "fc1", "fc2")
ALL, OTHER = "all", "other"
_OF_LAYER = re.compile(
    r"encoder\.(?:sentence_encoder\.)?layers\.(\d+)\."  # the second in RoBERTa
    rf"(?:self_attn\.)?({'|'.join(PROJECTIONS)})\.(?:weight|bias)"
)


class SparsityByLayer:
    """Sparsity of each projection of each transformer layer.

    Attributes:
        rows: layers as text, ``other`` for what is no projection of a layer, and ``all``.
        columns: projections, and ``all``.
        values: a row of shares 0 to 1 for each of ``rows``; None where there are no weights.
    """

    def __init__(self, mask: Mask):
        total, pruned = Counter(), Counter()
        for name, keep in mask.items():
            found = _OF_LAYER.fullmatch(name)
            row, column = found.groups() if found else (OTHER, OTHER)
            zeros = keep.numel() - int(keep.count_nonzero())
            for cell in ((row, column), (row, ALL), (ALL, column), (ALL, ALL)):
                total[cell] += keep.numel()
                pruned[cell] += zeros
        layers = {row for row, _ in total if row not in (ALL, OTHER)}
        self.rows = sorted(layers, key=int) + [OTHER] * ((OTHER, ALL) in total) + [ALL]
        self.columns = [column for column in PROJECTIONS if (ALL, column) in total] + [ALL]
        self.values: List[List[Optional[float]]] = [
            [
                pruned[row, col] / total[row, col] if total[row, col] else None
                for col in self.columns
            ]
            for row in self.rows
        ]


def layer_of(name: str) -> str:
    """The transformer layer of a parameter, as text; ``other`` for what is in none."""
    found = _OF_LAYER.fullmatch(name)
    return found[1] if found else OTHER
