"""Error rates of a study over several corpora, and what differs between its runs."""

from dataclasses import dataclass
from statistics import mean
from typing import Dict, List, Mapping, Optional, Tuple

from parp_fairseq.cli.report.intervals import Interval, paired_interval, speakers_of
from parp_fairseq.cli.report.runs import order_of, title_of
from parp_fairseq.cli.report.tables import mean_of, seeds_of

from .runs import LanguageRun, LanguageStudy


@dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed alone.

    Attributes:
        mask_corpus: of a moved mask, where it comes from; otherwise None.
        corpus: what is trained on; ``""`` for all corpora.
    """

    kind: str
    method: str
    sparsity: float
    drawn: str = "plain"
    mask_corpus: Optional[str] = None
    corpus: str = ""

    @property
    def title(self) -> str:
        """What the pages call a training that is not of one corpus with the mask of another."""
        method, by_weight = title_of(self.method), ", by weight" if self.drawn != "plain" else ""
        what = {
            "alone": "each alone",
            "joint": f"jointly, one mask{by_weight}",
            "each": f"jointly, a mask for each{by_weight}",
        }
        return f"{method}, {what[self.kind]}"


Runs = Dict[int, LanguageRun]  # by seed


@dataclass(frozen=True)
class Rate:
    """An error rate and its difference to another training, over the seeds.

    Attributes:
        planned: how many seeds there are to be.
        values: the error rate of each seed, in percent.
        differences: to the reference of the same seed, in percent points; below 0 is better.
        interval: of the differences, over the speakers; None if these are not known.
    """

    planned: int
    values: Dict[int, float]
    differences: List[float]
    interval: Optional[Interval]

    @property
    def text(self) -> str:
        """Mean and sample standard deviation."""
        return mean_of(list(self.values.values()), self.planned)

    @property
    def mean(self) -> Optional[float]:
        """Over the seeds; None if there are none."""
        return mean(self.values.values()) if self.values else None

    @property
    def difference(self) -> str:
        """Mean difference, with its interval where there is one, and a mark if that holds 0."""
        if not self.differences:
            return "missing"
        text = f"{mean(self.differences):+.1f}"
        if self.interval is not None:
            low, high = self.interval.low, self.interval.high
            text += f" [{low:+.1f}, {high:+.1f}]" + (" =" if low <= 0 <= high else "")
        return text + seeds_of(len(self.differences), self.planned)


def runs_by_cell(study: LanguageStudy) -> Dict[Cell, Runs]:
    """The finished runs of each cell, methods in the order of the paper.

    The matrix of moved masks also has its diagonal where no run was made for it: a mask that the
    training of a corpus keeps fixed (OMP) is that of the corpus itself.
    """
    cells: Dict[Cell, Runs] = {}
    for run in study.runs:
        plan = run.plan
        moved = plan.kind == "moved"
        cell = Cell(
            plan.kind,
            plan.method,
            plan.sparsity,
            plan.drawn,
            plan.mask_corpus if moved else None,
            plan.corpus if plan.kind in ("alone", "moved") else "",
        )
        cells.setdefault(cell, {})[plan.seed] = run
        if plan.kind == "alone" and plan.mask_corpus == plan.corpus:
            fixed = Cell("moved", plan.method, plan.sparsity, plan.drawn, plan.corpus, plan.corpus)
            cells.setdefault(fixed, {})[plan.seed] = run
    return dict(
        sorted(cells.items(), key=lambda at: (order_of(at[0].method), at[0].sparsity, at[0].drawn))
    )


def rate_of(
    study: LanguageStudy,
    measure: str,
    runs: Mapping[int, LanguageRun],
    corpus: str,
    reference: Optional[Mapping[int, LanguageRun]] = None,
) -> Rate:
    """The error rate on a corpus, and the difference to ``reference``."""
    at = corpus, study.split

    def by_seed(runs: Mapping[int, LanguageRun]) -> Dict[int, float]:
        known = {seed: run.scores[at].rate(measure) for seed, run in runs.items()}
        return {seed: value for seed, value in known.items() if value is not None}

    values = by_seed(runs)
    if not reference or reference is runs:
        return Rate(study.seeds, values, [], None)
    of_reference = by_seed(reference)
    seeds = [seed for seed in values if seed in of_reference]
    differences = [values[seed] - of_reference[seed] for seed in seeds]
    pairs = [(runs[seed], reference[seed]) for seed in seeds]
    return Rate(study.seeds, values, differences, _interval(pairs, measure, *at))


def _interval(
    pairs: List[Tuple[LanguageRun, LanguageRun]], measure: str, corpus: str, split: str
) -> Optional[Interval]:
    try:
        import scipy.stats  # noqa: F401
    except ModuleNotFoundError:
        return None
    if not pairs:
        return None
    at, run = (corpus, split), pairs[0][0]
    speakers = speakers_of(run.data, run.manifests[at])
    if len(set(speakers.values())) < 2:
        return None
    scores = [(a.scores[at], b.scores[at]) for a, b in pairs]
    return paired_interval(scores, measure, speakers)


def matrices(cells: Mapping[Cell, Runs]) -> List[Tuple[str, float]]:
    """Method and sparsity of each matrix of moved masks."""
    found = (
        (cell.method, cell.sparsity)
        for cell in cells
        if cell.kind == "moved" and cell.mask_corpus != cell.corpus
    )
    return list(dict.fromkeys(found))


def matrix(
    study: LanguageStudy, measure: str, cells: Mapping[Cell, Runs], method: str, sparsity: float
) -> List[List[Rate]]:
    """A row for each corpus that a mask comes from, a column for each that it is finetuned on.

    Differences are to the diagonal of the column: to the mask of the corpus itself.
    """

    def runs(source: str, target: str) -> Runs:
        return cells.get(Cell("moved", method, sparsity, "plain", source, target), {})

    return [
        [
            rate_of(study, measure, runs(a, b), b, runs(b, b) if a != b else None)
            for b in study.corpora
        ]
        for a in study.corpora
    ]


def trainings(
    study: LanguageStudy, measure: str, cells: Mapping[Cell, Runs]
) -> Dict[Cell, Dict[str, Rate]]:
    """Trainings -> corpus -> its rate, with the difference to training each corpus alone."""
    found: Dict[Cell, Dict[str, Rate]] = {}
    for cell in cells:
        if cell.kind == "moved":
            continue
        shown = Cell(cell.kind, cell.method, cell.sparsity, cell.drawn)
        if shown in found:
            continue
        found[shown] = {}
        for corpus in study.corpora:
            alone = cells.get(Cell("alone", cell.method, cell.sparsity, "plain", None, corpus), {})
            runs = alone if cell.kind == "alone" else cells[cell]
            reference = None if cell.kind == "alone" else alone
            found[shown][corpus] = rate_of(study, measure, runs, corpus, reference)
    return found
