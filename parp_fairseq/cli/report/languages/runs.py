"""What the folder of a study over several corpora holds: its finished runs, and why others miss."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from tqdm import tqdm

from parp_fairseq.cli.report.checks import require_as_planned
from parp_fairseq.cli.report.logs import read_log
from parp_fairseq.cli.report.runs import error_of, measures_of, take_run
from parp_fairseq.cli.report.scores import Score, read_score
from parp_fairseq.pruning import Mask


@dataclass(frozen=True)
class Planned:
    """A run of the plan.

    Attributes:
        chain: the trainings that it takes, from the first to this one.
        kind: ``alone`` (trains on a corpus), ``moved`` (trains on a corpus with the fixed mask of
            one), ``joint`` (trains on all with one mask), ``each`` (with a mask for each).
        corpus: what it trains on.
        mask_corpus: where its fixed mask comes from, if it has one.
        drawn: how the corpora of a joint training are drawn.
        scores: name of a score file -> corpus and split.
    """

    name: str
    method: str
    sparsity: float
    seed: int
    chain: List[str]
    kind: str
    corpus: str
    mask_corpus: Optional[str]
    drawn: str
    scores: Dict[str, List[str]]


@dataclass(frozen=True)
class LanguageRun:
    """A finished run.

    Attributes:
        plan: what was planned.
        data: the folder of manifests that it trained on.
        scores: (corpus, split) -> score; the split has its decoder, as SPLIT+DECODER.
        manifests: (corpus, split) -> name of the manifest of its score, in ``data``.
        masks: corpus -> file with the mask of its subnetwork.
        facts: counts over the whole model.
    """

    plan: Planned
    data: Path
    scores: Dict[Tuple[str, str], Score]
    manifests: Dict[Tuple[str, str], str]
    masks: Dict[str, Path]
    facts: Dict[str, Any]


@dataclass
class LanguageStudy:
    """A study as it is now.

    Attributes:
        corpora: their names.
        splits: what is scored; the last one counts.
        error: the error rate's name: WER (words), PER (phones), or error rate (classes).
        planned: all runs.
        runs: the finished ones.
        unfinished: name of every other run, and the reason.
    """

    folder: Path
    recipe: str
    overrides: List[str]
    corpora: List[str]
    splits: List[str]
    error: str
    planned: List[Planned]
    runs: List[LanguageRun] = field(default_factory=list)
    unfinished: List[Tuple[str, str]] = field(default_factory=list)

    @property
    def measures(self) -> Dict[str, str]:
        """Name in CSV files -> title."""
        return measures_of(self.error)

    @property
    def seeds(self) -> int:
        """How many each training is to have."""
        return len({run.seed for run in self.planned})

    @property
    def split(self) -> str:
        """The one that the pages show."""
        return self.splits[-1]


def is_of_languages(folder: Path) -> bool:
    """Whether the folder is of a study over several corpora."""
    try:
        return "corpora" in json.loads((folder / "plan.json").read_text())
    except (OSError, ValueError):
        return False


def read_languages(folder: Path) -> LanguageStudy:
    """Read what the finished runs left in ``folder``; a damaged one counts as unfinished.

    Raises:
        OSError, ValueError: this is not the folder of such a study, or a run is not what was
            planned.
    """
    path = folder / "plan.json"
    try:
        plan = json.loads(path.read_text())
        study = LanguageStudy(
            folder,
            plan["recipe"],
            plan["overrides"],
            plan["corpora"],
            plan["splits"],
            error_of(plan["labels"]),
            [Planned(**run) for run in plan["runs"]],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the plan of a study ({error!r})") from None
    runs = folder / "runs"
    for planned in tqdm(study.planned, "reading", unit="run", leave=False):
        take_run(study, planned, planned.scores, lambda run: _read_run(runs, run, study.corpora))
    return study


def _read_run(runs: Path, planned: Planned, corpora: List[str]) -> LanguageRun:
    folder = runs / planned.name
    config = read_log(folder / "hydra_train.log").config
    one_mask = folder / "mask.safetensors"
    if planned.kind == "each":
        masks = {corpus: folder / f"mask_{corpus}.safetensors" for corpus in corpora}
    else:
        # Of a joint training, the mask serves all corpora.
        masks = dict.fromkeys(corpora if planned.kind == "joint" else [planned.corpus], one_mask)
    method = "omp" if planned.kind == "moved" else planned.method
    for path in dict.fromkeys(masks.values()):
        require_as_planned(
            planned.name, method, planned.sparsity, planned.seed, config, Mask.load(path)
        )
    facts = folder / "facts.json"
    scores, manifests = {}, {}
    for how, (corpus, split) in planned.scores.items():
        manifest, plus, decoder = how.partition("+")
        scores[corpus, split + plus + decoder] = read_score(folder / f"{how}.txt")
        manifests[corpus, split + plus + decoder] = manifest
    return LanguageRun(
        planned,
        Path(str(config["task"].get("data", ""))) if config else Path(),
        scores,
        manifests,
        masks,
        json.loads(facts.read_text()) if facts.is_file() else {},
    )
