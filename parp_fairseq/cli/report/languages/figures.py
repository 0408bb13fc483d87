"""The pictures of a study over several corpora."""

import math
from pathlib import Path
from statistics import mean
from typing import List, Optional, Sequence, Tuple

from parp_fairseq.cli.pictures.heat_map import draw_matrix
from parp_fairseq.cli.pictures.style import picture

from .masks import Overlaps
from .rates import Rate

_TURNED = ("finetuned on", "mask from")


def draw_rates(
    path: Path, corpora: Sequence[str], rates: List[List[Rate]], error: str, of: str
) -> None:
    """Error rates, corpus by corpus; ``of`` names the masks."""
    values = [[rate.mean for rate in row] for row in rates]
    title = f"{error} with the mask of one corpus, finetuned on another: {of}"
    span = _span(values)
    draw_matrix(path, values, corpora, corpora, _TURNED, f"{error}, %", title, "{:.1f}", span)


def draw_differences(
    path: Path, corpora: Sequence[str], rates: List[List[Rate]], error: str, of: str
) -> None:
    """Differences to the mask of the corpus itself; ``of`` names the masks."""
    values = [
        [
            0.0 if a == b and rate.values else mean(rate.differences) if rate.differences else None
            for b, rate in enumerate(row)
        ]
        for a, row in enumerate(rates)
    ]
    title = f"Difference in {error} to the mask of the corpus itself, below 0 is better: {of}"
    span = _span(values)
    draw_matrix(path, values, corpora, corpora, _TURNED, "points", title, "{:+.1f}", span)


def _span(values: List[List[Optional[float]]]) -> Tuple[float, float]:
    """The whole numbers around all values."""
    known = [value for row in values for value in row if value is not None] or [0.0]
    low = math.floor(min(known))
    return low, max(math.ceil(max(known)), low + 1)


def draw_overlap(path: Path, overlaps: Overlaps) -> None:
    """Overlap over all layers, corpus by corpus."""
    names, title = overlaps.corpora, f"Overlap of the pruned weights: {overlaps.cell.title}"
    draw_matrix(path, overlaps.matrix, names, names, ("mask", "mask"), "above chance", title)


def draw_layers(path: Path, overlaps: Overlaps) -> None:
    """Overlap by layer, for every two corpora."""
    names = [f"{overlaps.corpora[a]}, {overlaps.corpora[b]}" for a, b in overlaps.pairs]
    values = [list(row) for row in zip(*overlaps.pairs.values())]
    title = f"Overlap of the pruned weights: {overlaps.cell.title}"
    axes_are = ("masks", "transformer layer")
    draw_matrix(path, values, overlaps.rows, names, axes_are, "above chance", title)


def draw_tree(path: Path, overlaps: Overlaps, merges) -> None:
    """A tree of the corpora."""
    from scipy.cluster.hierarchy import dendrogram

    with picture(path, height=0.7 + 0.22 * len(overlaps.corpora)) as figure:
        axes = figure.subplots()
        dendrogram(
            merges,
            labels=overlaps.corpora,
            orientation="left",
            ax=axes,
            color_threshold=0,
            above_threshold_color="black",
            leaf_font_size=7,
        )
        for lines in axes.collections:
            lines.set_linewidth(1.0)
        axes.spines[["top", "left", "right"]].set_visible(False)
        axes.set_xlabel("1 - overlap of the pruned weights above chance, mean between the parts")
        axes.set_title(f"Corpora by their masks: {overlaps.cell.title}", loc="left")
