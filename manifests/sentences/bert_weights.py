"""The weights of a BERT by the names of fairseq's RoBERTa."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from manifest.writing import replacing
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sentences.vocabulary import FIRST, Vocabulary

_ENCODER = "encoder.sentence_encoder"
_LAYER = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "self_attn_layer_norm",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "output.LayerNorm": "final_layer_norm",
}
_HEADS = re.compile(r"(pooler|cls|classifier)\.|embeddings\.position_ids$")
# What the architecture must have, beside its sizes. transformers has these values by default.
_EXPECTED = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
}
# Option of parp_roberta -> key of config.json.
_OPTIONS = {
    "encoder_layers": "num_hidden_layers",
    "encoder_embed_dim": "hidden_size",
    "encoder_ffn_embed_dim": "intermediate_size",
    "encoder_attention_heads": "num_attention_heads",
    "layer_norm_eps": "layer_norm_eps",
}
_TASK = {"_name": "masked_lm", "data": ""}  # fairseq's loader looks into it


@dataclass(frozen=True)
class Bert:
    """A BERT as fairseq's RoBERTa has it.

    Attributes:
        options: of the model ``parp_roberta``.
        max_positions: the longest input.
        state: tensors by fairseq's names, those of an unused head for masked words among them.
    """

    options: Mapping[str, Any]
    max_positions: int
    state: Mapping[str, Tensor]

    @classmethod
    def read(cls, folder: Path, vocabulary: Vocabulary) -> "Bert":
        """Reads config.json and model.safetensors.

        Raises:
            ValueError: a file is missing or damaged, the architecture is another one, or a tensor
                is missing, too many, or of another shape than config.json says.
        """
        config = _read_config(folder / "config.json")
        path = folder / "model.safetensors"
        if not path.is_file():
            raise ValueError(f"{path}: not found, expected the weights")
        try:
            tensors = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path}: not a whole file of safetensors: {error}") from None
        tensors = {name.removeprefix("bert."): tensor.float() for name, tensor in tensors.items()}
        tensors = {name: t for name, t in tensors.items() if not _HEADS.match(name)}
        return cls(
            {option: config[key] for option, key in _OPTIONS.items()},
            config["max_position_embeddings"],
            _by_fairseqs_names(path, tensors, config, vocabulary),
        )

    @property
    def parameters(self) -> int:
        """How many the encoder has."""
        return sum(t.numel() for name, t in self.state.items() if name.startswith(_ENCODER)) - 1

    def save(self, path: Path) -> None:
        """Writes the form of a pre-trained checkpoint of fairseq."""
        settings = {"_name": "parp_roberta", **self.options, "max_positions": self.max_positions}
        history = {"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 0}
        state = {
            "args": None,
            "cfg": {"model": settings, "task": _TASK, "criterion": None, "lr_scheduler": None},
            "model": dict(self.state),
            # fairseq's loader looks these up in every checkpoint.
            "optimizer_history": [history],
            "extra_state": {"train_iterator": {"epoch": 1}},
            "last_optimizer_state": None,
        }
        with replacing(path) as temporary:
            torch.save(state, temporary)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}: not found, expected the settings of a BERT")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path}: {type(config).__name__}, expected an object")
    config = {**_EXPECTED, "layer_norm_eps": 1e-12, "model_type": None, **config}
    for key, expected in _EXPECTED.items():
        if config[key] != expected:
            raise ValueError(f"{path}: {key} is {config[key]!r}, expected {expected!r}")
    for key in (*_OPTIONS.values(), "max_position_embeddings"):
        value = config.get(key)
        kind = float if key == "layer_norm_eps" else int
        if not isinstance(value, kind) or value <= 0:
            raise ValueError(f"{path}: {key} is {value!r}, expected a number greater than 0")
    return config


def _by_fairseqs_names(
    path: Path, tensors: dict[str, Tensor], config: Mapping[str, Any], vocabulary: Vocabulary
) -> dict[str, Tensor]:
    width, inner = config["hidden_size"], config["intermediate_size"]

    def take(name: str, *shape: int) -> Tensor:
        found = tensors.pop(name, None)
        if found is None or tuple(found.shape) != shape:
            what = "no such tensor" if found is None else f"shape {tuple(found.shape)}"
            raise ValueError(f"{path}: {name}: {what}, expected shape {shape}")
        return found

    words = take("embeddings.word_embeddings.weight", len(vocabulary), width)
    positions = take(
        "embeddings.position_embeddings.weight", config["max_position_embeddings"], width
    )
    types = tensors.pop("embeddings.token_type_embeddings.weight", torch.zeros(1, width))
    # fairseq counts positions from the number after that of <pad>.
    unused = torch.zeros(list(FIRST).index("<pad>") + 1, width)
    state = {
        f"{_ENCODER}.version": torch.tensor([3.0]),
        f"{_ENCODER}.embed_tokens.weight": words[vocabulary.rows],
        f"{_ENCODER}.embed_positions.weight": torch.cat([unused, positions + types[0]]),
    }
    for kind in ("weight", "bias"):
        norm = take(f"embeddings.LayerNorm.{kind}", width)
        state[f"{_ENCODER}.layernorm_embedding.{kind}"] = norm
        for layer in range(config["num_hidden_layers"]):
            for theirs, ours in _LAYER.items():
                shape = [inner if ours == "fc1" else width]
                if kind == "weight" and not ours.endswith("norm"):
                    shape.append(inner if ours == "fc2" else width)
                tensor = take(f"encoder.layer.{layer}.{theirs}.{kind}", *shape)
                state[f"{_ENCODER}.layers.{layer}.{ours}.{kind}"] = tensor
    if tensors:
        raise ValueError(f"{path}: {min(tensors)}: expected no such tensor in a BERT")
    return {**state, **_unused_head(state[f"{_ENCODER}.embed_tokens.weight"])}


def _unused_head(words: Tensor) -> dict[str, Tensor]:
    """The head for masked words, which every RoBERTa of fairseq has and no classifier uses."""
    width = words.shape[1]
    head = {
        "weight": words,
        "bias": torch.zeros(len(words)),
        "dense.weight": torch.eye(width),
        "dense.bias": torch.zeros(width),
        "layer_norm.weight": torch.ones(width),
        "layer_norm.bias": torch.zeros(width),
    }
    return {f"encoder.lm_head.{name}": tensor for name, tensor in head.items()}
