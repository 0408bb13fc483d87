"""A pre-trained wav2vec 2.0 of ``transformers`` as the file that ``model.w2v_path`` takes."""

import json
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import Wav2Vec2Config

from parp_fairseq.pruning.plain_file import is_safetensors, load_plain
from parp_fairseq.pruning.replacing import replacing

from .architecture import Architecture
from .exporting import PROJECTION, identity_projection
from .finetuned import take

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_PREFIX = "wav2vec2."
_HEAD = ("lm_head.weight", "lm_head.bias")
_OLD_NAMES = {
    "encoder.pos_conv_embed.conv.weight_g": "parametrizations.weight.original0",
    "encoder.pos_conv_embed.conv.weight_v": "parametrizations.weight.original1",
}
# What finetuning overrides must be among the settings of a file, or it has no effect.
_OVERRIDDEN = {
    "layer_type": "transformer",
    "mask_length": 10,
    "mask_prob": 0.65,
    "mask_selection": "static",
    "mask_other": 0.0,
    "no_mask_overlap": False,
    "mask_min_space": 1,
    "mask_channel_length": 10,
    "mask_channel_prob": 0.0,
    "mask_channel_before": False,
    "mask_channel_selection": "static",
    "mask_channel_other": 0.0,
    "no_mask_channel_overlap": False,
    "mask_channel_min_space": 1,
    "feature_grad_mult": 0.1,
    "checkpoint_activations": False,
    "quantize_input": False,
    "max_positions": 100000,
}


class Imported:
    """A wav2vec 2.0 that was read from a folder or a file of ``transformers``.

    Args:
        source: the folder, or a file of weights in it.
        normalize: whether the model takes normalised audio; None reads it from the folder.

    Attributes:
        architecture: of the encoder.
        encoder: its tensors by fairseq's names, float32, those of the quantizer among them.
        normalize: whether the model takes normalised audio.
        dropped: names of tensors that belong to no pre-trained encoder: those of a CTC head.

    Raises:
        OSError, ValueError: there is no wav2vec 2.0; the message names file and tensor.
    """

    def __init__(self, source: Path, normalize: Optional[bool] = None):
        folder, weights = _locate(source)
        self.config = _read_config(folder / "config.json")
        tensors = _read_tensors(weights)
        self.dropped = sorted(tensors.keys() & set(_HEAD))
        tensors = {_name(name): t for name, t in tensors.items() if name not in _HEAD}
        try:
            self.architecture = Architecture.of_transformers(
                self.config, "quantizer.codevectors" in tensors
            )
        except ValueError as error:
            raise ValueError(f"{folder / 'config.json'}: {error}") from None
        try:
            for name, expected in identity_projection(self.architecture).items():
                _require_identity(name, tensors.pop(name, None), expected)
            self.encoder = take(tensors, self.architecture.tensors(), "transformers")
        except ValueError as error:
            raise ValueError(f"{weights}: {error}") from None
        self.normalize = _read_normalize(folder) if normalize is None else normalize

    def save(self, path: Path) -> None:
        """Write the encoder in the form of a checkpoint of fairseq's pre-training.

        Raises:
            OSError: the file cannot be written.
        """
        config = self.config
        settings = {
            **_OVERRIDDEN,
            **self.architecture.to_fairseq(),
            "dropout": config["hidden_dropout"],
            "attention_dropout": config["attention_dropout"],
            "activation_dropout": config["activation_dropout"],
            "encoder_layerdrop": config["layerdrop"],
            "dropout_input": config["feat_proj_dropout"],
            "dropout_features": config["feat_quantizer_dropout"],
            "logit_temp": config["contrastive_logits_temperature"],
            "num_negatives": config["num_negatives"],
        }
        task = {
            "_name": "audio_pretraining",
            "data": "",  # finetuning fills it in
            "labels": None,
            "sample_rate": 16000,
            "normalize": self.normalize,
            "enable_padding": False,
        }
        history = {"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 0}
        state = {
            "args": None,
            "cfg": {"model": settings, "task": task, "criterion": None, "lr_scheduler": None},
            "model": self.encoder,
            # fairseq's loader looks these up in every checkpoint.
            "optimizer_history": [history],
            "extra_state": {"train_iterator": {"epoch": 1}},
        }
        with replacing(path) as partial:
            torch.save(state, partial)


def _locate(source: Path):
    """The folder with the settings, and the file of weights or the index of several."""
    if source.is_file():
        return source.parent, source
    if not source.is_dir():
        raise FileNotFoundError(f"{source} does not exist: expected a folder or a file of weights")
    for name in WEIGHTS:
        for file in (source / name, source / f"{name}.index.json"):
            if file.is_file():
                return source, file
    raise FileNotFoundError(f"{source} holds no weights: expected {' or '.join(WEIGHTS)}")


def _read_config(file: Path) -> Dict[str, Any]:
    config = _read_json(file)
    kind = config.get("model_type")
    if kind != "wav2vec2":
        raise ValueError(f"{file}: model_type is {kind!r}, expected 'wav2vec2'")
    try:
        return Wav2Vec2Config.from_dict(config).to_dict()
    except Exception as error:  # transformers raises many kinds for values of a wrong type
        raise ValueError(f"{file} is refused by transformers: {error}") from None


def _read_normalize(folder: Path) -> bool:
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            settings = _read_json(folder / name)
            settings = settings.get("feature_extractor", settings)
            value = settings.get("do_normalize") if isinstance(settings, Mapping) else None
            if isinstance(value, bool):
                return value
            raise ValueError(f"{folder / name}: do_normalize is {value!r}, expected true or false")
    raise ValueError(
        f"{folder} holds no preprocessor_config.json, which says whether the encoder takes "
        "normalised audio: expected one, or --normalize true or --normalize false"
    )


def _read_json(file: Path) -> Dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds {type(content).__name__}, expected an object")
    return content


def _read_tensors(file: Path) -> Dict[str, Tensor]:
    if file.name.endswith(".index.json"):
        shards = _read_json(file).get("weight_map")
        if not isinstance(shards, dict) or not all(
            isinstance(shard, str) and Path(shard).name == shard for shard in shards.values()
        ):
            raise ValueError(f"{file}: expected names of tensors and of files under 'weight_map'")
        tensors: Dict[str, Tensor] = {}
        for shard in sorted(set(shards.values())):
            tensors.update(_read_tensors(file.parent / shard))
        return tensors
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist")
    if is_safetensors(file):
        try:
            return load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{file} is not a whole file of safetensors: {error}") from None
    try:
        content = load_plain(file)
    except ValueError as error:
        raise ValueError(f"{file} is refused: {error}") from None
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise ValueError(f"{file} holds {type(content).__name__}, expected names and tensors")
    return dict(content)


def _name(name: str) -> str:
    """The name that ``Wav2Vec2Model`` of today has for a tensor."""
    if name.startswith(_PREFIX):
        name = name[len(_PREFIX) :]
    if name in _OLD_NAMES:
        return f"{name.rpartition('.')[0]}.{_OLD_NAMES[name]}"
    return name


def _require_identity(name: str, found: Optional[Tensor], expected: Tensor) -> None:
    if found is None:
        raise ValueError(f"tensor {name} is missing")
    if found.shape != expected.shape or not torch.equal(found.float(), expected):
        raise ValueError(
            f"tensor {name} changes the features: expected the identity, because fairseq has no "
            f"projection where the extractor's last layer is as wide as the transformer. It is of "
            f"the part {PROJECTION.rstrip('.')}"
        )
