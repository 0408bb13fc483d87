"""The picture of check.py: lengths of utterances, and frequencies of symbols."""

import warnings
from collections import Counter
from collections.abc import Sequence
from math import nan
from pathlib import Path

from audio.files import RATE
from manifest.reading import Split
from manifest.writing import replacing
from numpy import histogram_bin_edges

SUFFIXES = (".png", ".pdf", ".svg")
NAMED = 80  # symbols whose names fit under the axis
MARKERS = "os^Dv"
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")  # Okabe and Ito


def require_drawable(path: Path) -> None:
    """Checks before any work whether the picture can be drawn.

    Raises:
        ValueError: matplotlib is not installed, or the suffix or the folder of the file is bad.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError:
        raise ValueError("--plot: needs matplotlib; pip install 'parp_fairseq[plot]'") from None
    if path.suffix not in SUFFIXES:
        raise ValueError(f"--plot: {path}, expected a name that ends in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"--plot: {path}, expected a file in a folder that exists")


def draw(path: Path, splits: Sequence[Split], kinds: Sequence[str]) -> None:
    """Draws a panel of lengths, and a panel of symbols for each kind of labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6 * (1 + len(kinds))), layout="constrained")
    panels = figure.subplots(1 + len(kinds), 1, squeeze=False)[:, 0]
    _draw_lengths(panels[0], splits)
    for axes, suffix in zip(panels[1:], kinds):
        _draw_symbols(axes, [split for split in splits if suffix in split.labels], suffix)
    with replacing(path) as temporary, warnings.catch_warnings():
        # Symbols of a script that no installed font has become boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)


def _draw_lengths(axes, splits: Sequence[Split]) -> None:
    seconds = [[entry.frames / RATE for entry in split.entries] for split in splits]
    everything = [length for lengths in seconds for length in lengths]
    bins = histogram_bin_edges(everything, bins=30)
    for color, split, lengths in zip(_colors(splits), splits, seconds):
        axes.hist(
            lengths,
            bins=bins,
            weights=[100 / max(1, len(lengths))] * len(lengths),
            histtype="step",
            linewidth=1.5,
            color=color,
            label=f"{split.name} ({len(lengths)})",
        )
    axes.set(xlabel="seconds", ylabel="% of utterances", title="Length of utterances")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_symbols(axes, splits: Sequence[Split], suffix: str) -> None:
    from matplotlib.ticker import LogLocator

    counts = [
        Counter(symbol for line in split.labels[suffix] for symbol in line.split())
        for split in splits
    ]
    total = sum(counts, Counter())
    ranked = sorted(total, key=lambda symbol: (-counts[0][symbol], -total[symbol], symbol))
    for number, (color, split, count) in enumerate(zip(_colors(splits), splits, counts)):
        shares = [100 * count[symbol] / max(1, count.total()) or nan for symbol in ranked]
        if number == 0:
            axes.bar(range(len(ranked)), shares, color=color, alpha=0.35, label=split.name)
        else:
            marker = MARKERS[number % len(MARKERS)]
            axes.plot(shares, marker, color=color, markerfacecolor="none", label=split.name)
    axes.set_yscale("log", subs=())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(
        ylabel="% of symbols", title=f"Symbols of .{suffix}, by their rank in {splits[0].name}"
    )
    axes.margins(x=0.01)
    if len(ranked) <= NAMED:
        axes.set_xticks(range(len(ranked)), ranked)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _colors(splits: Sequence[Split]) -> list[str]:
    return [COLORS[number % len(COLORS)] for number in range(len(splits))]
