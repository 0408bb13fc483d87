"""The pre-trained encoder: errors in its file or its settings are found before it is built.

fairseq would find them later, or stop at an assertion that names neither the option nor the file.
It also gives a setting of the encoder, ``conv_feature_layers``, to Python's ``eval``.
"""

import argparse
import ast
from pathlib import Path
from typing import Any, Mapping

import torch
from fairseq.file_io import PathManager
from fairseq.tasks import TASK_REGISTRY
from omegaconf import OmegaConf
from torch import Tensor

from parp_fairseq.pruning.plain_file import load_plain
from parp_fairseq.pruning.weights import without_teacher

from .kinds import KINDS, Kind, kind_of_encoder, kind_of_finetuned, registered
from .masked import Masked

_LITERALS = (ast.Expression, ast.List, ast.Tuple, ast.BinOp, ast.Add, ast.Mult, ast.Load)


def require_ctc(cfg: Any, masked: bool = False) -> Kind:
    """The kind of encoder that the model of ``cfg`` finetunes.

    Args:
        cfg: settings of a model.
        masked: whether it must be one of the masked models, as in training.

    Raises:
        ValueError: it is no CTC model of a known kind, or is not masked.
    """
    name = getattr(cfg, "_name", None) or getattr(cfg, "arch", None)
    kind = kind_of_finetuned(name)
    if kind is None:
        expected = " or ".join(f"{k.wrapper} (for {' or '.join(k.encoders)})" for k in KINDS)
        raise ValueError(f"model._name is {name!r}, expected {expected}")
    if masked and not issubclass(registered(name), Masked):
        raise ValueError(
            f"model._name is {name!r}, which cannot be pruned: write model._name={kind.wrapper} "
            f"(or --arch {kind.wrapper})"
        )
    return kind


def require_encoder(cfg: Any) -> None:
    """Raise where the encoder of ``cfg``, of a CTC model, cannot or must not be built.

    Raises:
        FileNotFoundError: ``w2v_path`` is where fairseq would read the encoder, and there is none.
        ValueError: file or settings are not those of a pre-trained encoder that the model takes, or
            hold code.
    """
    kind = require_ctc(cfg)
    w2v_args = getattr(cfg, "w2v_args", None)
    if w2v_args is not None:
        require_settings(w2v_args, kind, "w2v_args, the settings of the checkpoint's encoder:")
        return
    if OmegaConf.is_missing(cfg, "w2v_path") or cfg.w2v_path is None:
        raise ValueError(f"model.w2v_path is not given, expected a file of {kind.expected}")
    path = Path(PathManager.get_local_path(cfg.w2v_path))
    where = f"model.w2v_path is {cfg.w2v_path}:"
    state = _read(path, where)
    lacking = [key for key in ("model", "optimizer_history", "extra_state") if key not in state]
    if lacking:
        raise ValueError(
            f"{where} it holds a dict with {_some(state)} but without {_some(lacking)}, expected "
            "a checkpoint that fairseq wrote"
        )
    settings = state.get("args") if state.get("args") is not None else state.get("cfg")
    normalize = require_settings(settings, kind, where)
    if bool(normalize) != cfg.normalize:
        raise ValueError(
            f"task.normalize is {cfg.normalize}, but the encoder {cfg.w2v_path} was pre-trained "
            f"with {normalize}: expected task.normalize={str(normalize).lower()}"
        )
    if kind.task == "hubert_pretraining" and "dictionaries" not in (state.get("task_state") or {}):
        raise ValueError(
            f"{where} it lacks the dictionaries of its cluster targets, expected 'dictionaries' "
            "under 'task_state', where fairseq saves them in pre-training"
        )
    _require_finite(state["model"], where)


def _read(path: Path, where: str) -> Mapping[str, Any]:
    """The dict that ``torch.save`` wrote; its tensors stay in the file."""
    if path.is_dir():
        raise ValueError(f"{where} that is a folder, expected a file")
    if not path.is_file():
        raise FileNotFoundError(f"{where} that file does not exist")
    if path.stat().st_size == 0:
        raise ValueError(f"{where} that file is empty")
    try:
        state = load_plain(path)
    except ValueError as error:
        raise ValueError(f"{where} that file is refused: {error}") from None
    if not isinstance(state, Mapping):
        raise ValueError(
            f"{where} it holds an object of type {type(state).__name__}, expected a checkpoint, "
            "which is a dict with 'model' in it"
        )
    return state


def require_settings(settings: Any, kind: Kind, where: str) -> Any:
    """Whether the encoder takes normalised audio.

    Raises:
        ValueError: ``settings`` are not those of an encoder of this kind, or hold code.
    """
    if isinstance(settings, argparse.Namespace):
        model = task = vars(settings)
        model_name, task_name = model.get("arch"), task.get("task")
    else:
        model, task = (_section(settings, name, where) for name in ("model", "task"))
        model_name, task_name = model.get("_name"), task.get("_name")
    _require_kind(model_name, kind, where)
    if not issubclass(TASK_REGISTRY.get(str(task_name), object), kind.task_class):
        raise ValueError(
            f"{where} its task is {task_name!r}, expected {kind.task} or a registered subclass of "
            f"{kind.task_class.__name__}"
        )
    if not _is_literal(model.get("conv_feature_layers", "[]")):
        raise ValueError(
            f"{where} conv_feature_layers is {str(model['conv_feature_layers'])[:99]!r}, expected "
            "lists of tuples of whole numbers, joined by + and *"
        )
    return task.get("normalize", model.get("normalize", False))


def _require_kind(name: Any, kind: Kind, where: str) -> None:
    if kind.takes(name):
        return
    found = f"{where} it holds the model {name!r}"
    other = kind_of_encoder(name)
    if other is not None:
        raise ValueError(
            f"{found}, which {kind.wrapper} does not take: write model._name={other.wrapper} "
            f"(or --arch {other.wrapper})"
        )
    if registered(name) is None:
        raise ValueError(
            f"{found}, which is not registered with fairseq: expected {kind.expected} (its user "
            "dir must import parp_fairseq, and common.user_dir or --user-dir must name it)"
        )
    finetuned = "; see checkpoint.finetune_from_model" if kind_of_finetuned(name) else ""
    raise ValueError(f"{found}, expected {kind.expected}{finetuned}")


def _section(settings: Any, name: str, where: str) -> Mapping[str, Any]:
    section = settings.get(name) if isinstance(settings, Mapping) else None
    if isinstance(section, argparse.Namespace):
        section = vars(section)
    if not isinstance(section, Mapping):
        raise ValueError(
            f"{where} its settings hold no {name!r}, expected 'args' or 'cfg' of a pre-trained "
            "encoder"
        )
    return section


def _is_literal(text: Any) -> bool:
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, TypeError, ValueError, RecursionError):
        return False
    return all(
        type(node.value) is int if isinstance(node, ast.Constant) else isinstance(node, _LITERALS)
        for node in nodes
    )


def _require_finite(weights: Any, where: str) -> None:
    if not isinstance(weights, Mapping):
        raise ValueError(
            f"{where} 'model' is of type {type(weights).__name__}, expected names and tensors"
        )
    for name, weight in without_teacher(weights).items():
        if not isinstance(weight, Tensor):
            found = type(weight).__name__
            raise ValueError(f"{where} {name} is of type {found}, expected a tensor")
        # Not isfinite(): the least and the greatest need no memory.
        is_ranked = weight.is_floating_point() and weight.numel() > 0
        if is_ranked and not all(map(torch.isfinite, weight.aminmax())):
            raise ValueError(f"{where} {name} holds values that are infinite or not a number")


def _some(names: Any) -> str:
    return ", ".join(map(repr, list(names)[:3])) or "nothing"
