"""Scope: which parameters of a network may be pruned."""

import re
from typing import Dict, Mapping, Union

from torch import Tensor, nn

_TRANSFORMER = r"(.*\.)?layers\.\d+\.(self_attn\.[kvq]_proj|self_attn\.out_proj|fc1|fc2)"
_FEATURE_EXTRACTOR = r"(.*\.)?feature_extractor\.conv_layers\.\d+\.0"

SCOPES = {
    "transformer": _TRANSFORMER,
    "feature_extractor": _FEATURE_EXTRACTOR,
    "all": rf"{_TRANSFORMER}|{_FEATURE_EXTRACTOR}|(.*\.)?post_extract_proj",
}


def encoder_name(name: str) -> str:
    """Name of a parameter relative to the wav2vec 2.0 encoder that holds it.

    The finetuned ``w2v_encoder.w2v_model.encoder.layers.0.fc1.weight`` and the pre-trained
    ``encoder.layers.0.fc1.weight`` are the same parameter.
    """
    return name.rpartition("w2v_model.")[2]


def prunable_parameters(
    model: Union[nn.Module, Mapping[str, Tensor]], scope: str = "transformer", bias: bool = True
) -> Dict[str, Tensor]:
    """The parameters of ``model`` that the scope covers, in the model's order.

    Args:
        model: a module, or a mapping of names to tensors such as a checkpoint's ``"model"``.
        scope: ``transformer`` (k_proj, v_proj, q_proj, out_proj, fc1, fc2 of every layer),
            ``feature_extractor`` (its convolutions), ``all`` (both, and ``post_extract_proj``), or
            ``re:<regex>``, searched for in the names relative to the encoder. No scope but a regex
            covers layer norms, the positional convolution or the quantizer, and none the CTC head.
        bias: whether biases inside the scope count.

    Returns:
        name relative to the wav2vec 2.0 encoder -> parameter.

    Raises:
        ValueError: unknown scope, a regex that does not compile, or a scope that covers nothing.
    """
    if scope.startswith("re:"):
        try:
            covers = re.compile(scope[3:]).search
        except re.error as error:
            raise ValueError(f"scope {scope!r} is not a regular expression: {error}") from None
    elif scope in SCOPES:
        covers = re.compile(rf"({SCOPES[scope]})\.(weight|bias)").fullmatch
    else:
        raise ValueError(f"unknown scope {scope!r}: expected {', '.join(SCOPES)} or re:<regex>")

    named = dict(model.named_parameters()) if isinstance(model, nn.Module) else dict(model)
    inside = {name for name in named if "w2v_model." in name} or set(named)
    params = {
        encoder_name(name): tensor
        for name, tensor in named.items()
        if name in inside
        and tensor.is_floating_point()
        and covers(encoder_name(name))
        and (bias or not name.endswith("bias"))
    }
    if not params:
        known = ", ".join(sorted(encoder_name(name) for name in inside)[:3])
        raise ValueError(
            f"scope {scope!r} covers no parameter of this model, which has {known}, ..."
        )
    return params
