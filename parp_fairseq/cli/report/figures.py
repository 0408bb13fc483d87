"""The pictures of ``parp report``."""

import math
import zlib
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Dict, List, Mapping, Sequence, Tuple

from parp_fairseq.cli.counting.layers import PROJECTIONS
from parp_fairseq.cli.pictures.heat_map import draw_iou
from parp_fairseq.cli.pictures.style import picture

from .intervals import Interval
from .logs import Log
from .masks import MasksAtSparsity
from .runs import Cell, Run, Study, order_of, title_of

# The colours of Okabe and Ito, distinct for any colour vision; markers for prints in grey.
_LOOKS = {
    "dense": ("#000000", ""),
    "rp": ("#999999", "v"),
    "mpi": ("#E69F00", "s"),
    "omp": ("#56B4E9", "^"),
    "imp": ("#009E73", "D"),
    "parp": ("#D55E00", "o"),
    "parp_p": ("#CC79A7", "P"),
    "s3_router": ("#0072B2", "X"),
    "s3_router_p": ("#0072B2", "h"),
    "bitfit": ("#000000", "*"),
    # Of the colours of Paul Tol ("muted").
    "wanda": ("#882255", "<"),
    "taylor": ("#44AA99", ">"),
    "snip": ("#CC6677", "8"),
    "movement": ("#999933", "p"),
    "fisher": ("#332288", "d"),
    "rigl": ("#AA4499", "H"),
}
_OTHERS = (("#661100", "X"), ("#6699CC", "P"), ("#888888", "s"), ("#DDCC77", "D"))
Triple = Tuple[float, float, float]  # a value, and the ends of its bar

_MANY = 8  # with more sparsities than these: bands instead of bars, a colour bar, fewer ticks


def draw_error_rates(path: Path, study: Study, split: str) -> None:
    """Error rate against sparsity; with a single sparsity, by method."""
    seeds = max(study.planned.values())
    pruned = sorted({cell.method for cell in study.cells} - {"dense"}, key=order_of)
    with picture(path, height=2.8) as figure:
        axes = _plain(figure.subplots())
        rates = {
            method: {
                cell.sparsity: _mean_and_ends([run.scores[split].error_rate for run in runs])
                for cell, runs in study.cells.items()
                if cell.method == method
            }
            for method in ["dense", *pruned]
        }
        if rates["dense"]:
            average, low, high = rates["dense"][0.0]
            axes.axhline(average, linestyle="--", color=_LOOKS["dense"][0], label="dense")
            axes.axhspan(low, high, color="black", alpha=0.08, linewidth=0)
        _draw(axes, {method: rates[method] for method in pruned}, {})
        axes.set_ylabel(f"{study.error} on {split}, %")
        spread = "bands" if len(study.sparsities) > _MANY else "bars, and the band of dense"
        note = f"{spread}: ± 1 standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
        note += _side_by_side(study)
        figure.supxlabel(note, fontsize=6, color="0.3")
        _legend(figure, [axes])


def draw_differences(
    path: Path, study: Study, split: str, intervals: Mapping[Cell, Interval]
) -> None:
    """Difference to the baseline against sparsity, with 95 % intervals over the speakers.

    The difference of each seed is a dot.
    """
    values: Dict[str, Dict[float, Triple]] = {}
    dots: Dict[str, Dict[float, Sequence[float]]] = {}
    for cell, at in intervals.items():
        values.setdefault(cell.method, {})[cell.sparsity] = at.difference, at.low, at.high
        if at.seeds > 1:
            dots.setdefault(cell.method, {})[cell.sparsity] = at.by_seed
    with picture(path, height=2.8) as figure:
        axes = _plain(figure.subplots())
        axes.axhline(0, linestyle="--", color=_LOOKS["dense"][0], label=study.baseline_title)
        _draw(axes, values, dots)
        axes.set_ylabel(f"difference in {study.error} on {split}, points")
        at = next(iter(intervals.values()))
        what = "bands" if len(study.sparsities) > _MANY else "bars"
        note = f"{what}: 95 % interval, by a bootstrap over {at.speakers} {study.drawn}"
        note += f"; dots: each of the {at.seeds} seeds" if dots and what == "bars" else ""
        figure.supxlabel(note + _side_by_side(study), fontsize=6, color="0.3")
        _legend(figure, [axes])


def _side_by_side(study: Study) -> str:
    methods = {cell.method for cell in study.cells if cell.method != "dense"}
    if len(methods) < 2 or not 1 < len(study.sparsities) <= _MANY:
        return ""
    return "\nmethods at the same sparsity are drawn side by side"


def _draw(
    axes,
    values: Mapping[str, Mapping[float, Triple]],
    dots: Mapping[str, Mapping[float, Sequence[float]]],
) -> None:
    sparsities = sorted({sparsity for of_method in values.values() for sparsity in of_method})
    if len(sparsities) == 1:
        _draw_by_method(axes, {method: next(iter(at.values())) for method, at in values.items()})
        for place, method in enumerate(values):
            for of_seeds in dots.get(method, {}).values():
                _draw_dots(axes, method, place, of_seeds)
        axes.set_xlabel(f"method, at sparsity {sparsities[0]:.3g}")
    elif sparsities:
        _draw_by_sparsity(axes, values, sparsities, dots)
        axes.set_xlabel("sparsity")


def _draw_by_method(axes, rates: Mapping[str, Triple]) -> None:
    for place, (method, (value, low, high)) in enumerate(rates.items()):
        color, marker = _look_of(method)
        axes.errorbar([place], [value], [[value - low], [high - value]], color=color, marker=marker)
    titles = [title_of(method) for method in rates]
    axes.set_xticks(range(len(rates)), titles)
    if len(titles) * max(map(len, titles)) > 40:  # characters in the width of the picture
        axes.tick_params("x", rotation=30)
        for label in axes.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")
    axes.margins(x=0.15)


def _draw_dots(axes, method: str, place: float, values: Sequence[float]) -> None:
    """A dot for each value, at a place on the horizontal axis."""
    color, _ = _look_of(method)
    axes.plot([place] * len(values), values, ".", color=color, markersize=3, alpha=0.5)


def _draw_by_sparsity(
    axes,
    rates: Mapping[str, Mapping[float, Triple]],
    sparsities: Sequence[float],
    dots: Mapping[str, Mapping[float, Sequence[float]]],
) -> None:
    many = len(sparsities) > _MANY
    gap = min(b - a for a, b in pairwise(sparsities))
    for place, (method, of_method) in enumerate(rates.items()):
        color, marker = _look_of(method)
        averages, low, high = map(list, zip(*of_method.values()))
        look = dict(color=color, label=title_of(method), marker=marker)
        if many:
            axes.fill_between(list(of_method), low, high, color=color, alpha=0.1, linewidth=0)
            axes.plot(list(of_method), averages, markevery=(place % 4, 4), **look)
        else:
            # Bars on top of each other cannot be told apart.
            shift = 0.06 * gap * (place - (len(rates) - 1) / 2)
            bars = [
                [value - end for value, end in zip(averages, low)],
                [end - value for value, end in zip(averages, high)],
            ]
            axes.errorbar([s + shift for s in of_method], averages, bars, **look)
            for sparsity, of_seeds in dots.get(method, {}).items():
                _draw_dots(axes, method, sparsity + shift, of_seeds)
    if not many:
        axes.set_xticks(sparsities, _labels_of(sparsities))


def _labels_of(sparsities: Sequence[float]) -> List[str]:
    """A label for each tick, empty where it would touch the one before."""
    labels, last = [], -math.inf
    for sparsity in sparsities:
        fits = sparsity - last > 0.06 * (sparsities[-1] - sparsities[0])
        labels.append(f"{sparsity:.3g}" if fits else "")
        last = sparsity if fits else last
    return labels


def draw_agreement(path: Path, at: MasksAtSparsity) -> None:
    """IoU of the final masks of every two methods, at one sparsity."""
    titles = [title_of(method) for method in at.methods]
    diagonal = "two seeds of a method" if any(at.pairs.values()) else "empty with one seed"
    title = f"IoU of the final masks at sparsity {at.sparsity:.3g}. Diagonal: {diagonal}."
    draw_iou(path, at.iou, titles, title)


def draw_layers(path: Path, at: MasksAtSparsity) -> None:
    """Sparsity of each transformer layer and of each projection, at one overall sparsity."""
    with picture(path, height=3.6) as figure:
        found = list(next(iter(at.parts.values())))
        wanted = {
            "transformer layer": [part for part in found if part not in PROJECTIONS],
            "projection": [part for part in found if part in PROJECTIONS],
        }
        shown = {meaning: parts for meaning, parts in wanted.items() if parts}
        panels = figure.subplots(len(shown), 1, sharey=True, squeeze=False)[:, 0]
        for axes, (meaning, parts) in zip(panels, shown.items()):
            _plain(axes)
            for place, (method, values) in enumerate(at.parts.items()):
                color, marker = _look_of(method)
                means, spreads = map(list, zip(*(_mean_and_spread(values[p]) for p in parts)))
                shift = 0.1 * (place - (len(at.parts) - 1) / 2)
                places = [number + shift for number in range(len(parts))]
                look = dict(color=color, marker=marker, linestyle="", label=title_of(method))
                axes.errorbar(places, means, spreads, **look)
            axes.axhline(at.sparsity, color="0.6", linewidth=0.6, zorder=0)
            axes.set_xticks(range(len(parts)), parts)
            axes.set_xlabel(meaning)
        figure.supylabel(f"sparsity (line: {at.sparsity:.3g} overall)", fontsize=7)
        seeds = max(len(v) for values in at.parts.values() for v in values.values())
        if seeds > 1:
            note = f"bars: ± 1 standard deviation over {seeds} seeds"
            figure.supxlabel(note, fontsize=6, color="0.3")
        _legend(figure, panels[:1])


def draw_revived(path: Path, study: Study) -> None:
    """Share of the weights that re-prunes bring back, against updates."""
    curves = {
        method: {
            cell.sparsity: mean_revived([run.log for run in runs])
            for cell, runs in study.cells.items()
            if cell.method == method and any(len(run.log.prunes) > 1 for run in runs)
        }
        for method in sorted({cell.method for cell in study.cells}, key=order_of)
    }
    curves = {method: of_method for method, of_method in curves.items() if of_method}
    with picture(path, height=0.5 + 1.5 * len(curves)) as figure:
        panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
        color_of = _colors(study.sparsities)
        for axes, (method, of_method) in zip(panels, curves.items()):
            _plain(axes).set_title(title_of(method))
            for sparsity, revived in of_method.items():
                look = dict(color=color_of.to_rgba(sparsity), label=f"{sparsity:.3g}")
                axes.plot(list(revived), list(revived.values()), **look)
            axes.set_ylim(bottom=0)
        panels[-1].set_xlabel("updates")
        figure.supylabel("share of weights revived", fontsize=7)
        if len(study.sparsities) > _MANY:
            figure.colorbar(color_of, ax=list(panels), label="sparsity")
        else:
            _legend(figure, panels[:1], "sparsity")


def draw_learning(path: Path, study: Study, sparsity: float) -> None:
    """Training loss and validation error against updates, at one sparsity: means of the seeds."""
    runs = {c.method: runs for c, runs in study.cells.items() if c.sparsity in (0.0, sparsity)}
    wanted = {
        "training loss": {method: [run.log.loss for run in of] for method, of in runs.items()},
        f"{study.error} on valid, %": {
            method: [run.log.valid for run in of] for method, of in runs.items()
        },
    }
    shown = {what: curves for what, curves in wanted.items() if any(map(any, curves.values()))}
    with picture(path, height=0.7 + 1.6 * len(shown)) as figure:
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (what, curves) in zip(panels, shown.items()):
            _plain(axes).set_ylabel(what)
            for method, of_seeds in curves.items():
                curve = _mean_curve(of_seeds)
                color, marker = _look_of(method)
                style = dict(color=color, label=title_of(method))
                style.update(linestyle="--") if method == "dense" else style.update(marker=marker)
                axes.plot(*zip(*curve.items()), markevery=max(len(curve) // 8, 1), **style)
        panels[-1].set_xlabel("updates")
        figure.supxlabel(
            f"at sparsity {sparsity:.3g}; means over the seeds", fontsize=6, color="0.3"
        )
        _legend(figure, panels[:1])


def has_learning(runs: Sequence[Run]) -> bool:
    """Whether a training logged its loss or its validation error."""
    return any(run.log.loss or run.log.valid for run in runs)


def mean_revived(logs: Sequence[Log]) -> Dict[int, float]:
    """Update -> share revived, the mean over the runs that re-pruned at it."""
    return _mean_curve([{at.update: at.revived for at in log.prunes[1:]} for log in logs])


def _mean_curve(curves: Sequence[Mapping[int, float]]) -> Dict[int, float]:
    at: Dict[int, List[float]] = {}
    for curve in curves:
        for update, value in curve.items():
            at.setdefault(update, []).append(value)
    return {update: mean(at[update]) for update in sorted(at)}


def _mean_and_ends(values: Sequence[float]) -> Triple:
    """Mean, and the ends of a bar of one standard deviation."""
    average, spread = _mean_and_spread(values)
    return average, average - spread, average + spread


def _mean_and_spread(values: Sequence[float]) -> Tuple[float, float]:
    if any(map(math.isnan, values)):
        return math.nan, math.nan
    return mean(values), stdev(values) if len(values) > 1 else 0.0


def _colors(sparsities: Sequence[float]):
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    # Without the light end, which cannot be seen on white.
    dark = LinearSegmentedColormap.from_list(
        "dark", [colormaps["viridis"](0.9 * step / 255) for step in range(256)]
    )
    low, high = min(sparsities), max(sparsities)
    return ScalarMappable(Normalize(low, high if high > low else low + 1), dark)


def _look_of(method: str) -> Tuple[str, str]:
    """Colour and marker; those of a study's own method follow from its name."""
    return _LOOKS.get(method) or _OTHERS[zlib.crc32(method.encode()) % len(_OTHERS)]


def _plain(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.5)
    return axes


def _legend(figure, panels, title: str = "") -> None:
    handles, labels = panels[0].get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, title=title or None, loc="outside upper center", ncols=4)
