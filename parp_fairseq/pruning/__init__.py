"""Pruning itself: tensors in, tensors out. Imports torch, never fairseq."""

from typing import Mapping

from torch import Tensor

from .criterion import CriterionError, RandomScores, magnitude
from .mask import Mask
from .pattern import Pattern, parse_pattern
from .pruner import Pruner
from .schedule import Schedule
from .scope import SCOPES, prunable_parameters
from .subnetwork import Subnetwork

__all__ = [
    "SCOPES",
    "CriterionError",
    "Mask",
    "Pattern",
    "Pruner",
    "RandomScores",
    "Schedule",
    "Subnetwork",
    "magnitude",
    "magnitude_mask",
    "parse_pattern",
    "prunable_parameters",
    "random_mask",
]


def magnitude_mask(params: Mapping[str, Tensor], sparsity: float, pattern: str = "global") -> Mask:
    """Mask that prunes the smallest magnitudes.

    With the pattern ``global`` it equals ``torch.nn.utils.prune.global_unstructured`` with
    ``L1Unstructured`` and ``amount=sparsity``; equal magnitudes are resolved by position.

    Args:
        params: name -> weight, as of :func:`prunable_parameters`.
        sparsity: share of the weights to prune, 0 <= s < 1.
        pattern: ``global``, ``layerwise`` or ``N:M``.

    Raises:
        ValueError: the sparsity or the pattern is out of range, or a weight is infinite or not a
            number.
    """
    return Mask(parse_pattern(pattern)(params, magnitude, Schedule(sparsity).sparsity))


def random_mask(
    params: Mapping[str, Tensor], sparsity: float, seed: int = 0, pattern: str = "global"
) -> Mask:
    """Mask that prunes at random. It depends on the seed, the names and the shapes alone.

    Arguments and errors are those of :func:`magnitude_mask`.
    """
    scores = RandomScores(seed)
    return Mask(parse_pattern(pattern)(params, scores, Schedule(sparsity).sparsity))
