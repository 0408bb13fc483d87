"""The tables of ``parp report`` as CSV, for programs: plain numbers, empty where there is none."""

import csv
import io
import math
from statistics import mean, stdev
from typing import Any, Dict, Iterable, List, Sequence

from .intervals import Intervals
from .masks import MasksAtSparsity
from .runs import Run, Study

_FACTS = ("parameters", "nonzero", "multiply_adds", "nonzero_multiply_adds")


def runs_csv(study: Study) -> str:
    """A row for each finished run."""
    headers = ["run", "method", "sparsity", "seed", "sparsity_measured", "trainings", "updates"]
    headers += ["seconds", *_FACTS]
    for what in (*study.measures, "utterances"):
        headers += [f"{what}_{split}" for split in study.splits]
    rows = []
    for run in _all_runs(study):
        scores = [run.scores[split] for split in study.splits]
        rows.append(
            [run.name, run.cell.method, run.cell.sparsity, run.seed, run.sparsity]
            + [run.trainings, run.updates, run.seconds, *map(run.facts.get, _FACTS)]
            + [score.error_rate for score in scores]
            + [rounded(score.rate(of)) for of in study.measures[1:] for score in scores]
            + [score.utterances for score in scores]
        )
    return as_csv(headers, rows)


def cells_csv(study: Study) -> str:
    """A row for each method and sparsity: means over the seeds; ``_std`` is the sample's."""
    headers = ["method", "sparsity", "sparsity_measured", "seeds", "seeds_planned"]
    headers += ["trainings", "updates", "seconds", *_FACTS]
    for split in study.splits:
        for what in study.measures:
            headers += [f"{what}_{split}_mean", f"{what}_{split}_std"]
    rows = []
    for cell, runs in study.cells.items():
        row: List[Any] = [cell.method, cell.sparsity, _average([r.sparsity for r in runs])]
        row += [len(runs), study.planned[cell]]
        row += [_average([run.trainings for run in runs]), _average([r.updates for r in runs])]
        row += [_average([run.seconds for run in runs])]
        row += [_average([run.facts.get(fact) for run in runs]) for fact in _FACTS]
        for split in study.splits:
            scores = [run.scores[split] for run in runs]
            for what in study.measures:
                rates = [score.rate(what) for score in scores]
                row += [_average(rates), _spread(rates)]
        rows.append(row)
    return as_csv(headers, rows)


def pruning_csv(study: Study) -> str:
    """A row for each prune of each run."""
    rows = (
        [run.name, at.update, at.sparsity, at.revived, at.mask_iou]
        for run in _all_runs(study)
        for at in run.log.prunes
    )
    return as_csv(["run", "update", "sparsity", "revived", "mask_iou"], rows)


def learning_csv(study: Study) -> str:
    """A row for each update at which a run logged its loss or its error rate on validation."""
    rows = (
        [run.name, update, run.log.loss.get(update), run.log.valid.get(update)]
        for run in _all_runs(study)
        for update in sorted(run.log.loss.keys() | run.log.valid.keys())
    )
    return as_csv(["run", "update", "loss", "valid_error_rate"], rows)


def iou_csv(masks: Sequence[MasksAtSparsity]) -> str:
    """A row for each pair of methods at each sparsity."""
    rows = (
        [at.sparsity, a, b, f"{value:.6f}"]
        for at in masks
        for a, row in zip(at.methods, at.iou)
        for b, value in zip(at.methods, row)
        if value is not None
    )
    return as_csv(["sparsity", "method", "other", "iou"], rows)


def seeds_csv(masks: Sequence[MasksAtSparsity]) -> str:
    """A row for each pair of seeds of a method at each sparsity."""
    rows = (
        [at.sparsity, method, *seeds, f"{iou:.6f}"]
        for at in masks
        for method, pairs in at.pairs.items()
        for seeds, iou in pairs.items()
    )
    return as_csv(["sparsity", "method", "seed", "other_seed", "iou"], rows)


def layers_csv(masks: Sequence[MasksAtSparsity]) -> str:
    """A row for each method, sparsity and part of the network: mean and spread over the seeds."""
    rows = (
        [at.sparsity, method, part, f"{mean(values):.6f}", _spread(values, 6)]
        for at in masks
        for method, parts in at.parts.items()
        for part, values in parts.items()
    )
    return as_csv(["sparsity", "method", "part", "sparsity_measured", "std"], rows)


def intervals_csv(intervals: Intervals) -> str:
    """A row for each difference, with its 95 % intervals."""
    headers = ["method", "sparsity", "split", "measure", "seeds", "speakers"]
    headers += ["difference", "low", "high", "speakers_needed"]
    headers += ["seeds_low", "seeds_high", "seeds_needed"]
    rows = (
        [cell.method, cell.sparsity, split, measure, at.seeds, at.speakers]
        + [f"{value:.4f}" for value in (at.difference, at.low, at.high)]
        + [at.speakers_needed]
        + ([f"{end:.4f}" for end in at.over_seeds] if at.over_seeds else [None, None])
        + [at.seeds_needed]
        for (cell, split, measure), at in intervals.items()
    )
    return as_csv(headers, rows)


def _all_runs(study: Study) -> Iterable[Run]:
    return (run for runs in study.cells.values() for run in runs)


def _average(values: Sequence[Any]) -> Any:
    """The mean; a whole number where it is one, and None where a value is missing."""
    if None in values:
        return None
    average = mean(values)
    if all(isinstance(value, int) for value in values) and average == int(average):
        return int(average)
    return rounded(average)


def _spread(values: Sequence[Any], digits: int = 4) -> Any:
    if len(values) < 2 or None in values:
        return None
    return math.nan if any(map(math.isnan, values)) else rounded(stdev(values), digits)


def rounded(value: Any, digits: int = 4) -> Any:
    return None if value is None else f"{value:.{digits}f}"


def as_csv(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as the text of a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows(rows)
    return text.getvalue()


def all_tables(
    study: Study, masks: Sequence[MasksAtSparsity], intervals: Intervals
) -> Dict[str, str]:
    """Name of a file -> its content."""
    return {
        "runs.csv": runs_csv(study),
        "cells.csv": cells_csv(study),
        "pruning.csv": pruning_csv(study),
        "learning.csv": learning_csv(study),
        "iou.csv": iou_csv(masks),
        "iou_seeds.csv": seeds_csv(masks),
        "layers.csv": layers_csv(masks),
        "intervals.csv": intervals_csv(intervals),
    }
