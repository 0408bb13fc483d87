"""The pictures of ``parp report``."""

from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Dict, List, Sequence

from parp_fairseq.cli.counting.layers import PROJECTIONS
from parp_fairseq.cli.pictures.heat_map import draw_iou, save

from .masks import MasksAtSparsity
from .runs import TITLES, Pruned, Study

# Colours of Okabe and Ito, told apart by any colour vision; a marker each for prints in grey.
_LOOKS = {
    "dense": ("#000000", ""),
    "rp": ("#999999", "v"),
    "mpi": ("#E69F00", "s"),
    "omp": ("#56B4E9", "^"),
    "imp": ("#009E73", "D"),
    "parp": ("#D55E00", "o"),
    "parp_p": ("#CC79A7", "P"),
}


def draw_error_rates(path: Path, study: Study, split: str) -> None:
    """Error rate against sparsity: means over the seeds, bars of one standard deviation."""
    figure, (axes,) = _axes(1)
    gap = min((b - a for a, b in pairwise(study.sparsities)), default=0.1)
    for place, method in enumerate(TITLES):
        cells = {c.sparsity: runs for c, runs in study.cells.items() if c.method == method}
        if not cells:
            continue
        rates = [[run.error_rate[split] for run in runs] for runs in cells.values()]
        means, spreads = [mean(r) for r in rates], [stdev(r) if len(r) > 1 else 0 for r in rates]
        color, marker = _LOOKS[method]
        look = dict(color=color, label=TITLES[method])
        if method == "dense":
            axes.axhline(means[0], linestyle="--", **look)
            axes.axhspan(means[0] - spreads[0], means[0] + spreads[0], color=color, alpha=0.08)
        else:
            # Side by side, for bars on top of each other cannot be told apart.
            beside = [sparsity + 0.03 * gap * (place - len(TITLES) / 2) for sparsity in cells]
            axes.errorbar(beside, means, spreads, marker=marker, capsize=2, **look)
    axes.set(xlabel="sparsity", ylabel=f"{study.error} on {split}, %", xticks=study.sparsities)
    _finish(figure, path)


def draw_agreement(path: Path, at: MasksAtSparsity) -> None:
    """IoU of the final masks of every two methods, at one sparsity."""
    titles = [TITLES[method] for method in at.methods]
    draw_iou(path, at.iou, titles, f"Agreement of the final masks at sparsity {at.sparsity:g}")


def draw_layers(path: Path, at: MasksAtSparsity) -> None:
    """Sparsity of each transformer layer and of each projection, at one sparsity over all."""
    figure, panels = _axes(2)
    for axes, is_wanted, meaning in (
        (panels[0], lambda part: part not in PROJECTIONS, "transformer layer"),
        (panels[1], lambda part: part in PROJECTIONS, "projection"),
    ):
        for method, parts in at.parts.items():
            color, marker = _LOOKS[method]
            shown = {part: value for part, value in parts.items() if is_wanted(part)}
            axes.plot(*zip(*shown.items()), color=color, marker=marker, label=TITLES[method])
        axes.set_xlabel(meaning)
    panels[0].set_ylabel(f"sparsity, {at.sparsity:g} over all")
    _finish(figure, path)


def draw_revived(path: Path, study: Study) -> None:
    """Share of the weights that re-prunes bring back, as training goes on."""
    from matplotlib import colormaps

    methods = [m for m in ("parp", "parp_p") if any(c.method == m for c in study.cells)]
    figure, panels = _axes(len(methods))
    for axes, method in zip(panels, methods):
        cells = {c.sparsity: runs for c, runs in study.cells.items() if c.method == method}
        for index, (sparsity, runs) in enumerate(cells.items()):
            revived = mean_revived([run.history for run in runs])
            color = colormaps["viridis"](index / max(len(cells) - 1, 1) * 0.9)
            axes.plot(list(revived), list(revived.values()), color=color, label=f"{sparsity:g}")
        axes.set(title=TITLES[method], xlabel="updates")
    panels[0].set_ylabel("share of weights revived")
    _finish(figure, path, "sparsity")


def mean_revived(histories: Sequence[Sequence[Pruned]]) -> Dict[int, float]:
    """Update -> ``revived``, the mean over the runs that logged this update."""
    at: Dict[int, List[float]] = {}
    for pruned in (pruned for history in histories for pruned in history):
        at.setdefault(pruned.update, []).append(pruned.revived)
    return {update: mean(at[update]) for update in sorted(at)}


def _axes(count: int):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 if count == 1 else 5 * count, 4), layout="constrained")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure, panels


def _finish(figure, path: Path, legend: str = "") -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, title=legend or None, loc="outside right center", frameon=False)
    save(figure, path)
