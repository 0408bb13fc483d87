"""Trainable: which parameters a finetuning run trains; the others are frozen."""

from typing import Any, Mapping, Optional

import torch
from torch import Tensor, nn

from parp_fairseq.pruning.scope import encoder_name
from parp_fairseq.pruning.trainable import freeze_all_but


def train_only(model: nn.Module, trainable: str, scored: Mapping[str, Tensor]) -> None:
    """Freeze all parameters of ``model`` but the head and those that ``trainable`` names.

    A frozen parameter has ``requires_grad`` False, so fairseq gives it to no optimizer.

    Args:
        model: a masked model.
        trainable: ``all`` (the encoder), ``head`` (nothing else), ``bias`` (all biases of the
            encoder, layer norms included), or ``re:<regex>``, searched for in canonical names.
        scored: name -> parameter that a score of a learned mask stands for while it is trained.

    Raises:
        ValueError: unknown ``trainable``, a regex that does not compile, or one that names nothing.
    """
    if trainable == "all":
        return
    encoder = model.w2v_encoder.w2v_model if hasattr(model, "w2v_encoder") else model.encoder
    inside = {id(parameter) for parameter in encoder.parameters()}
    parameters = {encoder_name(n): p for n, p in model.named_parameters() if id(p) in inside}
    # The features are computed without gradients then.
    frozen = getattr(encoder, "feature_grad_mult", 1) <= 0
    without_gradients = "feature_extractor." if frozen else ""
    freeze_all_but(parameters, trainable, scored, without_gradients, "task.")
    _let_gradients_reach_checkpointed_layers(encoder)


def _let_gradients_reach_checkpointed_layers(encoder: nn.Module) -> None:
    """Let the input of each layer under ``checkpoint_activations`` require a gradient.

    fairseq's checkpoint is an autograd function of the layer's input alone. Where everything below
    a layer is frozen, its input requires no gradient, and its parameters would get none either,
    without an error.
    """
    for layer in encoder.modules():
        checkpointed = hasattr(layer, "precheckpoint_forward")
        if checkpointed and any(p.requires_grad for p in layer.parameters()):
            layer.register_forward_pre_hook(_require_gradient)


def _require_gradient(layer: nn.Module, inputs: Any) -> Optional[Any]:
    x, *others = inputs
    if torch.is_grad_enabled() and not x.requires_grad:
        return (x.detach().requires_grad_(), *others)
    return None
