"""Heat maps with the numbers in them: the pictures of ``--plot``."""

import math
from pathlib import Path
from typing import List, Optional, Sequence

from parp_fairseq.cli.counting.layers import SparsityByLayer
from parp_fairseq.cli.files.writable import require_writable
from parp_fairseq.cli.parsing.options import PICTURES
from parp_fairseq.pruning.replacing import replacing

_COLORMAP = "YlGnBu"  # the same order to any colour vision, and in grey


def require_drawable(path: Path) -> None:
    """Tell before the work what would fail after it."""
    require_matplotlib("--plot")
    require_writable("--plot", path, PICTURES)


def require_matplotlib(wanted_by: str) -> None:
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError:
        raise ValueError(
            f"{wanted_by} needs matplotlib, which is not installed: "
            "pip install 'parp_fairseq[plot]'"
        ) from None


def draw_sparsity(path: Path, sparsity: SparsityByLayer, name: str) -> None:
    """Layer by projection; the sums over both stand apart, behind a line."""
    figure, axes = _heat_map(
        sparsity.values, sparsity.rows, sparsity.columns, "share of weights pruned", "{:.1%}", 0.34
    )
    axes.set(title=f"Sparsity of {name}", xlabel="projection", ylabel="transformer layer")
    axes.axhline(len(sparsity.rows) - 1.5, color="white", linewidth=4)
    axes.axvline(len(sparsity.columns) - 1.5, color="white", linewidth=4)
    save(figure, path)


def draw_iou(
    path: Path,
    matrix: List[List[Optional[float]]],
    labels: Sequence[str],
    title: str = "Agreement of the masks",
) -> None:
    """Mask by mask."""
    figure, axes = _heat_map(matrix, labels, labels, "IoU of kept weights", "{:.3f}", 0.5)
    axes.set(title=title, xlabel="mask", ylabel="mask")
    axes.set_xticks(axes.get_xticks(), labels, rotation=30, ha="right", rotation_mode="anchor")
    save(figure, path)


def _heat_map(
    values: List[List[Optional[float]]],
    rows: Sequence[str],
    columns: Sequence[str],
    meaning: str,
    number: str,
    cell_height: float,
):
    """A figure and its axes; ``cell_height`` is in inches."""
    from matplotlib.figure import Figure

    grid = [[math.nan if value is None else value for value in row] for row in values]
    known = [value for row in grid for value in row if not math.isnan(value)]
    low = min(math.floor(10 * min(known)) / 10, 0.9)
    high = max(math.ceil(10 * max(known)) / 10, low + 0.1)

    # The axes fill the figure; labels of any length lie outside, and saving makes room for them.
    width, height = max(2.5, 0.72 * len(columns)), max(1.8, cell_height * len(rows))
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    scale = figure.add_axes((1 + 0.2 / width, 0, 0.18 / width, 1))
    image = axes.imshow(grid, cmap=_COLORMAP, vmin=low, vmax=high, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            if value is not None:
                red, green, blue, _ = image.cmap(image.norm(value))
                dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
                color = "white" if dark else "black"
                axes.text(j, i, number.format(value), ha="center", va="center", color=color)
    figure.colorbar(image, scale, label=meaning, format="{x:.0%}" if "%" in number else None)
    return figure, axes


def save(figure, path: Path) -> None:
    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=150, bbox_inches="tight")
