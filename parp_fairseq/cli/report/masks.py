"""How the final masks of a study agree, and where in the network they prune."""

from dataclasses import dataclass
from itertools import combinations
from statistics import mean
from typing import Dict, Iterator, List, Optional, Tuple

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
        pairs: method -> (seed, other seed) -> their IoU.
        parts: method -> part of the network -> its sparsity for each seed. Parts are transformer
            layers, projections, and ``other``.
    """

    sparsity: float
    methods: List[str]
    iou: List[List[Optional[float]]]
    pairs: Dict[str, Dict[Tuple[int, int], float]]
    parts: Dict[str, Dict[str, List[float]]]

    @property
    def comparable(self) -> bool:
        """Whether there are two masks to compare."""
        return any(value is not None for row in self.iou for value in row)


def read_masks(study: Study) -> List[MasksAtSparsity]:
    """Compare the final masks, one sparsity after the other to save memory."""
    found = []
    for sparsity in tqdm(study.sparsities, "comparing masks", unit="sparsity", leave=False):
        runs = {c.method: runs for c, runs in study.cells.items() if c.sparsity == sparsity}
        masks = {
            method: {run.seed: Mask.load(run.mask_file) for run in of_method}
            for method, of_method in runs.items()
        }
        pairs = {
            method: {(a, b): of_seed[a].iou(of_seed[b]) for a, b in combinations(of_seed, 2)}
            for method, of_seed in masks.items()
        }
        methods = list(masks)
        iou = [
            [_mean(pairs[a].values() if a == b else _ious(masks[a], masks[b])) for b in methods]
            for a in methods
        ]
        parts = {method: _parts_of(list(masks[method].values())) for method in methods}
        found.append(MasksAtSparsity(sparsity, methods, iou, pairs, parts))
    return found


def _ious(a: Dict[int, Mask], b: Dict[int, Mask]) -> List[float]:
    return [a[seed].iou(b[seed]) for seed in a.keys() & b.keys()]


def _mean(values) -> Optional[float]:
    return mean(values) if values else None


def _parts_of(masks: List[Mask]) -> Dict[str, List[float]]:
    by_seed = [dict(_parts(SparsityByLayer(mask))) for mask in masks]
    return {part: [parts[part] for parts in by_seed] for part in by_seed[0]}


def _parts(sparsity: SparsityByLayer) -> Iterator[tuple]:
    everywhere = sparsity.columns.index(ALL)
    for row, values in zip(sparsity.rows, sparsity.values):
        if row != ALL:
            yield row, values[everywhere]
    for column, value in zip(sparsity.columns, sparsity.values[-1]):
        if column != ALL:
            yield column, value
