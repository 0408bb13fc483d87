"""From a pre-training checkpoint to the file that ``model.w2v_path`` takes, and back to a model.

HuBERT and wav2vec 2.0 have the same encoder in fairseq: the same modules by the same names.
"""

from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

from fairseq.models.wav2vec import Wav2Vec2Config, Wav2Vec2Model
from omegaconf import OmegaConf

from parp_fairseq.pruning.plain_file import load_plain

from . import safe_loading  # noqa: F401  (lets the safe loader read what fairseq wrote)
from .encoder_file import require_settings
from .kinds import KINDS

_TASK_SETTINGS = ("_name", "data", "labels", "sample_rate", "normalize", "enable_padding")
# What only pre-training needs; finetuning drops it: fairseq's remove_pretraining_modules().
_PRETRAINING = ("quantizer.", "project_q.", "final_proj.", "label_embs_concat", "target_glu.")
# The settings that HuBERT and wav2vec 2.0 share, in fairseq 0.12.2 as in 0.12.3.
_SHARED = (
    *("extractor_mode", "conv_feature_layers", "conv_bias", "feature_grad_mult", "final_dim"),
    *("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads"),
    *("activation_fn", "layer_norm_first", "conv_pos", "conv_pos_groups", "logit_temp"),
    *("dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop"),
    *("dropout_input", "dropout_features", "mask_prob", "mask_length"),
)
# Variants of HuBERT that wav2vec 2.0 does not have in both versions of fairseq, and their defaults.
_REQUIRED = {"layer_type": "transformer", "conv_pos_batch_norm": False}


def finetunable(state: Any, where: str) -> Dict[str, Any]:
    """The encoder of a HuBERT or wav2vec 2.0 that fairseq pre-trained, as ``w2v_path`` takes it.

    The result holds settings and fp32 weights: plain dicts, lists, tensors, numbers and strings.

    Args:
        state: a checkpoint of fairseq-hydra-train.
        where: its file, for messages.

    Raises:
        ValueError: another kind of checkpoint, or a HuBERT that wav2vec 2.0 cannot express.
    """
    cfg = state.get("cfg") if isinstance(state, Mapping) else None
    if not isinstance(cfg, Mapping) or not isinstance(state.get("model"), Mapping):
        raise ValueError(f"{where}: expected a checkpoint of fairseq-hydra-train")
    settings = plain(cfg["model"])
    name = settings.get("_name")
    if name == "hubert":
        for key, expected in _REQUIRED.items():
            if settings.get(key, expected) != expected:
                raise ValueError(f"{where}: {key} is {settings[key]!r}, expected {expected!r}")
        shared = {key: settings[key] for key in _SHARED}
        settings = {"_name": "wav2vec2", **shared, "quantize_targets": False}
    elif name != "wav2vec2":
        raise ValueError(f"{where}: it holds the model {name!r}, expected hubert or wav2vec2")
    task = {key: plain(cfg["task"][key]) for key in _TASK_SETTINGS if key in cfg["task"]}
    task |= {"_name": "audio_pretraining", "data": ""}  # finetuning fills in the folder
    if name == "hubert":
        task["labels"] = None
    return {
        "args": None,
        "cfg": {"model": settings, "task": task, "criterion": None, "lr_scheduler": None},
        "model": {
            key: weight.float().contiguous().clone()
            for key, weight in state["model"].items()
            if not key.startswith(_PRETRAINING)
        },
        # fairseq's loader looks these up in every checkpoint.
        "optimizer_history": [
            {"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 0}
        ],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }


def load_encoder(path: Path) -> Tuple[Wav2Vec2Model, bool]:
    """The encoder of a file that ``finetunable`` made, and whether it wants normalised audio.

    Raises:
        ValueError: another kind of file, or weights that do not fit its settings.
        OSError: the file cannot be read.
    """
    with path.open("rb"):  # the reader below does not name a missing file
        pass
    try:
        state = finetunable(load_plain(path), str(path))
    except ValueError as error:
        message = str(error)
        raise ValueError(message if str(path) in message else f"{path}: {message}") from None
    require_settings(state["cfg"], KINDS[0], f"{path}:")
    known = OmegaConf.structured(Wav2Vec2Config)
    settings = {key: value for key, value in state["cfg"]["model"].items() if key in known}
    model = Wav2Vec2Model(OmegaConf.merge(known, settings))
    model.remove_pretraining_modules()
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise ValueError(f"{path}: its weights do not fit its settings: {error}") from None
    return model, bool(state["cfg"]["task"].get("normalize", False))


def plain(value: Any) -> Any:
    """Config nodes, enumerations and tuples as dicts, lists, numbers and strings."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)
