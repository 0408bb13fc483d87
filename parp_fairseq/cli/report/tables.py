"""The tables of ``parp report``: in Markdown to be read, in CSV to be worked with."""

import csv
import io
from statistics import mean, stdev
from typing import Any, Callable, Collection, Iterable, List, Sequence

from tabulate import tabulate

from .masks import MasksAtSparsity
from .runs import METHODS, TITLES, Cell, Run, Study


def error_rates(study: Study, split: str) -> str:
    """Mean and spread over the seeds: a row a method, a column a sparsity."""
    return _by_method(study.planned, lambda cell: _spread(study, cell, split))


def against_dense(study: Study, split: str) -> str:
    """The same of the difference to the dense model of the seed: below 0 is better than dense."""
    dense = {r.seed: r.error_rate[split] for r in study.cells.get(Cell("dense", 0.0), [])}

    def difference(cell: Cell) -> str:
        runs = [run for run in study.cells.get(cell, []) if run.seed in dense]
        return _mean([run.error_rate[split] - dense[run.seed] for run in runs], cell, study, "+")

    return _by_method([cell for cell in study.planned if cell.method != "dense"], difference)


def cells(study: Study) -> str:
    """A row for each method and sparsity: what was measured, and what one such model takes."""
    headers = ["method", "sparsity", "measured", "seeds"]
    headers += [f"{study.error} % {split}" for split in study.splits]
    headers += ["finetuning runs", "updates"]
    rows = [
        [TITLES[cell.method], f"{cell.sparsity:g}", _range(run.sparsity for run in runs), len(runs)]
        + [_spread(study, cell, split) for split in study.splits]
        + [_range(run.trainings for run in runs), _range(run.updates for run in runs)]
        for cell, runs in study.cells.items()
    ]
    return _markdown(headers, rows)


def cells_csv(study: Study) -> str:
    """:func:`cells`, with means and sample standard deviations apart."""
    headers = ["method", "sparsity", "seeds", "seeds_planned", "trainings", "updates"]
    for split in study.splits:
        headers += [f"{study.error.lower()}_{split}_{what}" for what in ("mean", "std")]
    rows = []
    for cell, runs in study.cells.items():
        row: List[Any] = [cell.method, cell.sparsity, len(runs), study.planned[cell]]
        row += [_range(run.trainings for run in runs), _range(run.updates for run in runs)]
        for rates in ([run.error_rate[split] for run in runs] for split in study.splits):
            row += [f"{mean(rates):.4f}", f"{stdev(rates):.4f}" if len(rates) > 1 else ""]
        rows.append(row)
    return _csv(headers, rows)


def runs_csv(study: Study) -> str:
    """A line a run."""
    headers = ["run", "method", "sparsity", "seed", "sparsity_measured", "trainings", "updates"]
    headers += [f"{study.error.lower()}_{split}" for split in study.splits]
    headers += [f"utterances_{split}" for split in study.splits]
    rows = (
        [run.name, run.cell.method, run.cell.sparsity, run.seed, run.sparsity]
        + [run.trainings, run.updates]
        + [run.error_rate[split] for split in study.splits]
        + [run.utterances[split] for split in study.splits]
        for run in _all_runs(study)
    )
    return _csv(headers, rows)


def pruning_csv(study: Study) -> str:
    """A line for each time that a run logged what pruning does."""
    rows = (
        [run.name, at.update, at.sparsity, at.revived, at.mask_iou]
        for run in _all_runs(study)
        for at in run.history
    )
    return _csv(["run", "update", "sparsity", "revived", "mask_iou"], rows)


def iou_csv(masks: Sequence[MasksAtSparsity]) -> str:
    """A line for each pair of methods at each sparsity."""
    rows = (
        [at.sparsity, a, b, f"{value:.6f}"]
        for at in masks
        for a, row in zip(at.methods, at.iou)
        for b, value in zip(at.methods, row)
        if value is not None
    )
    return _csv(["sparsity", "method", "other", "iou"], rows)


def layers_csv(masks: Sequence[MasksAtSparsity]) -> str:
    """A line for each method, sparsity and part of the network, over the seeds."""
    rows = (
        [at.sparsity, method, part, f"{value:.6f}"]
        for at in masks
        for method, parts in at.parts.items()
        for part, value in parts.items()
    )
    return _csv(["sparsity", "method", "part", "sparsity_measured"], rows)


def _all_runs(study: Study) -> Iterable[Run]:
    return (run for runs in study.cells.values() for run in runs)


def _by_method(planned: Collection[Cell], text_of: Callable[[Cell], str]) -> str:
    sparsities = sorted({cell.sparsity for cell in planned})
    methods = {cell.method for cell in planned}
    rows = [
        [TITLES[method]]
        + [text_of(cell) if (cell := Cell(method, s)) in planned else "" for s in sparsities]
        for method in METHODS
        if method in methods
    ]
    return _markdown(["sparsity", *(f"{sparsity:g}" for sparsity in sparsities)], rows)


def _spread(study: Study, cell: Cell, split: str) -> str:
    return _mean([run.error_rate[split] for run in study.cells.get(cell, [])], cell, study)


def _mean(values: Sequence[float], cell: Cell, study: Study, sign: str = "") -> str:
    """ "31.4 ± 0.5": mean, sample standard deviation; and the seeds, where some are missing."""
    if not values:
        return "missing"
    text = f"{mean(values):{sign}.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")
    planned = study.planned[cell]
    return text + (f" ({len(values)} of {planned} seeds)" if len(values) < planned else "")


def _range(numbers: Iterable[float]) -> str:
    found = [f"{n:,}" if isinstance(n, int) else f"{n:.6f}" for n in sorted(set(numbers))]
    return found[0] if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def _markdown(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    alignment = ["left"] + ["right"] * (len(headers) - 1)
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True, colalign=alignment)


def _csv(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows(rows)
    return text.getvalue()
