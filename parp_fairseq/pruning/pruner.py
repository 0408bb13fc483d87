"""Pruner: the policy by which a network is pruned while it trains (PARP, algorithm 1).

start            prune with the initial mask                                  (step 1)
every N updates  prune again; meanwhile zeroed weights train on               (step 2, "adjust")
hide / restore   switch between the whole network and the subnetwork at the target sparsity

How weights are zeroed, hidden and restored is in :mod:`subnetwork`, how one mask follows another in
:mod:`rule`, and what criteria and rules measure while the network trains in :mod:`observer`.
"""

import logging
from typing import Any, Callable, Dict, Mapping, Optional

from torch import Tensor, nn

from .criterion import Criterion, magnitude
from .initial_scores import InitialScores
from .learned import LearnedSubnetwork
from .mask import Mask
from .observer import Observer
from .pattern import Global, Pattern
from .rule import Parp, Reprune, Rule, next_mask
from .schedule import Schedule
from .subnetwork import Subnetwork

logger = logging.getLogger(__name__)


class Pruner:
    """Keeps ``params`` pruned as ``schedule`` says.

    Args:
        params: name -> parameter, pruned in place. The pattern picks those that it covers.
        schedule: when to prune, and how sparse.
        criterion: ranks the weights for the first mask, and for all later ones if its attribute
            ``reprunes`` is true; otherwise magnitude does.
        pattern: over which sets weights compete; None means all with all.
        adjust: True: zeroed weights train on and masks change (PARP). False: the first mask stays.
        initial_mask: the first mask; None makes one from the weights as they are at the start.
        rule: says which mask follows another; None means that of PARP.
        initial_scores: freeze the weights and train a score for each, starting from these; the
            criteria then rank the scores. None trains the weights.
        subnetwork: the network, where several pruners share it (:mod:`pathways`). None makes one of
            ``params``.

    Attributes:
        subnetwork: the network that is pruned.
        observer: measures what the criterion and the rule ask for.
        learns_mask: whether scores are trained in the place of the weights.
        mask: the mask of the last prune; None before the first.
        mask_iou: IoU of ``mask`` with the initial mask.
        revived: share of the prunable weights that the last prune kept and the one before pruned.
        updates: optimizer updates done, as far as the pruner was told.
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
        rule: Optional[Rule] = None,
        initial_scores: Optional[InitialScores] = None,
        subnetwork: Optional[Subnetwork] = None,
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
        if subnetwork is not None:
            self.subnetwork = subnetwork
        elif self.learns_mask:
            self.subnetwork = LearnedSubnetwork(covered, initial_scores)
        else:
            self.subnetwork = Subnetwork(covered)
        self.pattern.require_fit(self.params, schedule)
        self.schedule, self.adjust = schedule, adjust
        self.criterion, self.rule = criterion, rule or Parp()
        self.observer = Observer(criterion, self.rule, self.params)
        self.initial_mask: Optional[Mask] = None
        self.mask: Optional[Mask] = None
        self.mask_iou = 1.0
        self.revived = 0.0
        self.updates = 0
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
        """Whether the weights outside the mask stay as they are until the next mask.

        They are zero, unless other pruners share the network.
        """
        trains_all = self.adjust and self.rule.trains_pruned and self.subnetwork.zeroes
        return self.started and not trains_all

    @property
    def may_start(self) -> bool:
        """Whether the first mask can be made: it is at hand, or all that it needs is measured."""
        return self.initial_mask is not None or self.observer.has_measured("criterion")

    @property
    def ranking(self) -> Criterion:
        """What ranks the weights after the first mask."""
        known = self.observer.has_measured("criterion")
        return self.criterion if known and getattr(self.criterion, "reprunes", False) else magnitude

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
            ValueError: nothing would be left of a weight matrix, or the criterion breaks its
                contract; nothing was pruned.
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
        if not self.adjust:
            self.observer.stop()

    def prune(self, update: int, masters: Optional[Mapping[str, Tensor]] = None) -> None:
        """Prune again, to the sparsity that the schedule has for ``update``.

        Args:
            update: optimizer updates done.
            masters: name -> float32 copy that the optimizer keeps of a weight of lower precision.
                The mask is chosen from these and applied to both.

        Raises:
            ValueError: the criterion or the rule breaks its contract; nothing was pruned.
            RuntimeError: the network is hidden, or was not pruned with the initial mask yet.
        """
        self.subnetwork.require_whole()
        if not self.started:
            raise RuntimeError("the pruner has not started: call start() before prune()")
        self.subnetwork.use(masters)
        before, self.updates = self.mask, update
        self._zero(self._next_mask(self.rule, self.schedule.sparsity_at(update)))
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

    def watch(self, network: nn.Module) -> None:
        """Install the hooks in ``network`` that measuring needs; see :meth:`Observer.watch`."""
        self.observer.watch(network)

    def measures_after(self, update: int) -> bool:
        """Whether the update that is number ``update`` from 1 is measured (:mod:`observer`)."""
        may_prune = not self.started or self.schedule.may_prune_after(update)
        return self.prunes and self.observer.observes(may_prune)

    def measure(
        self,
        update: int,
        gradients: Mapping[str, Optional[Tensor]],
        states: Mapping[str, Mapping[str, Tensor]],
        masters: Optional[Mapping[str, Tensor]] = None,
        all_reduce: Optional[Callable[[Tensor], Any]] = None,
    ) -> None:
        """Measure an update before the optimizer's step. ``update`` counts from 1.

        Afterwards the gradients of weights that stay zero are zero. The other arguments are those
        of :meth:`Observer.observe` and :meth:`prune`.

        Raises:
            CriterionError: after many updates there is a parameter that was never measured.
        """
        self.subnetwork.use(masters)
        may_prune = not self.started or self.schedule.may_prune_after(update)
        weights = self.subnetwork.weights
        self.observer.observe(weights, gradients, states, all_reduce, may_prune)
        if self.fixed:
            for name, gradient in gradients.items():
                if gradient is not None:
                    gradient.mul_(self.mask[name].to(gradient.device))

    def subnetwork_mask(self) -> Mask:
        """The mask at the target sparsity, as the weights are now."""
        if self.subnetwork.hidden_by is not None:
            return self.subnetwork.hidden_by
        if self.started and self.learns_mask:
            return self.mask  # the scores change in optimizer steps only, and each one prunes
        if self.fixed:
            # What is pruned is zero, so a sparser mask prunes it too.
            grows = self.schedule.grows
            return self._make_mask(magnitude, self.schedule.sparsity) if grows else self.mask
        if self.started:
            rule = self.rule if self.observer.has_measured("rule") else Parp()
            return self._next_mask(rule, self.schedule.sparsity)
        if self.initial_mask is None:
            criterion = self.criterion if self.may_start else magnitude
            return self._make_mask(criterion, self.schedule.sparsity)
        if self.schedule.grows:  # as if the initial mask had pruned already
            with self.subnetwork.hidden(self.initial_mask):
                return self._make_mask(self.ranking, self.schedule.sparsity)
        return self.initial_mask

    def hide(self) -> None:
        """Hide all but the subnetwork at the target sparsity. Does nothing when it is hidden."""
        if self.subnetwork.hidden_by is None and self.prunes and not self._is_subnetwork:
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
            **({"hidden": {}} if self._is_subnetwork else self.subnetwork.state_dict(subnetwork)),
            "mask": None if self.mask is None else self.mask.state_dict(),
            "initial_mask": None if self.initial_mask is None else self.initial_mask.state_dict(),
            "mask_iou": self.mask_iou,
            "revived": self.revived,
            "pruned_in_epoch": self.pruned_in_epoch,
            **({"measured": measured} if (measured := self.observer.state_dict()) else {}),
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
        if self.started and not self.adjust:
            self.observer.stop()
        elif "measured" in state:
            self.observer.load(state["measured"])

    @property
    def _is_subnetwork(self) -> bool:
        """Whether the network is the subnetwork at the target sparsity as it is."""
        return self.fixed and not self.schedule.grows and self.subnetwork.zeroes

    def _next_mask(self, rule: Rule, sparsity: float) -> Mask:
        weights, progress = self.subnetwork.weights, self.schedule.progress(self.updates)
        now = Reprune(rule, self.pattern, weights, self.ranking, self.mask, sparsity, progress)
        return next_mask(rule, now, self.pattern)

    def _make_mask(self, criterion: Criterion, sparsity: float) -> Mask:
        return Mask(self.pattern(self.subnetwork.weights, criterion, sparsity))

    def _zero(self, mask: Mask) -> None:
        self.subnetwork.apply(mask)
        self.mask, self.mask_iou = mask, mask.iou(self.initial_mask)


def _describe_emptied(mask: Mask, sparsity: float) -> str:
    first, *others = mask.emptied
    others = f" and {len(others)} other matrices" if others else ""
    return f"sparsity {sparsity:g} prunes all weights of {first}{others}"
