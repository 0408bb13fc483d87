"""A finetuned checkpoint as a folder that ``transformers`` loads."""

from pathlib import Path
from typing import Any, Dict, Optional

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

from parp_fairseq.pruning import parse_pattern, prunable_parameters
from parp_fairseq.pruning.replacing import replacing_folder

from .architecture import Architecture
from .finetuned import Finetuned
from .model_card import write_card
from .tokenizer import make_tokenizer

PROJECTION = "feature_projection.projection."
_SAMPLE_RATE = 16000


def export(
    model: Finetuned,
    folder: Path,
    error_rate: Optional[str] = None,
    license: Optional[str] = None,
) -> None:
    """Write ``model`` as ``Wav2Vec2ForCTC`` with its processor and a model card.

    Args:
        model: what to write.
        folder: appears whole or not at all. It must be new or empty.
        error_rate, license: for the model card, see :func:`write_card`.

    Raises:
        OSError: the folder cannot be written, or holds something already.
    """
    with replacing_folder(folder) as partial:
        Wav2Vec2Config(**_config(model)).save_pretrained(partial)
        save_file(_tensors(model), partial / "model.safetensors", metadata={"format": "pt"})
        extractor = Wav2Vec2FeatureExtractor(
            sampling_rate=_SAMPLE_RATE,
            do_normalize=model.normalize,
            return_attention_mask=True,  # fairseq masks the padding, whatever the norms are
        )
        tokenizer = make_tokenizer(model.symbols, partial)
        Wav2Vec2Processor(extractor, tokenizer).save_pretrained(partial)
        card = write_card(folder.name, model, describe_sparsity(model), error_rate, license)
        (partial / "README.md").write_text(card, encoding="utf-8")


def describe_sparsity(model: Finetuned) -> str:
    """The share of zeros among the weights that the task pruned, and which these are."""
    scope = str(model.task.get("prune_scope") or "transformer")
    bias = model.task.get("prune_bias", True)
    pattern = parse_pattern(str(model.task.get("prune_pattern") or "global"))
    weights = pattern.covered(prunable_parameters(model.encoder, scope, bias))
    total = sum(weight.numel() for weight in weights.values())
    zeros = total - sum(int(weight.count_nonzero()) for weight in weights.values())
    return f"{zeros / total:.2%} ({zeros:,} of {total:,} weights in the scope {scope})"


def identity_projection(architecture: Architecture) -> Dict[str, Tensor]:
    """The projection that ``transformers`` has where fairseq has none, because nothing changes."""
    if architecture.has_projection:
        return {}
    width = architecture.width
    return {PROJECTION + "weight": torch.eye(width), PROJECTION + "bias": torch.zeros(width)}


def _tensors(model: Finetuned) -> Dict[str, Tensor]:
    inside = {
        spec.transformers: model.encoder[spec.fairseq] for spec in model.architecture.tensors()
    }
    inside.update(identity_projection(model.architecture))
    tensors = {f"wav2vec2.{name}": tensor for name, tensor in inside.items()}
    return {**tensors, "lm_head.weight": model.head_weight, "lm_head.bias": model.head_bias}


def _config(model: Finetuned) -> Dict[str, Any]:
    options = model.model
    config = {
        **model.architecture.to_transformers(),
        "architectures": ["Wav2Vec2ForCTC"],
        "vocab_size": len(model.symbols),
        "pad_token_id": 0,  # the CTC blank
        "bos_token_id": 1,
        "eos_token_id": 2,
        "ctc_zero_infinity": bool(model.criterion.get("zero_infinity", False)),
    }
    for theirs, ours in {
        "hidden_dropout": "dropout",
        "activation_dropout": "activation_dropout",
        "attention_dropout": "attention_dropout",
        "feat_proj_dropout": "dropout_input",
        "final_dropout": "final_dropout",
        "layerdrop": "layerdrop",
        "mask_time_prob": "mask_prob",
        "mask_time_length": "mask_length",
        "mask_feature_prob": "mask_channel_prob",
        "mask_feature_length": "mask_channel_length",
    }.items():
        if options.get(ours) is not None:
            config[theirs] = options[ours]
    config["apply_spec_augment"] = bool(options.get("apply_mask", False))
    if not (config.get("mask_time_prob") or config.get("mask_feature_prob")):
        # Without masking, transformers would have no masked_spec_embed.
        config["apply_spec_augment"] = False
        config.pop("mask_time_prob", None)
    return config
