"""What the folder of a study holds: its runs, those that are finished and those that are not."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from tqdm import tqdm

from parp_fairseq.pruning import Mask

TITLES = {
    "dense": "dense",
    "rp": "RP",
    "mpi": "MPI",
    "omp": "OMP",
    "imp": "IMP",
    "parp": "PARP",
    "parp_p": "PARP-P",
}
METHODS = tuple(TITLES)  # in the order of the paper

_WER = re.compile(r"^Generate .*\bWER: ([\d.]+)$", re.MULTILINE)
_UPDATES = re.compile(r'num_updates": "(\d+)"')
_ERROR = re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt)\b.*", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A method at a sparsity."""

    method: str
    sparsity: float

    @property
    def order(self) -> Tuple[int, float]:
        return METHODS.index(self.method), self.sparsity


@dataclass(frozen=True)
class Pruned:
    """What training logged of the last prune.

    Attributes:
        update: optimizer updates done.
        revived: share of the prunable weights that it brought back.
        mask_iou: IoU with the initial mask.
    """

    update: int
    sparsity: float
    revived: float
    mask_iou: float


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        trainings: how many finetunings it took, with those that made its mask.
        updates: of all of them together.
        sparsity: share of zeros among the prunable weights of its model, counted.
        error_rate: in percent, by split.
        utterances: how many were scored, by split.
        history: what pruning logged, in order; empty for dense.
        mask_file: of these zeros.
    """

    name: str
    cell: Cell
    seed: int
    trainings: int
    updates: int
    sparsity: float
    error_rate: Dict[str, float]
    utterances: Dict[str, int]
    history: List[Pruned]
    mask_file: Path


@dataclass
class Study:
    """A study as it stands.

    Attributes:
        error: what its error rate counts: WER of words, PER of phones.
        planned: how many seeds each cell is to have.
        runs: those that are finished.
        unfinished: name of every other run, and how far it got.
    """

    folder: Path
    recipe: str
    overrides: List[str]
    splits: List[str]
    error: str
    planned: Dict[Cell, int]
    runs: List[Run] = field(default_factory=list)
    unfinished: List[Tuple[str, str]] = field(default_factory=list)

    @property
    def cells(self) -> Dict[Cell, List[Run]]:
        """The finished runs of each cell, methods in the order of the paper."""
        cells: Dict[Cell, List[Run]] = {}
        for run in sorted(self.runs, key=lambda run: (*run.cell.order, run.seed)):
            cells.setdefault(run.cell, []).append(run)
        return cells

    @property
    def sparsities(self) -> List[float]:
        return sorted({cell.sparsity for cell in self.cells if cell.method != "dense"})


def read_study(folder: Path) -> Study:
    """Reads what the finished runs of a study left in ``folder``.

    Raises:
        OSError, ValueError: it is no study, or a file in it is damaged; the message names the file.
    """
    path = folder / "plan.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected the folder of a study")
    try:
        plan = json.loads(path.read_text())
        planned = [_Planned(**run) for run in plan["runs"]]
        study = Study(
            folder,
            recipe=plan["recipe"],
            overrides=plan["overrides"],
            splits=plan["splits"],
            error="PER" if plan["labels"] == "phn" else "WER",
            planned=Counter(run.cell for run in planned),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no plan of a study ({error!r})") from None
    for run in tqdm(planned, "reading", unit="run", leave=False):
        lacks = _what_it_lacks(folder / "runs", run, study.splits)
        if lacks:
            study.unfinished.append((run.name, lacks))
        else:
            study.runs.append(_read_run(folder / "runs", run, study.splits))
    return study


@dataclass(frozen=True)
class _Planned:
    name: str
    method: str
    sparsity: float
    seed: int
    chain: List[str]

    def __post_init__(self):
        if self.method not in METHODS:
            raise ValueError(f"{self.name}: method {self.method!r}, expected one of {METHODS}")

    @property
    def cell(self) -> Cell:
        return Cell(self.method, self.sparsity)


def _what_it_lacks(runs: Path, run: _Planned, splits: List[str]) -> Optional[str]:
    for name in run.chain:
        folder = runs / name
        if not (folder / "model.pt").is_file():
            return _how_far(folder) if name == run.name else f"waits for {name}"
    unscored = [split for split in splits if not _read_error_rate(runs / run.name, split)]
    return f"trained, but not scored on {', '.join(unscored)}" if unscored else None


def _how_far(folder: Path) -> str:
    log, console = folder / "hydra_train.log", folder / "train.log"
    if not console.is_file():
        return "not begun"
    errors = _ERROR.findall(console.read_text(errors="replace"))
    updates = _count_updates(log) if log.is_file() else 0
    return f"failed: {errors[-1]}" if errors else f"unfinished: {updates} updates logged"


def _read_run(runs: Path, run: _Planned, splits: List[str]) -> Run:
    folder = runs / run.name
    rates = {split: _read_error_rate(folder, split) for split in splits}
    return Run(
        name=run.name,
        cell=run.cell,
        seed=run.seed,
        trainings=len(run.chain),
        updates=sum(_count_updates(runs / name / "hydra_train.log") for name in run.chain),
        sparsity=Mask.load(folder / "mask.safetensors").sparsity,
        error_rate={split: rate for split, (rate, _) in rates.items()},
        utterances={split: count for split, (_, count) in rates.items()},
        history=_read_history(folder / "hydra_train.log"),
        mask_file=folder / "mask.safetensors",
    )


def _read_error_rate(folder: Path, split: str) -> Optional[Tuple[float, int]]:
    """The error rate that fairseq-generate printed last, and the number of utterances."""
    path = folder / f"{split}.txt"
    text = path.read_text(errors="replace") if path.is_file() else ""
    found = _WER.findall(text)
    return (float(found[-1]), len(re.findall("^H-", text, re.MULTILINE))) if found else None


def _count_updates(log: Path) -> int:
    return max(map(int, _UPDATES.findall(log.read_text(errors="replace"))), default=0)


def _read_history(log: Path) -> List[Pruned]:
    history: Dict[int, Pruned] = {}  # after a resume updates come a second time
    for line in log.read_text(errors="replace").splitlines():
        _, _, text = line.partition("[train_inner][INFO] - ")
        try:
            stats: Dict[str, Any] = json.loads(text)
        except ValueError:  # another line, or cut short by a full disk: a resume logs it again
            continue
        if "revived" in stats:
            update = int(stats["num_updates"])
            history[update] = Pruned(
                update,
                float(stats["sparsity"]),
                float(stats["revived"]),
                float(stats["mask_iou"]),
            )
    return [history[update] for update in sorted(history)]
