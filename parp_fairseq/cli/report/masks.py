"""How the final masks of a study agree, and where in the network they prune."""

from dataclasses import dataclass
from itertools import combinations
from statistics import mean
from typing import Dict, Iterator, List, Optional, Sequence

from tqdm import tqdm

from parp_fairseq.cli.counting.layers import ALL, SparsityByLayer
from parp_fairseq.pruning import Mask

from .runs import Study


@dataclass(frozen=True)
class MasksAtSparsity:
    """The final masks of all methods at one sparsity.

    Attributes:
        methods: those with a finished run.
        iou: of every two methods, the mean over the seeds that both have; on the diagonal, of every
            two seeds of the method. None where there is no such pair.
        parts: by method, sparsity of each transformer layer and of each projection, the mean over
            the seeds.
    """

    sparsity: float
    methods: List[str]
    iou: List[List[Optional[float]]]
    parts: Dict[str, Dict[str, float]]

    @property
    def comparable(self) -> bool:
        """Whether there are two masks at all."""
        return any(value is not None for row in self.iou for value in row)


def read_masks(study: Study) -> List[MasksAtSparsity]:
    """A look at the final masks, one sparsity after the other: all at once may be too many."""
    found = []
    for sparsity in tqdm(study.sparsities, "comparing masks", unit="sparsity", leave=False):
        runs = {c.method: runs for c, runs in study.cells.items() if c.sparsity == sparsity}
        masks = {
            method: {run.seed: Mask.load(run.mask_file) for run in of_method}
            for method, of_method in runs.items()
        }
        methods = list(masks)
        iou = [[_agreement(masks, a, b) for b in methods] for a in methods]
        parts = {method: _mean_parts(list(masks[method].values())) for method in methods}
        found.append(MasksAtSparsity(sparsity, methods, iou, parts))
    return found


def _agreement(masks: Dict[str, Dict[int, Mask]], a: str, b: str) -> Optional[float]:
    if a == b:
        pairs = list(combinations(masks[a].values(), 2))
    else:
        pairs = [(masks[a][seed], masks[b][seed]) for seed in masks[a].keys() & masks[b].keys()]
    return mean(one.iou(other) for one, other in pairs) if pairs else None


def _mean_parts(masks: Sequence[Mask]) -> Dict[str, float]:
    by_seed = [dict(_parts(SparsityByLayer(mask))) for mask in masks]
    return {part: mean(parts[part] for parts in by_seed) for part in by_seed[0]}


def _parts(sparsity: SparsityByLayer) -> Iterator[tuple]:
    everywhere = sparsity.columns.index(ALL)
    for row, values in zip(sparsity.rows, sparsity.values):
        if row != ALL:
            yield row, values[everywhere]
    for column, value in zip(sparsity.columns, sparsity.values[-1]):
        if column != ALL:
            yield column, value
