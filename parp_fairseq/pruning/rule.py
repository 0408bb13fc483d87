"""Rule: how a new mask follows from the weights, the measurements and the mask before."""

from abc import abstractmethod
from typing import Any, Mapping, Optional

from torch import Tensor

from .criterion import Criterion, CriterionError, name_of
from .mask import Mask
from .measuring import Measuring
from .pattern import Pattern


class RuleError(ValueError):
    """A rule does not follow the contract; the message names it."""


class Reprune:
    """One re-prune, as a rule sees it.

    Attributes:
        mask: the mask until now.
        sparsity: the share of the weights that the new mask must prune.
        criterion: ranks the weights: ``prune_criterion``, or magnitude where that criterion is for
            the first mask only.
        weights: name -> parameter, or the float32 copy that a mixed-precision optimizer keeps.
        progress: share of the updates of the run that are done, 0 to 1; None where the run has no
            limit, which is refused for a rule that asks for "progress".
    """

    def __init__(
        self,
        rule: "Rule",
        pattern: Pattern,
        weights: Mapping[str, Tensor],
        criterion: Criterion,
        mask: Mask,
        sparsity: float,
        progress: Optional[float],
    ):
        self._rule, self._pattern = rule, pattern
        self.weights, self.criterion = weights, criterion
        self.mask, self.sparsity, self.progress = mask, sparsity, progress

    def select(self, criterion: Criterion, sparsity: Optional[float] = None) -> Mask:
        """The mask that prunes the lowest scores, in the pattern of the run.

        Args:
            criterion: ``(name, weight) -> scores``; see :mod:`criterion`.
            sparsity: share to prune; None means that of the re-prune.

        Raises:
            CriterionError: the scores are not one finite number for each weight.
        """
        sparsity = self.sparsity if sparsity is None else sparsity
        try:
            return Mask(self._pattern(self.weights, criterion, sparsity))
        except CriterionError as error:
            if criterion is self.criterion:
                raise
            raise CriterionError(f"rule {name_of(self._rule)}: {error}") from None


class Rule(Measuring):
    """Base of a re-prune rule: a subclass says which mask follows.

    Attributes:
        trains_pruned: True: pruned weights keep training, and the next mask may bring them back as
            they are (PARP). The rule is then also asked for the subnetwork of an evaluation or a
            checkpoint, so it must not change anything. False: they stay zero until a mask keeps
            them again, and the subnetwork is the mask itself.
    """

    trains_pruned = True

    @abstractmethod
    def __call__(self, now: Reprune) -> Mask:
        """The next mask, or a mapping of names to bool tensors, True where a weight is kept."""


class Parp(Rule):
    """PARP: the lowest scores of all weights are pruned, whether they were pruned before or not."""

    def __call__(self, now: Reprune) -> Mask:
        return now.select(now.criterion)


def next_mask(rule: Rule, now: Reprune, pattern: Pattern) -> Mask:
    """The mask that ``rule`` returns, checked.

    Raises:
        RuleError: it is no mask of these weights, or not of the sparsity and the pattern asked for.
        CriterionError: the scores are not one finite number for each weight.
    """
    found: Any = rule(now)
    if type(rule) is Parp:
        return found
    try:
        if not isinstance(found, Mapping):
            raise ValueError(f"expected a mask, found {type(found).__name__}")
        mask = found if isinstance(found, Mask) else Mask(found)
        mask._require_same_parameters(now.weights)
        pattern.require_followed(mask, now.sparsity)
    except ValueError as error:
        raise RuleError(f"rule {name_of(rule)} returned a wrong mask: {error}") from None
    return mask
