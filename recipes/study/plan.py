"""The runs of a study: which there are, and which needs which."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

# What the study file says of each of its trainings.
_OF_ALL = ("recipe", "encoder", "data", "prepare", "labels", "overrides", "gpus")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        settings: digest of what it has in common with all trainings of the study.
        mask_from: the run whose finetuned weights choose the mask (OMP, IMP).
    """

    method: str
    sparsity: float
    seed: int
    settings: str
    mask_from: Optional["Run"] = None

    @property
    def name(self) -> str:
        """Another one where the study file says other things of it, or of a training before it."""
        key = digest(self.settings, self.mask_from and self.mask_from.name)
        return f"{self.method}-{self.sparsity:g}-seed{self.seed}-{key}"

    @property
    def chain(self) -> list["Run"]:
        """The trainings that it takes, from the first to this one."""
        return [*(self.mask_from.chain if self.mask_from else []), self]

    @property
    def options(self) -> list[str]:
        """What sets it apart for fairseq-hydra-train, but for the mask."""
        options = [f"+method={self.method}", f"common.seed={self.seed}"]
        return options + ([f"task.sparsity={self.sparsity:g}"] if self.method != "dense" else [])


def plan(study: Mapping[str, Any]) -> list[Run]:
    """The runs that are scored; with their chains they are all there are, shared ones once.

    Raises:
        ValueError: a sparsity that IMP does not come by.
    """
    rounds = study.get("imp_rounds") or study["sparsities"]
    missed = sorted(set(study["sparsities"]) - set(rounds))
    if missed and "imp" in study["methods"]:
        raise ValueError(f"imp_rounds: {rounds}, expected all of sparsities, {missed} too")
    settings = digest(*(study.get(key) for key in _OF_ALL))
    runs = []
    for seed in study["seeds"]:
        dense = last = Run("dense", 0.0, seed, settings)
        imp = {}
        for sparsity in sorted(rounds):
            last = imp[sparsity] = Run("imp", sparsity, seed, settings, last)
        for method in study["methods"]:
            if method == "dense":
                runs.append(dense)
            elif method == "imp":
                runs += [imp[sparsity] for sparsity in study["sparsities"]]
            else:
                mask_from = dense if method == "omp" else None
                runs += [Run(method, s, seed, settings, mask_from) for s in study["sparsities"]]
    return runs


def to_json(scored: Sequence[Run], study: Mapping[str, Any]) -> str:
    """What `parp report` needs to know of a study: its runs, and the chain of trainings of each."""
    runs = [
        {
            "name": run.name,
            "method": run.method,
            "sparsity": run.sparsity,
            "seed": run.seed,
            "chain": [link.name for link in run.chain],
        }
        for run in scored
    ]
    told = {key: study[key] for key in ("recipe", "labels", "splits", "overrides")}
    return json.dumps({**told, "runs": runs}, indent=1) + "\n"


def mask_options(overrides: Sequence[str]) -> list[str]:
    """Options of `parp mask`, so that it prunes what the trainings prune."""
    given = dict(override.split("=", 1) for override in overrides)
    options = []
    for key, option in (("task.prune_scope", "--scope"), ("task.prune_pattern", "--pattern")):
        if key in given:
            options += [option, given[key]]
    if given.get("task.prune_bias", "true").lower() == "false":
        options.append("--no-bias")
    return options


def post_process(labels: str) -> list[str]:
    """Options of fairseq-generate that turn units into words; phones stay as they are."""
    units = {"ltr": "letter", "spm": "sentencepiece"}
    return ["--post-process", units[labels]] if labels in units else []


def digest(*options: Any) -> str:
    """Eight characters that differ where the options do."""
    return f"{zlib.crc32(json.dumps(options).encode()):08x}"
