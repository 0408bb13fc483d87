"""The pre-trained encoder: what is wrong with its file or its settings, told before it is built.

fairseq would tell late, or with an assertion that names neither the option nor the file. And it
gives a setting of the encoder, ``conv_feature_layers``, to Python's ``eval``.
"""

import argparse
import ast
from pathlib import Path
from typing import Any, Mapping

import torch
from fairseq.file_io import PathManager
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.models.wav2vec import Wav2VecCtc
from fairseq.tasks import TASK_REGISTRY
from fairseq.tasks.audio_pretraining import AudioPretrainingTask
from omegaconf import OmegaConf
from torch import Tensor

from parp_fairseq.pruning.plain_file import load_plain

_LITERALS = (ast.Expression, ast.List, ast.Tuple, ast.BinOp, ast.Add, ast.Mult, ast.Load)


def require_ctc(cfg: Any) -> None:
    """Raise ValueError where ``cfg``, of a model, is of no ``wav2vec_ctc``."""
    name = getattr(cfg, "_name", None) or getattr(cfg, "arch", None)
    if not issubclass(ARCH_MODEL_REGISTRY.get(str(name), object), Wav2VecCtc):
        raise ValueError(
            f"task parp is for parp_wav2vec_ctc and wav2vec_ctc, found the model {name!r}"
        )


def require_encoder(cfg: Any) -> None:
    """Raise where the encoder of ``cfg``, of a ``wav2vec_ctc``, cannot or must not be built.

    Raises:
        FileNotFoundError: ``w2v_path`` is where fairseq would read the encoder, and there is none.
        ValueError: file or settings are not those of a pre-trained wav2vec 2.0, or hold code.
    """
    w2v_args = getattr(cfg, "w2v_args", None)
    if w2v_args is not None:
        require_wav2vec2(w2v_args, "w2v_args, the settings of the checkpoint's encoder:")
        return
    if OmegaConf.is_missing(cfg, "w2v_path") or cfg.w2v_path is None:
        raise ValueError("model.w2v_path is not given, expected a file of a wav2vec 2.0")
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
    normalize = require_wav2vec2(settings, where)
    if bool(normalize) != cfg.normalize:
        raise ValueError(
            f"task.normalize is {cfg.normalize}, but the encoder {cfg.w2v_path} was pre-trained "
            f"with {normalize}: expected task.normalize={str(normalize).lower()}"
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


def require_wav2vec2(settings: Any, where: str) -> Any:
    """Whether the encoder wants normalised audio; ValueError if it is no wav2vec 2.0."""
    if isinstance(settings, argparse.Namespace):
        model = task = vars(settings)
        model_name, task_name = model.get("arch"), task.get("task")
    else:
        model, task = (_section(settings, name, where) for name in ("model", "task"))
        model_name, task_name = model.get("_name"), task.get("_name")
    if model_name != "wav2vec2":
        finetuned = issubclass(ARCH_MODEL_REGISTRY.get(str(model_name), object), Wav2VecCtc)
        raise ValueError(
            f"{where} it holds the model {model_name!r}, expected wav2vec2"
            f"{'; see checkpoint.finetune_from_model' if finetuned else ''}"
        )
    if not issubclass(TASK_REGISTRY.get(str(task_name), object), AudioPretrainingTask):
        raise ValueError(f"{where} its task is {task_name!r}, expected audio_pretraining")
    if not _is_literal(model.get("conv_feature_layers", "[]")):
        raise ValueError(
            f"{where} conv_feature_layers is {str(model['conv_feature_layers'])[:99]!r}, expected "
            "lists of tuples of whole numbers, joined by + and *"
        )
    return task.get("normalize", model.get("normalize", False))


def _section(settings: Any, name: str, where: str) -> Mapping[str, Any]:
    section = settings.get(name) if isinstance(settings, Mapping) else None
    if isinstance(section, argparse.Namespace):
        section = vars(section)
    if not isinstance(section, Mapping):
        raise ValueError(
            f"{where} its settings hold no {name!r}, expected 'args' or 'cfg' of a wav2vec 2.0"
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
    for name, weight in weights.items():
        if not isinstance(weight, Tensor):
            found = type(weight).__name__
            raise ValueError(f"{where} {name} is of type {found}, expected a tensor")
        # Not isfinite(): the least and the greatest need no memory.
        is_ranked = weight.is_floating_point() and weight.numel() > 0
        if is_ranked and not all(map(torch.isfinite, weight.aminmax())):
            raise ValueError(f"{where} {name} holds values that are infinite or not a number")


def _some(names: Any) -> str:
    return ", ".join(map(repr, list(names)[:3])) or "nothing"
