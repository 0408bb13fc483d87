"""A finetuned checkpoint, read with fairseq's own classes to be written again, smaller."""

import argparse
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

import parp_fairseq.models.safe_loading  # noqa: F401  (lets torch read the dictionary)
from parp_fairseq.pruning.plain_file import load_plain
from parp_fairseq.pruning.shrinking import Shrunk, shrink

_KEPT = ("args", "optimizer_history", "task_state", "extra_state", "criterion")


def load_shrinkable(path: Path) -> Mapping[str, Any]:
    """The dict in a finetuned checkpoint.

    Raises:
        OSError, ValueError: the file is something else; the message names it.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {found}: expected a finetuned checkpoint")
    try:
        state = load_plain(path)
    except ValueError as error:
        raise ValueError(f"{path} is not a checkpoint: {error}") from None
    if not isinstance(state, Mapping) or not isinstance(state.get("model"), Mapping):
        raise ValueError(f"{path} is not a checkpoint: expected a dict with 'model' in it")
    return state


def shrunk_state(state: Mapping[str, Any]) -> Tuple[Dict[str, Any], Shrunk]:
    """The checkpoint of the smaller network, for stock fairseq, and what was shrunk.

    It has no state of an optimizer. The options of pruning go from ``cfg.task`` to
    ``pruned_with``, because stock fairseq does not know them.

    Raises:
        ValueError: it is no finetuned ``wav2vec_ctc``.
    """
    from fairseq.tasks.audio_finetuning import AudioFinetuningConfig

    shrunk = shrink(state["model"])
    cfg = state.get("cfg")
    if state.get("args") is not None or not isinstance(cfg, Mapping):
        raise ValueError("its settings are of an old kind, without 'cfg': finetune it anew")
    model, task = dict(cfg["model"]), dict(cfg["task"])
    encoder = model.get("w2v_args")
    if isinstance(encoder, argparse.Namespace) or not isinstance(encoder, Mapping):
        raise ValueError("its settings lack w2v_args: expected a finetuned wav2vec_ctc")
    settings = {**encoder["model"], "encoder_ffn_embed_dim": shrunk.after}
    model.update(_name="wav2vec_ctc", w2v_args={**encoder, "model": settings})
    known = AudioFinetuningConfig.__dataclass_fields__
    stock = {key: value for key, value in task.items() if key in known}
    small = {key: state[key] for key in _KEPT if key in state}
    small["cfg"] = {**cfg, "model": model, "task": {**stock, "_name": "audio_finetuning"}}
    small["model"] = shrunk.weights
    small["pruned_with"] = {key: value for key, value in task.items() if key not in known}
    small["last_optimizer_state"] = None
    return small, shrunk
