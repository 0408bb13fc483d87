"""How the masks of corpora overlap, and the tree that this makes of the corpora."""

from dataclasses import dataclass
from statistics import mean
from typing import Dict, List, Mapping, Optional, Tuple

from parp_fairseq.cli.counting.layers import ALL
from parp_fairseq.cli.counting.overlap import OverlapByLayer
from parp_fairseq.pruning import Mask

from .rates import Cell, Runs
from .runs import LanguageStudy


@dataclass(frozen=True)
class Overlaps:
    """Overlap above chance of the masks of every two corpora, the mean over the seeds.

    Attributes:
        cell: the trainings whose masks they are; without a corpus.
        corpora: those that have a mask of such a training.
        rows: layers, and ``all`` as the last.
        pairs: two numbers of corpora -> an overlap for each of ``rows``; None where a mask prunes
            nothing or all of a layer.
    """

    cell: Cell
    corpora: List[str]
    rows: List[str]
    pairs: Dict[Tuple[int, int], List[Optional[float]]]

    @property
    def matrix(self) -> List[List[Optional[float]]]:
        """Corpus by corpus, over all layers; a mask overlaps itself by 1."""
        everything = self.rows.index(ALL)
        numbers = range(len(self.corpora))
        return [
            [1.0 if a == b else self.pairs[min(a, b), max(a, b)][everything] for b in numbers]
            for a in numbers
        ]


def read_overlaps(study: LanguageStudy, cells: Mapping[Cell, Runs]) -> List[Overlaps]:
    """The overlaps of each method whose trainings have a mask for each corpus."""
    found: Dict[Cell, Dict[int, Dict[str, Mask]]] = {}
    for cell, runs in cells.items():
        if cell.kind not in ("alone", "each") or not cell.sparsity:
            continue
        shown = Cell(cell.kind, cell.method, cell.sparsity, cell.drawn)
        for seed, run in runs.items():
            masks = {corpus: Mask.load(path) for corpus, path in run.masks.items()}
            found.setdefault(shown, {}).setdefault(seed, {}).update(masks)
    overlaps = [_of_seeds(study, cell, by_seed) for cell, by_seed in found.items()]
    return [one for one in overlaps if one is not None]


def _of_seeds(
    study: LanguageStudy, cell: Cell, by_seed: Mapping[int, Mapping[str, Mask]]
) -> Optional[Overlaps]:
    corpora = [c for c in study.corpora if all(c in masks for masks in by_seed.values())]
    if len(corpora) < 2:
        return None
    by_layer = [OverlapByLayer([masks[c] for c in corpora]) for masks in by_seed.values()]
    rows = by_layer[0].rows
    pairs = {
        pair: [_mean([one.values[row][place] for one in by_layer]) for row in range(len(rows))]
        for place, pair in enumerate(by_layer[0].pairs)
    }
    return Overlaps(cell, corpora, rows, pairs)


def _mean(values: List[Optional[float]]) -> Optional[float]:
    return None if None in values else mean(values)


def linkage_of(overlaps: Overlaps):
    """Average linkage of the corpora by 1 - overlap, as scipy's ``linkage`` returns it.

    Returns:
        None without scipy, for fewer than three corpora, or where an overlap is not known.
    """
    try:
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import squareform
    except ModuleNotFoundError:
        return None
    matrix = overlaps.matrix
    if len(matrix) < 3 or any(value is None for row in matrix for value in row):
        return None
    distances = [[max(0.0, 1 - value) for value in row] for row in matrix]
    return linkage(squareform(distances), "average", optimal_ordering=True)


def newick(overlaps: Overlaps, merges) -> str:
    """The tree as text: ((es,fr):0.12,it):0.30; with the distance at which its parts join."""
    parts = list(overlaps.corpora)
    for a, b, distance, _ in merges:
        parts.append(f"({parts[int(a)]},{parts[int(b)]}):{distance:.3f}")
    return f"{parts[-1]};"
