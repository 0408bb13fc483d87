"""What a masked model keeps beside its weights: in the metadata of a state dict.

torch keeps the versions of modules there.
"""

from collections import OrderedDict
from typing import Any, Dict, Mapping, Optional

from torch import Tensor

from .mask import Mask
from .pathways import masks_in

METADATA_KEY = "parp"


def kept_beside(weights: Mapping[str, Any]) -> Optional[Mapping[str, Any]]:
    """What a masked model keeps in the metadata of ``weights``, its state dict; None without."""
    metadata = getattr(weights, "_metadata", None) or {}
    return metadata.get("", {}).get(METADATA_KEY)


def masks_beside(weights: Mapping[str, Any]) -> Dict[str, Mask]:
    """Name of a corpus -> mask of its subnetwork; empty where there is one for all corpora."""
    return masks_in((kept_beside(weights) or {}).get("pruner"))


def with_masks(weights: Mapping[str, Tensor], masks: Mapping[str, Mask]) -> Dict[str, Tensor]:
    """``weights`` with nothing beside them but a mask for each corpus; :func:`masks_beside`."""
    held: Dict[str, Tensor] = OrderedDict(weights)
    if masks:
        corpora = {name: {"subnetwork": mask.state_dict()} for name, mask in masks.items()}
        held._metadata = {"": {METADATA_KEY: {"pruner": {"corpora": corpora}}}}
    return held
