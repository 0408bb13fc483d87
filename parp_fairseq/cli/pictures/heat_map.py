"""Heat maps with the numbers in them."""

import math
import textwrap
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from parp_fairseq.cli.counting.layers import SparsityByLayer
from parp_fairseq.cli.counting.overlap import OverlapByLayer
from parp_fairseq.cli.files.writable import require_writable
from parp_fairseq.cli.parsing.options import PICTURES

from .style import picture, require_matplotlib

_COLORMAP = "YlGnBu"  # keeps its order for any colour vision, and in grey


def require_drawable(path: Path) -> None:
    """Raise ValueError, before the work begins, if the picture cannot be drawn or written."""
    require_matplotlib("--plot")
    require_writable("--plot", path, PICTURES)


def draw_sparsity(path: Path, sparsity: SparsityByLayer, name: str) -> None:
    """Layer by projection; the totals are separated by a line."""
    title = f"Sparsity of {name}"
    with _heat_map(
        path, sparsity.values, sparsity.rows, sparsity.columns, "share of weights pruned", title
    ) as axes:
        axes.set(xlabel="projection", ylabel="transformer layer")
        axes.axhline(len(sparsity.rows) - 1.5, color="white", linewidth=3)
        axes.axvline(len(sparsity.columns) - 1.5, color="white", linewidth=3)


def draw_iou(
    path: Path,
    matrix: List[List[Optional[float]]],
    labels: Sequence[str],
    title: str = "Agreement of the masks",
) -> None:
    """Mask by mask. A cell without a value shows a dash."""
    draw_matrix(path, matrix, labels, labels, ("mask", "mask"), "IoU of kept weights", title)


def draw_matrix(
    path: Path,
    values: List[List[Optional[float]]],
    rows: Sequence[str],
    columns: Sequence[str],
    axes_are: Sequence[str],
    meaning: str,
    title: str,
    number: str = "{:.2f}",
    span: Optional[Tuple[float, float]] = None,
) -> None:
    """Any matrix. A cell without a value shows a dash.

    Args:
        axes_are: what the columns and the rows are.
        meaning: of the values.
        number: their format.
        span: lowest and highest value of the colours; None suits shares.
    """
    with _heat_map(path, values, rows, columns, meaning, title, number, span) as axes:
        axes.set(xlabel=axes_are[0], ylabel=axes_are[1])
        axes.set_xticks(axes.get_xticks(), columns, rotation=30, ha="right", rotation_mode="anchor")


def draw_error_rates(
    path: Path,
    rates: List[List[float]],
    lm_weights: Sequence[str],
    word_scores: Sequence[str],
    title: str,
) -> None:
    """Error rates, as shares, by weight of the language model and word score."""
    with _heat_map(path, rates, lm_weights, word_scores, "error rate", title) as axes:
        axes.set(xlabel="word score", ylabel="weight of the language model")


def draw_overlap(path: Path, overlap: OverlapByLayer, labels: Sequence[str]) -> None:
    """Layer by pair of masks; the total is separated by a line."""
    pairs = [f"{labels[a]} and {labels[b]}" for a, b in overlap.pairs]
    meaning, title = "overlap above chance", "Overlap of the pruned weights"
    with _heat_map(path, overlap.values, overlap.rows, pairs, meaning, title, "{:.2f}") as axes:
        axes.set(ylabel="transformer layer")
        axes.set_xticks(axes.get_xticks(), pairs, rotation=30, ha="right", rotation_mode="anchor")
        axes.axhline(len(overlap.rows) - 1.5, color="white", linewidth=3)


class _heat_map:
    """Context of a heat map: gives its axes, and saves it at the end."""

    def __init__(
        self,
        path: Path,
        values: List[List[Optional[float]]],
        rows: Sequence[str],
        columns: Sequence[str],
        meaning: str,
        title: str,
        number: str = "{:.1%}",
        span: Optional[Tuple[float, float]] = None,
    ):
        self.span = span
        self.values, self.rows, self.columns = values, rows, columns
        self.meaning, self.title, self.number = meaning, title, number
        # The axes fill the figure. Labels of any length lie outside; saving makes room for them.
        self.width, self.height = max(1.6, 0.42 * len(columns)), max(1.1, 0.24 * len(rows))
        self.picture = picture(path, self.width, self.height, layout="none")

    def __enter__(self):
        grid = [[math.nan if value is None else value for value in row] for row in self.values]
        known = [value for row in grid for value in row if not math.isnan(value)]
        low = min(math.floor(10 * min(known)) / 10, 0.9)
        high = max(math.ceil(10 * max(known)) / 10, low + 0.1)
        low, high = self.span or (low, high)
        figure = self.picture.__enter__()
        axes = figure.add_axes((0, 0, 1, 1))
        scale = figure.add_axes((1 + 0.12 / self.width, 0, 0.1 / self.width, 1))
        image = axes.imshow(grid, cmap=_COLORMAP, vmin=low, vmax=high, aspect="auto")
        axes.set_xticks(range(len(self.columns)), self.columns)
        axes.set_yticks(range(len(self.rows)), self.rows)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        characters = int(16 * (self.width + 0.6))
        axes.set_title("\n".join(textwrap.wrap(self.title, characters)), loc="left")
        for i, row in enumerate(grid):
            for j, value in enumerate(row):
                text, color = "-", "black"
                if not math.isnan(value):
                    red, green, blue, _ = image.cmap(image.norm(value))
                    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
                    text, color = self.number.format(value), "white" if dark else "black"
                axes.text(j, i, text, ha="center", va="center", color=color, fontsize=6.5)
        format = "{x:.0%}" if "%" in self.number else None
        figure.colorbar(image, scale, label=self.meaning, format=format)
        return axes

    def __exit__(self, *error):
        return self.picture.__exit__(*error)
