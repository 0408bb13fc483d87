"""The tables of ``parp report`` for people: in Markdown, and in LaTeX."""

import math
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, Callable, Collection, List, Optional, Sequence

from tabulate import tabulate

from .intervals import Interval, Intervals, intervals_of
from .masks import MasksAtSparsity
from .runs import Cell, Run, Study, order_of, title_of

_MANY = 10  # with more sparsities than these, a table has a row for each


@dataclass(frozen=True)
class Table:
    """A table; the first column is text, the others are numbers."""

    headers: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @property
    def markdown(self) -> str:
        return self._format("github")

    @property
    def latex(self) -> str:
        """A ``tabular`` with the rules of the package booktabs."""
        return self._format("latex_booktabs").replace("±", "$\\pm$")

    def _format(self, name: str) -> str:
        align = ["left"] + ["right"] * (len(self.headers) - 1)
        return tabulate(
            self.rows, self.headers, tablefmt=name, disable_numparse=True, colalign=align
        )


Rate = Callable[[Run], Optional[float]]


def word_rate(split: str) -> Rate:
    """The error rate on ``split``: WER, or PER for phones."""
    return lambda run: run.scores[split].error_rate


def character_rate(split: str) -> Rate:
    """The character error rate on ``split``."""
    return lambda run: run.scores[split].character_error_rate


def error_rates(study: Study, rate: Rate) -> Table:
    """Mean and spread over the seeds, by method and sparsity."""
    return _by_method(study.planned, lambda cell: _spread(study, cell, rate))


def against_baseline(study: Study, rate: Rate) -> Table:
    """The difference to the model of the same seed that is compared with: below 0 is better."""

    def difference(cell: Cell) -> str:
        differences = [rate(run) - rate(other) for run, other in study.pairs(cell)]
        return _mean(differences, cell, study, "+")

    return _by_method(study.compared, difference)


def with_intervals(intervals: Intervals, split: str, measure: str) -> Optional[Table]:
    """The difference with its 95 % interval over the speakers; None if there is none."""

    def text_of(at: Interval) -> str:
        return f"{at.difference:+.1f} [{at.low:+.1f}, {at.high:+.1f}]"

    return _of_intervals(intervals, split, measure, text_of)


def over_seeds(intervals: Intervals, split: str, measure: str) -> Optional[Table]:
    """The difference with its 95 % interval over the seeds; None if there is one seed."""

    def text_of(at: Interval) -> str:
        ends = at.over_seeds
        return f"{at.difference:+.1f} [{ends[0]:+.1f}, {ends[1]:+.1f}]" if ends else ""

    return _of_intervals(intervals, split, measure, text_of)


def speakers_needed(intervals: Intervals, split: str, measure: str) -> Optional[Table]:
    """How many speakers would separate each difference from 0; None if all are separated."""
    return _of_intervals(intervals, split, measure, lambda at: _number(at.speakers_needed))


def seeds_needed(intervals: Intervals, split: str, measure: str) -> Optional[Table]:
    """How many seeds would separate each difference from 0; None if all are separated."""
    return _of_intervals(intervals, split, measure, lambda at: _number(at.seeds_needed))


def _number(value: Optional[int]) -> str:
    return "" if value is None else f"{value:,}"


def _of_intervals(
    intervals: Intervals, split: str, measure: str, text_of: Callable[[Interval], str]
) -> Optional[Table]:
    """By method and sparsity; None if all texts are empty."""
    texts = {cell: text_of(at) for cell, at in intervals_of(intervals, split, measure).items()}
    found = {cell: text for cell, text in texts.items() if text}
    return _by_method(found, found.__getitem__) if found else None


def overlap_of_seeds(masks: Sequence[MasksAtSparsity]) -> Optional[Table]:
    """IoU of the masks of every two seeds of a method, by method and sparsity."""
    pairs = {
        Cell(method, at.sparsity): list(ious.values())
        for at in masks
        for method, ious in at.pairs.items()
        if ious
    }
    if not pairs:
        return None

    def text_of(cell: Cell) -> str:
        ious = pairs[cell]
        return f"{mean(ious):.3f}" + (f" ± {stdev(ious):.3f}" if len(ious) > 1 else "")

    return _by_method(pairs, text_of)


def cells(study: Study) -> Table:
    """A row for each method and sparsity: what was measured, and what one such model takes."""
    headers = ["method", "sparsity", "measured", "seeds"]
    headers += [f"{study.error} % {split}" for split in study.splits]
    headers += ["trainings", "updates"]
    known = [run for runs in study.cells.values() for run in runs]
    timed = any(run.seconds is not None for run in known)
    counted = any("nonzero" in run.facts for run in known)
    multiplies = has_multiply_adds(study)
    headers += ["minutes"] * timed + ["non-zero parameters, M"] * counted
    headers += ["multiply-adds, G/s"] * multiplies
    rows = []
    for cell, runs in study.cells.items():
        row = [title_of(cell.method), f"{cell.sparsity:g}"]
        row += [_range([run.sparsity for run in runs], "{:.6f}"), len(runs)]
        row += [_spread(study, cell, word_rate(split)) for split in study.splits]
        row += [_range([run.trainings for run in runs], "{:,}")]
        row += [_range([run.updates for run in runs], "{:,}")]
        if timed:
            row.append(_range([_scaled(run.seconds, 60) for run in runs], "{:.1f}"))
        if counted:
            of_model = [_scaled(run.facts.get("nonzero"), 1e6) for run in runs]
            row.append(_range(of_model, "{:.3f}"))
        if multiplies:
            products = [_scaled(run.facts.get("nonzero_multiply_adds"), 1e9) for run in runs]
            row.append(_range(products, "{:.3f}"))
        rows.append(row)
    return Table(headers, rows)


def has_multiply_adds(study: Study) -> bool:
    """Whether they were counted; those of a text encoder are not."""
    return any(run.facts.get("nonzero_multiply_adds") is not None for run in study.runs)


def _scaled(value: Optional[float], unit: float) -> Optional[float]:
    return None if value is None else value / unit


def _by_method(planned: Collection[Cell], text_of: Callable[[Cell], str]) -> Table:
    sparsities = sorted({cell.sparsity for cell in planned})
    present = {cell.method for cell in planned}
    methods = sorted(present, key=order_of)

    def text_at(method: str, sparsity: float) -> str:
        cell = Cell(method, sparsity)
        return text_of(cell) if cell in planned else ""

    if len(sparsities) > _MANY:
        rows = [[f"{s:g}"] + [text_at(method, s) for method in methods] for s in sparsities]
        return Table(["sparsity", *(title_of(method) for method in methods)], rows)
    rows = [[title_of(method)] + [text_at(method, s) for s in sparsities] for method in methods]
    return Table(["sparsity", *(f"{sparsity:g}" for sparsity in sparsities)], rows)


def _spread(study: Study, cell: Cell, rate: Rate) -> str:
    return _mean([rate(run) for run in study.cells.get(cell, [])], cell, study)


def _mean(values: List[Optional[float]], cell: Cell, study: Study, sign: str = "") -> str:
    return "" if None in values else mean_of(values, study.planned[cell], sign)


def mean_of(values: Sequence[float], planned: int, sign: str = "") -> str:
    """ "31.4 ± 0.5": mean and sample standard deviation; and the seeds, if some are missing."""
    if not values:
        return "missing"
    numbers = sum(not math.isnan(value) for value in values)
    if numbers < len(values):
        return f"NaN ({len(values) - numbers} of {len(values)} seeds)"
    text = f"{mean(values):{sign}.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")
    return text + seeds_of(len(values), planned)


def seeds_of(number: int, planned: int) -> str:
    """ " (2 of 3 seeds)"; nothing if all are there."""
    return f" ({number} of {planned} seeds)" if number < planned else ""


def _range(numbers: Sequence[Optional[float]], form: str) -> str:
    if None in numbers:
        return ""
    found = [form.format(number) for number in (min(numbers), max(numbers))]
    return found[0] if found[0] == found[1] else f"{found[0]} to {found[1]}"
