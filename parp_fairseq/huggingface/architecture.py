"""Architecture: the shape of a wav2vec 2.0, by the names of fairseq and of ``transformers``."""

import ast
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

# What fairseq takes for settings that an old checkpoint does not have.
_DEFAULTS = {
    "extractor_mode": "default",
    "conv_bias": False,
    "conv_feature_layers": "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]",
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
    "activation_fn": "gelu",
    "layer_norm_first": False,
    "conv_pos": 128,
    "conv_pos_groups": 16,
}
# Other values change the network in ways that Wav2Vec2Model of transformers does not have.
_FAIRSEQ_ONLY = {
    "layer_type": "transformer",
    "pos_conv_depth": 1,
    "quantize_input": False,
    "crop_seq_to_multiple": 1,
    "conv_pos_batch_norm": False,
}
_TRANSFORMERS_ONLY = {
    "feat_extract_activation": "gelu",
    "layer_norm_eps": 1e-5,
    "add_adapter": False,
    "adapter_attn_dim": None,
}
_ACTIVATIONS = ("gelu", "relu")  # the same names and functions in both


class TensorSpec(NamedTuple):
    """One tensor of a wav2vec 2.0.

    Attributes:
        fairseq: its name in fairseq, relative to the encoder.
        transformers: its name in ``Wav2Vec2Model``, or in ``Wav2Vec2ForPreTraining`` if it belongs
            to the quantizer.
        shape: of both.
    """

    fairseq: str
    transformers: str
    shape: Tuple[int, ...]


class Quantizer(NamedTuple):
    """The quantizer and the projections of pre-training.

    Attributes:
        groups, entries: number of codebooks, and of entries in each.
        dim: width of the quantized vectors, all groups together.
        final_dim: width to which outputs and targets are projected.
    """

    groups: int
    entries: int
    dim: int
    final_dim: int


@dataclass(frozen=True)
class Architecture:
    """The shape of a wav2vec 2.0.

    Args:
        convolutions: channels, kernel size and stride of each layer of the feature extractor.
        extractor_layer_norm: layer norms in all of these layers; false for a group norm in the
            first.
        conv_bias: whether these layers have biases.
        layers, width, heads, ffn_width: of the transformer.
        activation: of the feed-forward layers.
        layer_norm_first: layer norms before the blocks instead of after them.
        conv_pos, conv_pos_groups: kernel size and groups of the positional convolution.
        quantizer: None where there is none.
    """

    convolutions: Tuple[Tuple[int, int, int], ...]
    extractor_layer_norm: bool
    conv_bias: bool
    layers: int
    width: int
    heads: int
    ffn_width: int
    activation: str
    layer_norm_first: bool
    conv_pos: int
    conv_pos_groups: int
    quantizer: Optional[Quantizer] = None

    @classmethod
    def of_fairseq(cls, settings: Mapping[str, Any]) -> "Architecture":
        """From the settings of fairseq's model ``wav2vec2``.

        Raises:
            ValueError: a setting for which ``transformers`` has no counterpart.
        """
        _require_expected(settings, _FAIRSEQ_ONLY, "Wav2Vec2Model of transformers has no other")
        known = {key: settings.get(key, default) for key, default in _DEFAULTS.items()}
        _require_activation("activation_fn", known["activation_fn"])
        return cls(
            convolutions=parse_convolutions(known["conv_feature_layers"]),
            extractor_layer_norm=str(known["extractor_mode"]) == "layer_norm",
            conv_bias=bool(known["conv_bias"]),
            layers=known["encoder_layers"],
            width=known["encoder_embed_dim"],
            heads=known["encoder_attention_heads"],
            ffn_width=known["encoder_ffn_embed_dim"],
            activation=str(known["activation_fn"]),
            layer_norm_first=bool(known["layer_norm_first"]),
            conv_pos=known["conv_pos"],
            conv_pos_groups=known["conv_pos_groups"],
        )

    @classmethod
    def of_transformers(cls, config: Mapping[str, Any], has_quantizer: bool) -> "Architecture":
        """From the ``config.json`` of a wav2vec 2.0, with all defaults filled in.

        Raises:
            ValueError: a setting for which fairseq has no counterpart.
        """
        _require_expected(config, _TRANSFORMERS_ONLY, "fairseq's wav2vec 2.0 has no other")
        _require_activation("hidden_act", config["hidden_act"])
        layers = zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"])
        quantizer = Quantizer(
            groups=config["num_codevector_groups"],
            entries=config["num_codevectors_per_group"],
            dim=config["codevector_dim"],
            final_dim=config["proj_codevector_dim"],
        )
        return cls(
            convolutions=tuple(layers),
            extractor_layer_norm=config["feat_extract_norm"] == "layer",
            conv_bias=config["conv_bias"],
            layers=config["num_hidden_layers"],
            width=config["hidden_size"],
            heads=config["num_attention_heads"],
            ffn_width=config["intermediate_size"],
            activation=config["hidden_act"],
            layer_norm_first=config["do_stable_layer_norm"],
            conv_pos=config["num_conv_pos_embeddings"],
            conv_pos_groups=config["num_conv_pos_embedding_groups"],
            quantizer=quantizer if has_quantizer else None,
        )

    def to_fairseq(self) -> Dict[str, Any]:
        """Settings of fairseq's model ``wav2vec2``."""
        settings = {
            "_name": "wav2vec2",
            "extractor_mode": "layer_norm" if self.extractor_layer_norm else "default",
            "conv_bias": self.conv_bias,
            "conv_feature_layers": str([tuple(layer) for layer in self.convolutions]),
            "encoder_layers": self.layers,
            "encoder_embed_dim": self.width,
            "encoder_ffn_embed_dim": self.ffn_width,
            "encoder_attention_heads": self.heads,
            "activation_fn": self.activation,
            "layer_norm_first": self.layer_norm_first,
            "conv_pos": self.conv_pos,
            "conv_pos_groups": self.conv_pos_groups,
            "quantize_targets": self.quantizer is not None,
        }
        if self.quantizer is not None:
            settings.update(
                latent_groups=self.quantizer.groups,
                latent_vars=self.quantizer.entries,
                latent_dim=self.quantizer.dim,
                final_dim=self.quantizer.final_dim,
            )
        return settings

    def to_transformers(self) -> Dict[str, Any]:
        """Arguments of ``Wav2Vec2Config``."""
        channels, kernels, strides = map(list, zip(*self.convolutions))
        return {
            "feat_extract_norm": "layer" if self.extractor_layer_norm else "group",
            "conv_bias": self.conv_bias,
            "conv_dim": channels,
            "conv_kernel": kernels,
            "conv_stride": strides,
            "num_hidden_layers": self.layers,
            "hidden_size": self.width,
            "intermediate_size": self.ffn_width,
            "num_attention_heads": self.heads,
            "hidden_act": self.activation,
            "do_stable_layer_norm": self.layer_norm_first,
            "num_conv_pos_embeddings": self.conv_pos,
            "num_conv_pos_embedding_groups": self.conv_pos_groups,
        }

    @property
    def has_projection(self) -> bool:
        """Whether fairseq projects the features; ``transformers`` always does."""
        return self.convolutions[-1][0] != self.width

    def tensors(self) -> List[TensorSpec]:
        """All tensors, except for a projection that only ``transformers`` has."""
        return [*self._extractor(), *self._transformer(), *self._quantizer()]

    def _extractor(self) -> Iterator[TensorSpec]:
        inputs = 1
        for index, (channels, kernel, _) in enumerate(self.convolutions):
            here = f"feature_extractor.conv_layers.{index}."
            yield TensorSpec(here + "0.weight", here + "conv.weight", (channels, inputs, kernel))
            if self.conv_bias:
                yield TensorSpec(here + "0.bias", here + "conv.bias", (channels,))
            if self.extractor_layer_norm or index == 0:
                norm = "2.1." if self.extractor_layer_norm else "2."
                yield from _both(here + norm, here + "layer_norm.", (channels,))
            inputs = channels
        yield from _both("layer_norm.", "feature_projection.layer_norm.", (inputs,))
        if self.has_projection:
            yield from _both(
                "post_extract_proj.", "feature_projection.projection.", (self.width, inputs)
            )
        yield TensorSpec("mask_emb", "masked_spec_embed", (self.width,))

    def _transformer(self) -> Iterator[TensorSpec]:
        width, kernel = self.width, self.conv_pos
        here, there = "encoder.pos_conv.0.", "encoder.pos_conv_embed.conv."
        weight = there + "parametrizations.weight."
        yield TensorSpec(here + "bias", there + "bias", (width,))
        yield TensorSpec(here + "weight_g", weight + "original0", (1, 1, kernel))
        grouped = (width, width // self.conv_pos_groups, kernel)
        yield TensorSpec(here + "weight_v", weight + "original1", grouped)
        yield from _both("encoder.layer_norm.", "encoder.layer_norm.", (width,))
        for index in range(self.layers):
            layer = f"encoder.layers.{index}."
            for name in ("k_proj.", "v_proj.", "q_proj.", "out_proj."):
                yield from _both(
                    f"{layer}self_attn.{name}", f"{layer}attention.{name}", (width, width)
                )
            yield from _both(layer + "self_attn_layer_norm.", layer + "layer_norm.", (width,))
            ffn = layer + "feed_forward."
            yield from _both(layer + "fc1.", ffn + "intermediate_dense.", (self.ffn_width, width))
            yield from _both(layer + "fc2.", ffn + "output_dense.", (width, self.ffn_width))
            name = layer + "final_layer_norm."
            yield from _both(name, name, (width,))

    def _quantizer(self) -> Iterator[TensorSpec]:
        if self.quantizer is None:
            return
        groups, entries, dim, final = self.quantizer
        rows = groups * entries
        yield TensorSpec("quantizer.vars", "quantizer.codevectors", (1, rows, dim // groups))
        name = "quantizer.weight_proj."
        yield from _both(name, name, (rows, self.convolutions[-1][0]))
        yield from _both("project_q.", "project_q.", (final, dim))
        yield from _both("final_proj.", "project_hid.", (final, self.width))


def parse_convolutions(text: str) -> Tuple[Tuple[int, int, int], ...]:
    """The layers that fairseq's ``conv_feature_layers`` describes, without running it.

    Raises:
        ValueError: it is anything but tuples of three whole numbers, in lists joined by + and *.
    """
    try:
        layers = _value(ast.parse(text, mode="eval").body)
        channels, kernels, strides = zip(*layers, strict=True)
        if all(type(n) is int and n > 0 for n in (*channels, *kernels, *strides)):
            return tuple(zip(channels, kernels, strides))
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        pass
    raise ValueError(
        f"conv_feature_layers is {str(text)[:99]!r}: expected lists of (channels, kernel size, "
        "stride), joined by + and *"
    )


def _value(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) is int and abs(node.value) < 10**6:
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _value(node.left) + _value(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _value(node.left) * _value(node.right)
    raise ValueError


def _both(fairseq: str, transformers: str, shape: Tuple[int, ...]) -> Iterator[TensorSpec]:
    """Weight and bias of one module; the bias has as many values as the weight has rows."""
    yield TensorSpec(fairseq + "weight", transformers + "weight", shape)
    yield TensorSpec(fairseq + "bias", transformers + "bias", shape[:1])


def _require_expected(settings: Mapping[str, Any], expected: Mapping[str, Any], why: str) -> None:
    for name, value in expected.items():
        found = settings.get(name, value)
        if found != value:
            raise ValueError(f"{name} is {found!r}: expected {value!r}, because {why}")


def _require_activation(name: str, value: Any) -> None:
    if str(value) not in _ACTIVATIONS:
        raise ValueError(f"{name} is {value!r}: expected {' or '.join(_ACTIVATIONS)}")
