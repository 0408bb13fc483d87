"""Pruning itself: tensors in, tensors out. Imports torch, never fairseq."""

import warnings
from typing import Mapping

from torch import Tensor

from .arguments import as_seed, as_share
from .coverage import Coverage
from .criteria import Fisher, Movement, Taylor, Wanda
from .criterion import CriterionError, RandomScores, magnitude
from .initial_scores import initial_scores
from .learned import LearnedSubnetwork
from .mask import Mask
from .measuring import Measurement, Measuring
from .pattern import Pattern, parse_pattern
from .pruner import Pruner
from .registry import build_criterion, build_rule, register_criterion, register_rule
from .rule import Parp, Reprune, Rule, RuleError
from .rules import Rigl
from .schedule import Schedule
from .scope import SCOPES, coverage, prunable_parameters
from .subnetwork import Subnetwork
from .weights import require_prunable, require_separate
from .zeros import sparse_already

__all__ = [
    "SCOPES",
    "Coverage",
    "CriterionError",
    "Fisher",
    "LearnedSubnetwork",
    "Mask",
    "Measurement",
    "Measuring",
    "Movement",
    "Parp",
    "Pattern",
    "Pruner",
    "RandomScores",
    "Reprune",
    "Rigl",
    "Rule",
    "RuleError",
    "Schedule",
    "Subnetwork",
    "Taylor",
    "Wanda",
    "build_criterion",
    "build_rule",
    "coverage",
    "initial_scores",
    "magnitude",
    "magnitude_mask",
    "parse_pattern",
    "prunable_parameters",
    "random_mask",
    "register_criterion",
    "register_rule",
]


def magnitude_mask(params: Mapping[str, Tensor], sparsity: float, pattern: str = "global") -> Mask:
    """Mask that prunes the smallest magnitudes.

    With the pattern ``global`` it equals ``torch.nn.utils.prune.global_unstructured`` with
    ``L1Unstructured`` and ``amount=sparsity``; equal magnitudes are resolved by position. Warns
    where more weights are zero already than are to be pruned; see :meth:`Mask.of_zeros`.

    Args:
        params: name -> weight, as of :func:`prunable_parameters`.
        sparsity: share of the weights to prune, 0 <= s < 1.
        pattern: ``global``, ``layerwise``, ``N:M`` or ``ffn_channels``.

    Raises:
        ValueError: the sparsity or the pattern is out of range or of another type, or a weight is
            infinite, not a number, no dense floating-point tensor, or shares memory with another.
    """
    require_prunable(params)
    sparsity = Schedule(as_share("sparsity", sparsity)).sparsity
    mask = Mask(parse_pattern(pattern)(params, magnitude, sparsity))
    if warning := sparse_already(params, mask.num_pruned):
        warnings.warn(warning, stacklevel=2)
    return mask


def random_mask(
    params: Mapping[str, Tensor], sparsity: float, seed: int = 0, pattern: str = "global"
) -> Mask:
    """Mask that prunes at random. It depends on the seed, the names and the shapes alone.

    Arguments and errors are those of :func:`magnitude_mask`, but weights of any type will do;
    ``seed`` is a whole number.
    """
    require_separate(params)
    sparsity = Schedule(as_share("sparsity", sparsity)).sparsity
    scores = RandomScores(as_seed(seed))
    return Mask(parse_pattern(pattern)(params, scores, sparsity))
