"""What the overrides of a study may change: everything except what the study file decides itself.

A run is labelled with what the study planned. An override of a planned value would win over the
plan, and the labels would be wrong.
"""

import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

# Option -> the key of the study file that decides it.
_OWNED = {
    "task.sparsity": "sparsities",
    "method": "methods",
    "task._name": "methods",
    "model._name": "methods",
    "task.mask_file": "methods",
    "common.seed": "seeds",
    "task.seed": "seeds",
    "task.data": "data",
    "task.mask_per_corpus": "mask_per_corpus",
    "task.labels": "labels",
    "model.w2v_path": "encoder",
    "distributed_training.distributed_world_size": "gpus",
}
# How any method may prune. Some presets set these; a study of other methods may choose.
_OF_ANY_METHOD = ("task.prune_pattern", "task.prune_bias")
# What the Snakefile sets, so that it finds again what a training wrote, and the report can read it.
_FIXED = (
    "hydra",
    "checkpoint.save_dir",
    "checkpoint.restore_file",
    "checkpoint.finetune_from_model",
    "common.log_format",
    "common.log_file",
)


def with_own_methods(
    presets: Mapping[str, Mapping[str, Any]],
    own: Mapping[str, Mapping[str, Any]],
    methods: Sequence[str],
) -> dict[str, Mapping[str, Any]]:
    """The presets of recipes/method/ and those that the study file defines.

    Args:
        presets: name of a method -> its options, such as ``task.adjust``.
        own: the same, of the study file.
        methods: those of the study.

    Raises:
        ValueError: a name is taken or unknown, or an option is one that a method cannot set.
    """
    for method, options in own.items():
        if method in presets:
            raise ValueError(f"presets: {method!r} is the name of a method of recipes/method/")
        _require_undecided(f"presets: {method!r}", options, _OWNED)
    known = {**presets, **own}
    for method in methods:
        if method not in known:
            raise ValueError(
                f"methods: {method!r} is not one of {', '.join(presets)}, or of `presets`"
            )
    return known


def _require_undecided(where: str, options: Iterable[str], decided: Container[str]) -> None:
    for option in options:
        if option in decided or option.startswith(_FIXED):
            raise ValueError(f"{where} sets {option}, which the study decides for each run")


def check_options_by_method(
    options_by_method: Mapping[str, Mapping[str, Any]],
    presets: Mapping[str, Mapping[str, Any]],
    methods: Sequence[str],
) -> None:
    """Raise ValueError if a method is not in the study, or an option is not free for it.

    Args:
        options_by_method: method -> options that it has in the place of the study's overrides.
        presets: name of a method -> its options, such as ``task.adjust``.
        methods: those of the study. The dense model, which OMP and IMP build on, may be missing.
    """
    for method, options in options_by_method.items():
        if method not in methods and method != "dense":
            raise ValueError(f"options_by_method has {method}, which is not one of methods")
        decided = {*_OWNED, *presets[method]}
        _require_undecided(f"options_by_method: {method!r}", options, decided)


def code_digest(overrides: Iterable[Override]) -> int:
    """A number that changes with the Python files in the override ``common.user_dir``."""
    folder, digest = Path(str(value_of(overrides, "common.user_dir", ""))), 0
    if folder.is_absolute():
        for path in sorted(folder.rglob("*.py")):
            digest = zlib.crc32(path.read_bytes(), zlib.crc32(path.name.encode(), digest))
    return digest


def parse(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides with Hydra's grammar.

    Raises:
        ValueError: Hydra cannot parse one, or it is a sweep.
    """
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise ValueError(f"overrides: {text!r}: {str(error).splitlines()[0]}") from None
        if override.is_sweep_override():
            raise ValueError(f"overrides: {text!r} has several values: expected one")
        parsed.append(override)
    return parsed


def require_free(
    overrides: Iterable[Override], presets: Mapping[str, Mapping[str, Any]], methods: Sequence[str]
) -> None:
    """Raise ValueError if an override changes what the study file or the Snakefile decides.

    Args:
        overrides: what the study file says.
        presets: name of a method -> its options, such as ``task.adjust``.
        methods: those of the study.
    """
    of_presets = {
        key: "methods"
        for method, preset in presets.items()
        for key in preset
        if method in methods or key not in _OF_ANY_METHOD
    }
    owned = {**_OWNED, **{k: v for k, v in of_presets.items() if k not in _OWNED}}
    if list(methods) == ["parp_p"]:
        del owned["task.initial_sparsity"]  # where all runs are PARP-P, it tells none apart
    for override in overrides:
        key = override.key_or_group.replace("/", ".")  # hydra/job_logging is a group of hydra
        for option in [*owned, *_FIXED]:
            # task={...} changes task.sparsity, and hydra.run.dir is a part of hydra.
            if key == option or option.startswith(f"{key}.") or key.startswith(f"{option}."):
                decides = f"`{owned[option]}` of the study file" if option in owned else "the study"
                raise ValueError(
                    f"overrides: {override.input_line!r} changes {option}, which {decides} decides"
                )


def value_of(overrides: Iterable[Override], option: str, default: Any) -> Any:
    """The value that the last override of ``option`` gives it."""
    values = [one.value() for one in overrides if one.key_or_group == option]
    return values[-1] if values else default
