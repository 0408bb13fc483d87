"""Frozen: parameters that a finetuning run does not train, and why."""

from typing import Dict, Mapping, Optional

from torch import Tensor, nn


def frozen_parameters(
    model: nn.Module,
    params: Mapping[str, Tensor],
    max_update: int,
    trainable: Optional[str] = None,
) -> Dict[str, str]:
    """Name -> the reason, for those of ``params`` that training leaves as they are.

    Args:
        model: a masked model.
        params: name relative to the encoder -> parameter.
        max_update: updates of the run; 0 means no limit.
        trainable: the option of the task, for the reason.
    """
    encoder = getattr(model, "w2v_encoder", None)  # not in a text encoder, which freezes nothing
    waits = encoder.freeze_finetune_updates if encoder is not None else 0
    features_frozen = encoder is not None and encoder.w2v_model.feature_grad_mult <= 0
    frozen = {}
    for name, param in params.items():
        if not param.requires_grad:
            option = f"task.trainable is {trainable}" if trainable not in (None, "all") else None
            frozen[name] = option or "requires_grad is False"
        elif features_frozen and name.startswith("feature_extractor."):
            frozen[name] = "model.feature_grad_mult is 0"
        elif 0 < max_update <= waits:
            frozen[name] = f"model.freeze_finetune_updates is {waits}"
    return frozen
