"""What the folder of a study holds: its finished runs, and why the others are missing."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Collection, Dict, List, Optional, Tuple

from tqdm import tqdm

from parp_fairseq.pruning import Mask

from .checks import DiffersError, require_as_planned, require_same_settings
from .logs import Log, read_log
from .scores import Score, is_scored, read_score

TITLES = {
    "dense": "dense",
    "rp": "RP",
    "mpi": "MPI",
    "omp": "OMP",
    "imp": "IMP",
    "parp": "PARP",
    "parp_p": "PARP-P",
    "s3_router": "S3-Router",
    "s3_router_p": "S3-Router-P",
    "bitfit": "BitFit",
    "wanda": "Wanda",
    "taylor": "Taylor",
    "snip": "SNIP",
    "movement": "movement",
    "fisher": "Fisher",
    "rigl": "RigL",
}
METHODS = tuple(TITLES)  # in the order of the paper
_ERRORS = {"phn": "PER", "label": "error rate"}  # by the ending of the labels

_ERROR = re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt)\b.*", re.MULTILINE)


def error_of(labels: str) -> str:
    """The error rate's name, by the ending of the labels."""
    return _ERRORS.get(labels, "WER")


def measures_of(error: str) -> Dict[str, str]:
    """Name in CSV files -> title, of an error rate, and where it is of words, of characters."""
    return {error.lower().replace(" ", "_"): error, **({"cer": "CER"} if error == "WER" else {})}


def title_of(method: str) -> str:
    """What the report calls a method; a study's own methods keep their names."""
    return TITLES.get(method, method)


def order_of(method: str) -> Tuple[int, str]:
    """Sorts methods as in the paper, and a study's own methods after them."""
    return (METHODS.index(method) if method in METHODS else len(METHODS)), method


@dataclass(frozen=True)
class Cell:
    """A method at a sparsity."""

    method: str
    sparsity: float

    @property
    def order(self) -> Tuple[int, str, float]:
        return (*order_of(self.method), self.sparsity)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        trainings: how many finetunings it took, including those that made its mask.
        updates: of all of them together.
        seconds: spent in all of them together; None if a log does not say.
        sparsity: share of zeros among the prunable weights of its model, counted.
        scores: by split.
        log: of its own training.
        mask_file: the mask of these zeros.
        facts: counts over the whole model (:class:`counting.cost.Cost`), and the plugin's version;
            empty for a study of an earlier version.
    """

    name: str
    cell: Cell
    seed: int
    trainings: int
    updates: int
    seconds: Optional[float]
    sparsity: float
    scores: Dict[str, Score]
    log: Log
    mask_file: Path
    facts: Dict[str, Any]


@dataclass
class Study:
    """A study as it is now.

    Attributes:
        splits: how the models are scored: SPLIT, or SPLIT+DECODER.
        error: the error rate's name: WER (words), PER (phones), or error rate (classes).
        planned: how many seeds each cell is to have.
        runs: the finished ones.
        unfinished: name of every other run, and the reason.
        against: the study with the models to compare with; None for its own.
        baseline: the method of these models: dense, or one at the same sparsity.
    """

    folder: Path
    recipe: str
    overrides: List[str]
    splits: List[str]
    error: str
    planned: Dict[Cell, int]
    runs: List[Run] = field(default_factory=list)
    unfinished: List[Tuple[str, str]] = field(default_factory=list)
    against: Optional["Study"] = None
    baseline: str = "dense"

    def pairs(self, cell: Cell) -> List[Tuple[Run, Run]]:
        """The runs of ``cell``, each with the one of the same seed that it is compared with."""
        baseline = (self.against or self).cells.get(self._baseline_of(cell), [])
        of_seed = {run.seed: run for run in baseline}
        return [(run, of_seed[run.seed]) for run in self.cells.get(cell, []) if run.seed in of_seed]

    @property
    def baseline_title(self) -> str:
        """What the report calls the models that the others are compared with."""
        title = title_of(self.baseline)
        if self.against:
            title += f" of {self.against.folder.resolve().name}"
        return title if self.baseline == "dense" else f"{title} at the same sparsity"

    @property
    def compared(self) -> List[Cell]:
        """The cells that are compared with another one."""
        planned = (self.against or self).planned
        return [
            cell
            for cell in self.planned
            if self._baseline_of(cell) in planned and (self.against or cell.method != self.baseline)
        ]

    def _baseline_of(self, cell: Cell) -> Cell:
        return Cell(self.baseline, 0.0 if self.baseline == "dense" else cell.sparsity)

    @property
    def measure(self) -> str:
        """The error rate's name in columns of CSV files."""
        return self.measures[0]

    @property
    def measures(self) -> List[str]:
        """``measure``, and where it is of words, that of characters."""
        return list(measures_of(self.error))

    @property
    def classifies(self) -> bool:
        """Whether its models give sentences a class."""
        return self.error == "error rate"

    @property
    def drawn(self) -> str:
        """What the bootstrap draws: speakers, or sentences."""
        return "sentences" if self.classifies else "speakers"

    @property
    def cells(self) -> Dict[Cell, List[Run]]:
        """The finished runs of each cell, methods in the order of the paper."""
        cells: Dict[Cell, List[Run]] = {}
        for run in sorted(self.runs, key=lambda run: (*run.cell.order, run.seed)):
            cells.setdefault(run.cell, []).append(run)
        return cells

    @property
    def sparsities(self) -> List[float]:
        return sorted({cell.sparsity for cell in self.cells if cell.sparsity > 0})


def read_study(folder: Path) -> Study:
    """Read what the finished runs of a study left in ``folder``.

    A run with a damaged file counts as unfinished.

    Raises:
        OSError, ValueError: this is not the folder of a study; or a run is not what was planned, or
            differs from others of its method in more than sparsity and seed.
    """
    path = folder / "plan.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected the folder of a study")
    try:
        plan = json.loads(path.read_text())
        known = {*METHODS, *plan.get("own_methods", ())}
        planned = [_Planned(**run) for run in plan["runs"]]
        for run in planned:
            if run.method not in known:
                raise ValueError(f"{run.name}: method {run.method!r}, expected one of {METHODS}")
        study = Study(
            folder,
            recipe=plan["recipe"],
            overrides=plan["overrides"],
            splits=plan["splits"],
            error=error_of(plan["labels"]),
            planned=Counter(run.cell for run in planned),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the plan of a study ({error!r})") from None
    runs = folder / "runs"
    for run in tqdm(planned, "reading", unit="run", leave=False):
        take_run(study, run, study.splits, lambda run: _read_run(runs, run, study.splits))
    require_same_settings([(run.name, run.cell.method, run.log.config) for run in study.runs])
    for split in study.splits:
        _leave_out_other_utterances(study, split)
    return study


@dataclass(frozen=True)
class _Planned:
    name: str
    method: str
    sparsity: float
    seed: int
    chain: List[str]

    @property
    def cell(self) -> Cell:
        return Cell(self.method, self.sparsity)


def take_run(
    study: Any, run: Any, evaluations: Collection[str], read: Callable[[Any], Any]
) -> None:
    """Add a planned run to the finished ones of a study, or to the unfinished ones.

    Args:
        study: of one corpus or of several.
        run: its plan, with ``name`` and ``chain``.
        evaluations: names of its score files.
        read: returns the finished run.

    Raises:
        DiffersError: it is not what was planned.
    """
    try:
        lacks = _what_it_lacks(study.folder / "runs", run, evaluations)
        if not lacks:
            study.runs.append(read(run))
    except DiffersError:
        raise
    except (OSError, ValueError) as error:
        lacks = f"damaged: {' '.join(str(error).split())}"
    if lacks:
        study.unfinished.append((run.name, lacks))


def _what_it_lacks(runs: Path, run: Any, evaluations: Collection[str]) -> Optional[str]:
    for name in run.chain:
        folder = runs / name
        if not (folder / "model.pt").is_file():
            return how_far(folder) if name == run.name else f"waits for {name}"
    unscored = [how for how in evaluations if not is_scored(runs / run.name / f"{how}.txt")]
    return f"trained, but not scored on {', '.join(unscored)}" if unscored else None


def how_far(folder: Path) -> str:
    """How far the training of a run got, in words."""
    log, console = folder / "hydra_train.log", folder / "train.log"
    if not console.is_file():
        return "not started"
    errors = _ERROR.findall(console.read_text(errors="replace"))
    updates = read_log(log).updates if log.is_file() else 0
    return f"failed: {errors[-1]}" if errors else f"unfinished: {updates} updates logged"


def _read_run(runs: Path, run: _Planned, splits: List[str]) -> Run:
    folder = runs / run.name
    logs = [read_log(runs / name / "hydra_train.log") for name in run.chain]
    mask = Mask.load(folder / "mask.safetensors")
    require_as_planned(run.name, run.method, run.sparsity, run.seed, logs[-1].config, mask)
    seconds = [log.seconds for log in logs]
    facts = folder / "facts.json"
    return Run(
        name=run.name,
        cell=run.cell,
        seed=run.seed,
        trainings=len(run.chain),
        updates=sum(log.updates for log in logs),
        seconds=None if None in seconds else sum(seconds),
        sparsity=mask.sparsity,
        scores={split: read_score(folder / f"{split}.txt") for split in splits},
        log=logs[-1],
        mask_file=folder / "mask.safetensors",
        facts=json.loads(facts.read_text()) if facts.is_file() else {},
    )


def _leave_out_other_utterances(study: Study, split: str) -> None:
    """Error rates over different utterances are neither averaged nor subtracted."""
    counts = Counter(run.scores[split].utterances for run in study.runs)
    if len(counts) < 2:
        return
    usual = max(counts, key=lambda count: (counts[count], count))
    for run in [run for run in study.runs if run.scores[split].utterances != usual]:
        study.runs.remove(run)
        found = run.scores[split].utterances
        study.unfinished.append(
            (run.name, f"scored on {found} utterances of {split}, the other runs on {usual}")
        )
