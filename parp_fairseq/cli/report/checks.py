"""Checks that the labels of a study are what was run."""

import re
from collections import Counter
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from parp_fairseq.pruning import Mask

# What a method decides, beside its sparsity.
_OF_METHOD = {
    "task.adjust",
    "task.initial_sparsity",
    "task.mask_file",
    "task.method",
    "task.prune_criterion",
    "task.prune_rule",
    "task.sparsity",
    "task.sparsity_ramp",
}
# What the runs of one method may differ in.
_WITHIN_METHOD = {"task.initial_sparsity", "task.mask_file", "task.sparsity"}
# Where something is, and how it is logged; these do not decide the weights.
_PLACES = {
    "data",
    "save_dir",
    "finetune_from_model",
    "w2v_path",
    "user_dir",
    "log_file",
    "log_format",
    "log_interval",
    "tensorboard_logdir",
    "wandb_project",
    "num_workers",
    "device_id",
    "distributed_port",
    "distributed_init_method",
    "plasma_path",
    "results_path",
    "restore_file",
    "mask_file",
}


class DiffersError(ValueError):
    """A run is not what the study planned."""


def require_as_planned(
    name: str, method: str, sparsity: float, seed: int, config: Optional[Mapping], mask: Mask
) -> None:
    """Compare what was planned with the config of the training and with the zeros of the model.

    Raises:
        DiffersError: method, sparsity or seed differ; the message has both values.
    """
    if config is not None:
        task = config["task"]
        _compare(name, "seed", seed, config["common"]["seed"])
        trained = float(task.get("sparsity", 0.0))
        if abs(trained - sparsity) > 1e-9:
            _compare(name, "sparsity", sparsity, trained)
        methods = _methods_of(task)
        if methods and method not in methods and method in _KNOWN:
            _compare(name, "method", method, " or ".join(sorted(methods)))
    # Each tensor may round its share; a dense model may have zeros of its own.
    tolerance = 0.5 * len(mask) / max(mask.num_weights, 1) + 1e-9
    if method != "dense" and abs(mask.sparsity - sparsity) > tolerance:
        _compare(name, "sparsity", sparsity, round(mask.sparsity, 6), "its model has")


def _compare(
    name: str, what: str, planned: Any, found: Any, where: str = "it was trained with"
) -> None:
    if planned != found:
        raise DiffersError(
            f"{name}: the study planned {what} {planned}, and {where} {found}; "
            "the tables would be mislabelled, so there is no report"
        )


_KNOWN = {
    *("dense", "rp", "mpi", "omp", "imp", "parp", "parp_p"),
    *("s3_router", "s3_router_p", "bitfit"),
    *("wanda", "taylor", "snip", "movement", "fisher", "rigl"),
}
_FIXED = {"random": "rp", "magnitude": "mpi", "taylor": "snip"}  # criterion -> method


def _methods_of(task: Mapping[str, Any]) -> Set[str]:
    """The methods that these options of the task are; empty if none is known."""
    sparsity, initial = task.get("sparsity", 0.0), task.get("initial_sparsity")
    if not {"sparsity", "adjust", "prune_criterion"} <= task.keys():
        return set()
    rule, criterion = str(task.get("prune_rule", "parp")), str(task["prune_criterion"])
    if task.get("learn_mask"):
        return {"s3_router_p" if task.get("score_init") == "magnitude" else "s3_router"}
    if sparsity == 0:
        return {"bitfit" if task.get("trainable") == "bias" else "dense"}
    if not task["adjust"]:
        if task.get("mask_file"):
            return {"omp", "imp"}
        return {_FIXED.get(criterion, f"a fixed mask by {criterion}")}
    if rule != "parp":
        return {rule if rule == "rigl" else f"rule {rule}"}
    if criterion not in ("magnitude", "random"):
        return {criterion if criterion in _KNOWN else f"criterion {criterion}"}
    if initial is None:
        return {"parp"}
    return {"parp_p"} | ({"parp"} if initial == sparsity else set())


def require_same_settings(runs: Sequence[Tuple[str, str, Optional[Mapping]]]) -> None:
    """Raise DiffersError if runs of one method differ in more than sparsity, seed and paths.

    Args:
        runs: name, method and config of each.
    """
    first: Dict[str, Tuple[str, Dict[str, Any]]] = {}
    for name, method, config in runs:
        if config is None:
            continue
        settings = _settings(config, _WITHIN_METHOD)
        other, others = first.setdefault(method, (name, settings))
        for option in sorted(settings.keys() | others.keys()):
            a, b = others.get(option), settings.get(option)
            if a != b:
                raise DiffersError(
                    f"{other} and {name} cannot be averaged: {option} is {a} and {b}"
                )


def require_comparable(study: Any) -> None:
    """Raise ValueError if the study has no model to compare with, or one that was scored otherwise.

    Args:
        study: with its ``against`` and ``baseline``.
    """
    other, baseline = study.against or study, study.baseline
    if baseline != "dense" and not study.compared:
        methods = sorted({cell.method for cell in other.planned})
        raise ValueError(
            f"--baseline: {baseline}, expected a method of {other.folder} ({', '.join(methods)}), "
            f"at a sparsity at which {study.folder} has another one"
        )
    if other is study:
        return
    if not any(cell.method == baseline for cell in other.cells):
        raise ValueError(f"{other.folder} has no finished {baseline} model to compare with")
    first, second = study.runs[0], next(run for run in other.runs if run.cell.method == baseline)
    for split in study.splits:
        if split not in other.splits:
            raise ValueError(f"{other.folder} was not scored on {split}, as {study.folder} was")
        if _lengths(first.scores[split]) != _lengths(second.scores[split]):
            raise ValueError(
                f"{study.folder} and {other.folder} were scored on different utterances of {split}"
            )


def _lengths(score: Any) -> Dict[int, Tuple[int, int]]:
    return {number: (one.words, one.characters) for number, one in score.errors.items()}


def differences_of_methods(
    runs: Sequence[Tuple[str, str, Optional[Mapping]]],
) -> List[Tuple[str, Dict[str, Any]]]:
    """Options, except those that define a method, in which the methods differ: option -> values.

    Not in it: what other groups of fairseq's config take over from `optimization`, such as
    `optimizer.lr`.
    """
    by_method = {
        method: _settings(config, _OF_METHOD) for _, method, config in runs if config is not None
    }
    options = sorted({option for settings in by_method.values() for option in settings})
    found = {}
    for option in options:
        values = {method: settings.get(option) for method, settings in by_method.items()}
        if len(Counter(map(repr, values.values()))) > 1:
            found[option] = values
    return [(option, values) for option, values in found.items() if not _is_copy(option, found)]


def _is_copy(option: str, found: Mapping[str, Any]) -> bool:
    original = f"optimization.{option.rpartition('.')[2]}"
    return option != original and found[option] == found.get(original)


def _settings(config: Mapping[str, Any], left_out: Set[str]) -> Dict[str, Any]:
    values = dict(_flatten(config))
    return {
        option: _resolved(value, values)
        for option, value in values.items()
        if option not in left_out
        and not option.startswith("job_logging_cfg.")
        and option.rpartition(".")[2] not in _PLACES | {"seed"}
    }


def _resolved(value: Any, values: Mapping[str, Any]) -> Any:
    """The value that is meant: fairseq logs either `${group.option}` or what that option is.

    Which one depends on whether its models were imported before Hydra read the config.
    """
    refers = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    return values.get(refers[1], value) if refers else value


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[Tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
