"""Computed weights: layers whose weight is no parameter, but is computed from others.

Setting some of these others to zero does not set the weight to zero, or a later step undoes it.
"""

import re
from typing import Collection, Dict, NamedTuple, Optional


class Stored(NamedTuple):
    """What a stored tensor belongs to.

    Attributes:
        name: the parameter: ``fc1.weight`` for ``fc1.weight_orig``.
        cause: what computes that parameter, and how to undo it; None for a plain parameter.
    """

    name: str
    cause: Optional[str] = None


_PRUNED = "pruned by torch.nn.utils.prune; make it permanent with torch.nn.utils.prune.remove"
_SPECTRAL = "under spectral norm; call torch.nn.utils.remove_spectral_norm"
_NORM = "under weight norm; call torch.nn.utils.remove_weight_norm"
_PARAMETRIZED = (
    "parametrized (weight norm or another one); call "
    "torch.nn.utils.parametrize.remove_parametrizations"
)
_ADAPTER = "wrapped by an adapter such as LoRA; merge the adapter into the weight"


def owners(names: Collection[str]) -> Dict[str, Stored]:
    """For each name of a stored tensor, the parameter that it belongs to.

    Args:
        names: all parameters and buffers of a module, or all keys of a state dict.
    """
    names = set(names)
    adapted = {found[1] for name in names if (found := re.match(r"(.*\.|)lora_\w+(\.|$)", name))}
    return {name: _owner(name, names, adapted) for name in names}


def _owner(name: str, names: Collection[str], adapted: Collection[str]) -> Stored:
    if found := re.fullmatch(r"(.*\.|)base_layer\.(.+)", name):
        return Stored(found[1] + _owner(found[2], names, ()).name, _ADAPTER)
    if found := re.fullmatch(r"(.*\.|)parametrizations\.(\w+)\..+", name):
        return Stored(found[1] + found[2], _PARAMETRIZED)
    if found := re.fullmatch(r"(.+)_(orig|mask|[uvg])", name):
        weight, kind = found.groups()
        if f"{weight}_orig" in names:
            if f"{weight}_mask" in names and kind in ("orig", "mask"):
                return Stored(weight, _PRUNED)
            if f"{weight}_u" in names and kind in ("orig", "u", "v"):
                return Stored(weight, _SPECTRAL)
        # Both, for a bias_v may also be a parameter of nn.MultiheadAttention.
        if {f"{weight}_g", f"{weight}_v"} <= names and kind in ("g", "v"):
            return Stored(weight, _NORM)
    layer, _, leaf = name.rpartition(".")
    if leaf == "weight" and (f"{layer}." if layer else "") in adapted:
        return Stored(name, _ADAPTER)
    return Stored(name)
