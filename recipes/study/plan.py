"""The runs of a study: which there are, and which needs which."""

import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

# What the study file says about each of its trainings.
_OF_ALL = ("encoder", "data", "prepare", "labels", "overrides", "gpus")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        settings: digest of everything else that decides the weights.
        preset: the options of a method that the study file defines; None for those of
            recipes/method/.
        mask_from: the run whose finetuned weights choose the mask (OMP, IMP).
        weights_from: the run whose finetuned weights it starts from (S3-Router-P).
        own_options: of its method, in the place of the study's overrides.
    """

    method: str
    sparsity: float
    seed: int
    settings: str
    mask_from: Optional["Run"] = None
    weights_from: Optional["Run"] = None
    preset: Optional[tuple[str, ...]] = None
    own_options: tuple[str, ...] = ()

    @property
    def built_on(self) -> Optional["Run"]:
        """The training that must come before this one."""
        return self.mask_from or self.weights_from

    @property
    def name(self) -> str:
        """Differs where the settings of this training, or of one that it builds on, differ."""
        key = digest(self.settings, self.built_on and self.built_on.name)
        return f"{self.method}-{exact(self.sparsity)}-seed{self.seed}-{key}"

    @property
    def chain(self) -> list["Run"]:
        """The trainings that it takes, from the first to this one."""
        return [*(self.built_on.chain if self.built_on else []), self]

    @property
    def options(self) -> list[str]:
        """Its options for fairseq-hydra-train, except for files of other runs."""
        preset = [f"+method={self.method}"] if self.preset is None else self.preset
        options = [*preset, *self.own_options, f"common.seed={self.seed}"]
        return options + ([f"task.sparsity={exact(self.sparsity)}"] if self.sparsity else [])


def plan(study: Mapping[str, Any], config: Mapping[str, Any], version: str) -> list[Run]:
    """The runs that are scored. With their chains they are all runs; shared ones appear once.

    Args:
        study: the study file.
        config: method -> the composed config of its trainings (:func:`composed.compose`).
        version: of the plugin, and of the code of the study's own user dir.

    Raises:
        ValueError: a run that cannot succeed.
    """
    of_method = study.get("sparsities_by_method") or {}
    unknown = sorted(set(of_method) - set(study["methods"]))
    if unknown:
        raise ValueError(f"sparsities_by_method has {unknown[0]}, which is not one of methods")
    sparsities = {method: of_method.get(method, study["sparsities"]) for method in study["methods"]}
    rounds = study.get("imp_rounds") or sparsities.get("imp", [])
    missed = sorted(set(sparsities.get("imp", [])) - set(rounds))
    if missed:
        raise ValueError(f"imp_rounds is {rounds}: expected all of sparsities, also {missed}")
    of_all = [study.get(key) for key in _OF_ALL]
    settings = {method: digest(config[method], version, *of_all) for method in config}
    presets, own = (
        {method: as_overrides(options) for method, options in study.get(key, {}).items()}
        for key in ("presets", "options_by_method")
    )

    def run_of(method: str, sparsity: float, seed: int, **start: Optional[Run]) -> Run:
        options = {"preset": presets.get(method), "own_options": own.get(method, ())}
        return Run(method, sparsity, seed, settings[method], **start, **options)

    runs = []
    for seed in study["seeds"]:
        dense = last = run_of("dense", 0.0, seed)
        imp = {}
        for sparsity in sorted(rounds):
            last = imp[sparsity] = run_of("imp", sparsity, seed, mask_from=last)
        for method in study["methods"]:
            if method == "dense":
                runs.append(dense)
            elif method == "imp":
                runs += [imp[sparsity] for sparsity in sparsities["imp"]]
            elif config[method]["task"]["sparsity"] == 0:
                runs.append(run_of(method, 0.0, seed))
            else:
                mask_from = dense if method == "omp" else None
                # In recipes for text this option is the encoder. S3-Router-P has another value.
                origin, usual = (
                    config[one]["checkpoint"].get("finetune_from_model")
                    for one in (method, "dense")
                )
                weights_from = dense if origin != usual else None
                runs += [
                    run_of(method, s, seed, mask_from=mask_from, weights_from=weights_from)
                    for s in sparsities[method]
                ]
    for link in dict.fromkeys(link for run in runs for link in run.chain):
        if link.sparsity:
            _require_possible(link, config[link.method])
    return runs


def as_overrides(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Options as overrides for the command line of Hydra."""
    return tuple(f"++{option}={json.dumps(value)}" for option, value in options.items())


def _require_possible(run: Run, config: Mapping[str, Any]) -> None:
    task, cell = config["task"], f"{run.method} at sparsity {exact(run.sparsity)} cannot be trained"
    initial, pattern = task["initial_sparsity"], str(task["prune_pattern"])
    if initial is not None and initial > run.sparsity:
        raise ValueError(
            f"{cell}: its initial_sparsity is {initial}, expected sparsities of at least {initial}"
        )
    kept = re.fullmatch(r"(\d+):(\d+)", pattern)
    if kept and initial is not None:
        raise ValueError(f"{cell}: prune_pattern {pattern} has the same sparsity from the start")
    share = 1 - int(kept[1]) / int(kept[2]) if kept else run.sparsity
    if not math.isclose(share, run.sparsity):
        raise ValueError(f"{cell}: prune_pattern {pattern} prunes a share of {share}")
    ramp, limit = task.get("ramp_updates"), config["optimization"]["max_update"]
    if initial is not None and ramp and ramp > limit:
        raise ValueError(f"{cell}: ramp_updates is {ramp}, expected at most max_update, {limit}")


def evaluations(study: Mapping[str, Any]) -> list[str]:
    """How each model is scored: greedily on SPLIT, and as SPLIT+DECODER. The main one is last."""
    return [
        split + decoder
        for split in study["splits"]
        for decoder in (*(f"+{name}" for name in study["decoders"]), "")
    ]


def to_json(scored: Sequence[Run], study: Mapping[str, Any]) -> str:
    """What `parp report` needs to know: the runs of the study, and the trainings of each."""
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
    told = {key: study[key] for key in ("recipe", "labels", "overrides")}
    told["splits"] = evaluations(study)
    if study.get("presets"):
        told["own_methods"] = sorted(study["presets"])
    return json.dumps({**told, "runs": runs}, indent=1) + "\n"


def mask_options(task: Mapping[str, Any]) -> list[str]:
    """Options of `parp mask` for a mask over the weights that the trainings prune."""
    options = [f"--scope={task['prune_scope']}", f"--pattern={task['prune_pattern']}"]
    return options + ([] if task["prune_bias"] else ["--no-bias"])


def post_process(labels: str) -> list[str]:
    """Options of fairseq-generate that turn units into words; phones stay as they are."""
    units = {"ltr": "letter", "spm": "sentencepiece"}
    return ["--post-process", units[labels]] if labels in units else []


def exact(number: float) -> str:
    """The shortest text that reads as the same number: 0, 0.5, 0.6666666666666666."""
    return f"{number:g}" if float(f"{number:g}") == number else repr(number)


def digest(*options: Any) -> str:
    """Eight characters that differ where the options do."""
    return f"{zlib.crc32(json.dumps(options, sort_keys=True).encode()):08x}"
