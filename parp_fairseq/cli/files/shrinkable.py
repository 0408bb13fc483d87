"""A finetuned checkpoint, read with fairseq's own classes to be written again, smaller."""

import argparse
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

import parp_fairseq.models.safe_loading  # noqa: F401  (lets torch read the dictionary)
from parp_fairseq.pruning.plain_file import load_plain
from parp_fairseq.pruning.shrinking import Shrunk, shrink

# Stock fairseq 0.12.3 cannot build its own hubert_ctc: see models/parp_hubert_ctc.py.
_SMALLER = {"parp_hubert_ctc": "parp_hubert_ctc", "hubert_ctc": "parp_hubert_ctc"}
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
    """The checkpoint of the smaller network, and what was shrunk.

    It is a ``wav2vec_ctc`` for stock fairseq; of a HuBERT it is a ``parp_hubert_ctc``.

    It has no state of an optimizer. The options of pruning go from ``cfg.task`` to
    ``pruned_with``, because stock fairseq does not know them.

    Raises:
        ValueError: it is no finetuned CTC model.
    """
    from fairseq.tasks.audio_finetuning import AudioFinetuningConfig

    shrunk = shrink(state["model"])
    cfg = state.get("cfg")
    if state.get("args") is not None or not isinstance(cfg, Mapping):
        raise ValueError("its settings are of an old kind, without 'cfg': finetune it anew")
    model, task = dict(cfg["model"]), dict(cfg["task"])
    encoder = model.get("w2v_args")
    if isinstance(encoder, argparse.Namespace) or not isinstance(encoder, Mapping):
        raise ValueError("its settings lack w2v_args: expected a finetuned CTC model")
    settings = {**encoder["model"], "encoder_ffn_embed_dim": shrunk.after}
    name = _SMALLER.get(model.get("_name"), "wav2vec_ctc")
    model.update(_name=name, w2v_args={**encoder, "model": settings})
    known = AudioFinetuningConfig.__dataclass_fields__
    stock = {key: value for key, value in task.items() if key in known}
    small = {key: state[key] for key in _KEPT if key in state}
    small["cfg"] = {**cfg, "model": model, "task": {**stock, "_name": "audio_finetuning"}}
    small["model"] = shrunk.weights
    small["pruned_with"] = {key: value for key, value in task.items() if key not in known}
    small["last_optimizer_state"] = None
    return small, shrunk
