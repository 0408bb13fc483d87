"""Pruner: the policy by which a network is pruned while it trains (PARP, algorithm 1).

start            prune with the initial mask                                  (step 1)
every N updates  prune again; meanwhile zeroed weights train on               (step 2, "adjust")
hide / restore   switch between the whole network and the subnetwork at the target sparsity

How weights are zeroed, hidden and restored is in :mod:`subnetwork`.
"""

import logging
from typing import Any, Dict, Mapping, Optional

from torch import Tensor, nn

from .criterion import Criterion, magnitude
from .initial_scores import InitialScores
from .learned import LearnedSubnetwork
from .mask import Mask
from .pattern import Global, Pattern
from .schedule import Schedule
from .subnetwork import Subnetwork

logger = logging.getLogger(__name__)


class Pruner:
    """Keeps ``params`` pruned as ``schedule`` says.

    Args:
        params: name -> parameter, pruned in place. The pattern picks those that it covers.
        schedule: when to prune, and how sparse.
        criterion: ranks the weights for the first mask.
        pattern: over which sets weights compete; None means all with all.
        adjust: True: zeroed weights train on and masks change (PARP). False: the first mask stays.
        initial_mask: the first mask; None makes one from the weights as they are at the start.
        reprune_criterion: ranks the weights for all later masks.
        initial_scores: freeze the weights and train a score for each, starting from these; the
            criteria then rank the scores. None trains the weights.

    Attributes:
        subnetwork: the network that is pruned.
        learns_mask: whether scores are trained in the place of the weights.
        mask: the mask of the last prune; None before the first.
        mask_iou: IoU of ``mask`` with the initial mask.
        revived: share of the prunable weights that the last prune kept and the one before pruned.
        pruned_in_epoch: the epoch that had just begun at the last prune that was due by epochs.

    Raises:
        ValueError: the schedule, the pattern or the mask does not fit.
    """

    def __init__(
        self,
        params: Mapping[str, nn.Parameter],
        schedule: Schedule,
        criterion: Criterion = magnitude,
        pattern: Optional[Pattern] = None,
        adjust: bool = True,
        initial_mask: Optional[Mask] = None,
        reprune_criterion: Criterion = magnitude,
        initial_scores: Optional[InitialScores] = None,
    ):
        if schedule.grows and not adjust:
            raise ValueError(
                "initial_sparsity below sparsity needs adjust: a fixed mask cannot grow"
            )
        self.learns_mask = initial_scores is not None
        if self.learns_mask and (schedule.grows or not adjust or initial_mask is not None):
            raise ValueError(
                "initial_scores decide the mask from the start: expected no initial_mask, "
                "adjust=True and no initial_sparsity below sparsity"
            )
        self.pattern = pattern or Global()
        covered = self.pattern.covered(params)
        self.subnetwork = (
            LearnedSubnetwork(covered, initial_scores) if self.learns_mask else Subnetwork(covered)
        )
        self.pattern.require_fit(self.params, schedule)
        self.schedule, self.adjust = schedule, adjust
        self.criterion, self.reprune_criterion = criterion, reprune_criterion
        self.initial_mask: Optional[Mask] = None
        self.mask: Optional[Mask] = None
        self.mask_iou = 1.0
        self.revived = 0.0
        self.pruned_in_epoch = 1
        if initial_mask is not None:
            self.start_from(initial_mask)

    @property
    def params(self) -> Dict[str, Tensor]:
        """Name -> parameter that the pruner prunes."""
        return self.subnetwork.params

    @property
    def prunes(self) -> bool:
        """False at a target sparsity of 0, where the network must stay as it is, bit for bit."""
        return self.schedule.sparsity > 0

    @property
    def started(self) -> bool:
        """Whether the network was pruned for the first time."""
        return self.mask is not None

    @property
    def fixed(self) -> bool:
        """Whether the weights outside the mask are zero and stay so."""
        return self.started and not self.adjust

    def start_from(self, mask: Mask) -> None:
        """Use ``mask`` as the initial one.

        Raises:
            ValueError: it is of other parameters, of another sparsity than the first prune's, or
                does not follow the pattern.
        """
        mask._require_same_parameters(self.params)
        self.pattern.require_followed(mask, self.schedule.sparsity_at(0))
        self.initial_mask = mask

    def start(self, masters: Optional[Mapping[str, Tensor]] = None) -> None:
        """Prune with the initial mask. ``masters``: see :meth:`prune`.

        Raises:
            ValueError: nothing would be left of a weight matrix; nothing was pruned.
            RuntimeError: the network is hidden.
        """
        self.subnetwork.require_whole()
        self.subnetwork.use(masters)
        self.subnetwork.begin()
        if self.initial_mask is None:
            self.initial_mask = self._make_mask(self.criterion, self.schedule.sparsity_at(0))
        self.initial_mask = self.initial_mask.beside(self.params)
        if self.initial_mask.emptied:
            raise ValueError(_describe_emptied(self.initial_mask, self.schedule.sparsity_at(0)))
        self._zero(self.initial_mask)

    def prune(self, update: int, masters: Optional[Mapping[str, Tensor]] = None) -> None:
        """Prune again, to the sparsity that the schedule has for ``update``.

        Args:
            update: optimizer updates done.
            masters: name -> float32 copy that the optimizer keeps of a weight of lower precision.
                The mask is chosen from these and applied to both.

        Raises:
            RuntimeError: the network is hidden, or was not pruned with the initial mask yet.
        """
        self.subnetwork.require_whole()
        if not self.started:
            raise RuntimeError("the pruner has not started: call start() before prune()")
        self.subnetwork.use(masters)
        before = self.mask
        self._zero(self._make_mask(self.reprune_criterion, self.schedule.sparsity_at(update)))
        self.revived = self.mask.num_revived(before) / self.mask.num_weights
        if self.mask.emptied:
            described = _describe_emptied(self.mask, self.schedule.sparsity_at(update))
            logger.warning(f"update {update}: {described}")

    def enforce(self, masters: Optional[Mapping[str, Tensor]] = None) -> None:
        """Zero again what the mask prunes. ``masters``: see :meth:`prune`.

        Zero gradients alone do not keep a weight at zero: an optimizer also moves it by what it
        remembers, such as the moments of an earlier run.
        """
        self.subnetwork.use(masters)
        self.subnetwork.apply(self.mask)

    def mask_gradients(self) -> None:
        """Zero the gradients of pruned weights, so that clipping ignores them."""
        self.subnetwork.mask_gradients(self.mask)

    def subnetwork_mask(self) -> Mask:
        """The mask at the target sparsity, as the weights are now."""
        if self.subnetwork.hidden_by is not None:
            return self.subnetwork.hidden_by
        if self.started and self.learns_mask:
            return self.mask  # the scores change in optimizer steps only, and each one prunes
        if self.started and self.adjust:
            return self._make_mask(self.reprune_criterion, self.schedule.sparsity)
        if self.initial_mask is None:
            return self._make_mask(self.criterion, self.schedule.sparsity)
        if self.schedule.grows:  # as if the initial mask had pruned already
            with self.subnetwork.hidden(self.initial_mask):
                return self._make_mask(self.reprune_criterion, self.schedule.sparsity)
        return self.initial_mask

    def hide(self) -> None:
        """Hide all but the subnetwork at the target sparsity. Does nothing when it is hidden."""
        if self.subnetwork.hidden_by is None and self.prunes and not self.fixed:
            self.subnetwork.hide(self.subnetwork_mask())

    def restore(self) -> None:
        """Undo :meth:`hide`, bit for bit. Does nothing when nothing is hidden."""
        self.subnetwork.restore()

    def finish(self) -> None:
        """Leave the subnetwork at the target sparsity for good. No more updates follow."""
        mask = self.subnetwork_mask()
        self.restore()
        self.subnetwork.apply(mask)
        self.mask = mask
        self.subnetwork.end()

    def state_dict(self, subnetwork: Optional[Mask] = None) -> Dict[str, Any]:
        """What training needs beside the weights inside the subnetwork.

        Args:
            subnetwork: :meth:`subnetwork_mask`, if it is at hand.

        Returns:
            A dict of plain numbers, dicts and CPU tensors.
        """
        subnetwork = self.subnetwork_mask() if subnetwork is None else subnetwork
        return {
            "subnetwork": subnetwork.state_dict(),
            **({"hidden": {}} if self.fixed else self.subnetwork.state_dict(subnetwork)),
            "mask": None if self.mask is None else self.mask.state_dict(),
            "initial_mask": None if self.initial_mask is None else self.initial_mask.state_dict(),
            "mask_iou": self.mask_iou,
            "revived": self.revived,
            "pruned_in_epoch": self.pruned_in_epoch,
        }

    def load(
        self, state: Mapping[str, Any], masters: Optional[Mapping[str, Tensor]] = None
    ) -> None:
        """Continue from :meth:`state_dict`. The parameters hold the subnetwork's weights.

        Args:
            state: what :meth:`state_dict` returned.
            masters: see :meth:`prune`.

        Raises:
            ValueError: the state is of other parameters; nothing was changed.
        """
        masks = {}
        for key in ("subnetwork", "mask", "initial_mask"):
            masks[key] = None if state[key] is None else Mask.from_state_dict(state[key])
            if masks[key] is not None:
                masks[key]._require_same_parameters(self.params)
        self.subnetwork.use(masters)
        self.subnetwork.load(masks["subnetwork"], state)
        for key in ("mask", "initial_mask"):
            setattr(self, key, None if masks[key] is None else masks[key].beside(self.params))
        for attribute in ("mask_iou", "revived", "pruned_in_epoch"):
            setattr(self, attribute, state[attribute])

    def _make_mask(self, criterion: Criterion, sparsity: float) -> Mask:
        return Mask(self.pattern(self.subnetwork.weights, criterion, sparsity))

    def _zero(self, mask: Mask) -> None:
        self.subnetwork.apply(mask)
        self.mask, self.mask_iou = mask, mask.iou(self.initial_mask)


def _describe_emptied(mask: Mask, sparsity: float) -> str:
    first, *others = mask.emptied
    others = f" and {len(others)} other matrices" if others else ""
    return f"sparsity {sparsity:g} prunes all weights of {first}{others}"
