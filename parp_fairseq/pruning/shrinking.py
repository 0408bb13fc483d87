"""Shrinking: hidden channels of feed-forward layers that do nothing, taken out."""

import re
from typing import Dict, Mapping, NamedTuple

import torch
from torch import Tensor

_FIRST = re.compile(r"(.*\.)?fc1\.weight")


class Shrunk(NamedTuple):
    """What is left of a network.

    Attributes:
        weights: all of them, by the same names.
        before, after: hidden channels of each feed-forward layer.
    """

    weights: Dict[str, Tensor]
    before: int
    after: int


def shrink(weights: Mapping[str, Tensor]) -> Shrunk:
    """Take out the hidden channels that add nothing to the output.

    A channel adds nothing if its column of ``fc2`` is zero, or if its row of ``fc1`` and its bias
    are, because the activations of wav2vec 2.0 (gelu, relu) are zero at zero. All layers keep the
    same number, because fairseq has one width for all: that of the layer that needs the most.

    Args:
        weights: of a wav2vec 2.0 with layers ``fc1`` and ``fc2``, by name.

    Raises:
        ValueError: there are no such layers, or they differ in width.
    """
    layers = [match[1] or "" for match in map(_FIRST.fullmatch, weights) if match]
    if not layers:
        raise ValueError("found no feed-forward layers: expected tensors that end in fc1.weight")
    widths = sorted({weights[f"{layer}fc1.weight"].shape[0] for layer in layers})
    if len(widths) > 1:
        raise ValueError(f"feed-forward layers have widths {widths}: expected the same for all")
    alive = {layer: _alive(weights, layer) for layer in layers}
    after = max(1, *(int(channels.sum()) for channels in alive.values()))
    shrunk = dict(weights)
    for layer, channels in alive.items():
        # Channels that do something come first in a stable order; the rest fills up the width.
        kept = channels.to(torch.uint8).argsort(descending=True, stable=True)[:after].sort()[0]
        for name, dim in ((f"{layer}fc1.weight", 0), (f"{layer}fc1.bias", 0)):
            shrunk[name] = weights[name].index_select(dim, kept)
        shrunk[f"{layer}fc2.weight"] = weights[f"{layer}fc2.weight"].index_select(1, kept)
    return Shrunk(shrunk, widths[0], after)


def _alive(weights: Mapping[str, Tensor], layer: str) -> Tensor:
    """Which channels of a layer add something to its output."""
    lacking = [n for n in ("fc1.bias", "fc2.weight") if layer + n not in weights]
    if lacking:
        raise ValueError(f"tensor {layer}{lacking[0]} is missing")
    reads = (weights[f"{layer}fc1.weight"] != 0).any(1) | (weights[f"{layer}fc1.bias"] != 0)
    return reads & (weights[f"{layer}fc2.weight"] != 0).any(0)
