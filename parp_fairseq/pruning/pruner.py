"""Pruner: finds the subnetwork while the network trains (PARP, algorithm 1).

start            prune with the initial mask                                  (step 1)
every N updates  prune again by magnitude; meanwhile zeroed weights train on  (step 2, "adjust")
hide / restore   switch between the whole network and the subnetwork at the target sparsity
"""

import logging
from typing import Any, Dict, Iterator, Mapping, Optional

import torch
from torch import Tensor, nn

from .criterion import Criterion, magnitude
from .mask import Mask
from .outside import put_back, take
from .pattern import Pattern, global_, require_fit
from .schedule import Schedule

logger = logging.getLogger(__name__)


class Pruner:
    """Keeps ``params`` pruned as ``schedule`` says.

    Args:
        params: what may be pruned, name -> parameter; pruned in place.
        schedule: when, and how sparse.
        criterion: ranks the weights for the first mask; later masks go by magnitude.
        pattern: over which sets weights compete.
        adjust: True: zeroed weights train on and masks change (PARP). False: the first mask stays.
        initial_mask: the first mask; None makes one from the weights as they are at the start.

    Attributes:
        mask: the mask of the last prune; None before the first.
        mask_iou: IoU of ``mask`` with the initial mask.
        revived: share of all prunable weights that the last prune kept and the one before had not.
        pruned_in_epoch: the epoch that had just begun at the last prune that was due by epochs.

    Raises:
        ValueError: the mask does not fit the parameters or the schedule.
    """

    def __init__(
        self,
        params: Mapping[str, nn.Parameter],
        schedule: Schedule,
        criterion: Criterion = magnitude,
        pattern: Pattern = global_,
        adjust: bool = True,
        initial_mask: Optional[Mask] = None,
    ):
        if schedule.grows and not adjust:
            raise ValueError(
                "initial_sparsity below sparsity needs adjust: a fixed mask cannot grow"
            )
        require_fit(pattern, params, schedule)
        self.params = dict(params)
        self.schedule, self.criterion, self.pattern = schedule, criterion, pattern
        self.adjust = adjust
        self.initial_mask: Optional[Mask] = None
        self.mask: Optional[Mask] = None
        self.mask_iou = 1.0
        self.revived = 0.0
        self.pruned_in_epoch = 1
        self._masters: Mapping[str, Tensor] = self.params
        self._hidden: Optional[Dict[str, Tensor]] = None
        self._subnetwork: Optional[Mask] = None
        if initial_mask is not None:
            self.start_from(initial_mask)

    @property
    def prunes(self) -> bool:
        """False at a target of 0, where the network must be left alone to the bit."""
        return self.schedule.sparsity > 0

    @property
    def started(self) -> bool:
        return self.mask is not None

    @property
    def fixed(self) -> bool:
        """Whether the weights outside the mask are zero and stay so."""
        return self.started and not self.adjust

    def start_from(self, mask: Mask) -> None:
        """Have ``mask`` be the initial one.

        Raises:
            ValueError: it is of other parameters, of another sparsity than the first prune's, or
                does not follow the pattern.
        """
        mask._require_same_parameters(self.params)
        wanted = self.schedule.sparsity_at(0)
        total = mask.num_weights
        # Patterns other than the global one round once for each tensor.
        slack = 0 if self.pattern is global_ else len(mask)
        if abs(mask.num_pruned - round(wanted * total)) > slack:
            raise ValueError(
                f"the mask prunes {mask.num_pruned} of {total} weights, expected "
                f"{round(wanted * total)} for sparsity {wanted:g}: "
                f"the mask's own sparsity is {mask.sparsity!r}"
            )
        if self.pattern is not global_:
            self._require_pattern(mask, wanted)
        self.initial_mask = mask

    def _require_pattern(self, mask: Mask, sparsity: float) -> None:
        for name, keep in mask.items():
            # Of zeros and ones a pattern prunes the zeros, if their number is right everywhere.
            [(_, follows)] = self.pattern({name: keep.float()}, magnitude, sparsity)
            if not torch.equal(keep, follows):
                found, expected = int((~keep).sum()), int((~follows).sum())
                raise ValueError(
                    f"the mask does not follow the pattern {self.pattern.__name__}: it prunes "
                    f"{found} of {keep.numel()} weights of {name}, expected {expected}"
                    + (" in other places" if found == expected else "")
                )

    def start(self, masters: Optional[Mapping[str, Tensor]] = None) -> None:
        """Prune with the initial mask. ``masters``: see :meth:`prune`.

        Raises:
            ValueError: nothing would be left of a weight matrix; nothing was pruned.
        """
        self._use(masters)
        if self.initial_mask is None:
            self.initial_mask = self._make_mask(self.criterion, self.schedule.sparsity_at(0))
        self.initial_mask = self.initial_mask.beside(self.params)
        if self.initial_mask.emptied:
            layerwise = ", or task.prune_pattern=layerwise" if self.pattern is global_ else ""
            told = _tell_emptied(self.initial_mask, self.schedule.sparsity_at(0))
            raise ValueError(f"{told}: expected a lower task.sparsity{layerwise}")
        self._zero(self.initial_mask)

    def prune(self, update: int, masters: Optional[Mapping[str, Tensor]] = None) -> None:
        """Prune again by magnitude, to the sparsity that the schedule has for ``update``.

        Args:
            update: optimizer updates done.
            masters: name -> float32 copy that the optimizer keeps of a weight of lower precision.
                The mask is chosen from these and applied to both.
        """
        self._use(masters)
        before = self.mask
        self._zero(self._make_mask(magnitude, self.schedule.sparsity_at(update)))
        self.revived = self.mask.num_revived(before) / self.mask.num_weights
        if self.mask.emptied:
            told = _tell_emptied(self.mask, self.schedule.sparsity_at(update))
            logger.warning(f"update {update}: {told}")

    def subnetwork_mask(self) -> Mask:
        """The mask at the target sparsity, as the weights are now."""
        if self._subnetwork is not None:
            return self._subnetwork
        if self.started and self.adjust:
            return self._make_mask(magnitude, self.schedule.sparsity)
        if self.initial_mask is None:
            return self._make_mask(self.criterion, self.schedule.sparsity)
        if self.schedule.grows:
            return self._make_mask(self._magnitude_inside, self.schedule.sparsity)
        return self.initial_mask

    @torch.no_grad()
    def hide(self) -> None:
        """Zero all but the subnetwork, and remember what was there. Does nothing when hidden."""
        if self._hidden is None and self.prunes and not self.fixed:
            self._subnetwork = self.subnetwork_mask()
            self._hidden = take(self._subnetwork, self.params)
            self._subnetwork.apply_(self.params)

    @torch.no_grad()
    def restore(self) -> None:
        """Undo :meth:`hide`, bit for bit. Does nothing when nothing is hidden."""
        if self._hidden is not None:
            put_back(self._subnetwork, self.params, self._hidden)
            self._hidden = self._subnetwork = None

    @torch.no_grad()
    def mask_gradients(self) -> None:
        """Zero the gradients of pruned weights: a fixed mask stays, and clipping ignores them."""
        for name, param in self.params.items():
            if param.grad is not None:
                param.grad.mul_(self.mask[name])

    def state_dict(self, subnetwork: Mask) -> Dict[str, Any]:
        """What training needs beside the weights inside ``subnetwork``, as plain CPU tensors."""
        return {
            "subnetwork": subnetwork.state_dict(),
            "hidden": {name: values.cpu() for name, values in self._outside(subnetwork).items()},
            "mask": self.mask.state_dict() if self.started else None,
            "initial_mask": self.initial_mask.state_dict() if self.initial_mask else None,
            "mask_iou": self.mask_iou,
            "revived": self.revived,
            "pruned_in_epoch": self.pruned_in_epoch,
        }

    @torch.no_grad()
    def resume(
        self, state: Mapping[str, Any], masters: Optional[Mapping[str, Tensor]] = None
    ) -> None:
        """Take up the state of :meth:`state_dict`: the parameters hold the subnetwork before."""
        self._use(masters)
        subnetwork = Mask.from_state_dict(state["subnetwork"])
        put_back(subnetwork, self.params, state["hidden"])
        if self._masters is not self.params:
            put_back(subnetwork, self._masters, state["hidden"])
        self.mask = Mask.from_state_dict(state["mask"]).beside(self.params)
        self.initial_mask = Mask.from_state_dict(state["initial_mask"]).beside(self.params)
        for attribute in ("mask_iou", "revived", "pruned_in_epoch"):
            setattr(self, attribute, state[attribute])

    def _outside(self, subnetwork: Mask) -> Dict[str, Tensor]:
        """The values outside ``subnetwork`` as the optimizer has them."""
        if self.fixed:
            return {}
        if self._hidden is None:
            return take(subnetwork, self._masters)
        # Hidden are the parameters, and not the copies of those that have one.
        copies = {
            name: master
            for name, master in self._masters.items()
            if master.data_ptr() != self.params[name].data_ptr()
        }
        return {**self._hidden, **take(subnetwork, copies)}

    def _use(self, masters: Optional[Mapping[str, Tensor]]) -> None:
        self._masters = masters or self.params

    def _make_mask(self, criterion: Criterion, sparsity: float) -> Mask:
        return Mask(self.pattern(self._masters, criterion, sparsity))

    def _magnitude_inside(self, name: str, weight: Tensor) -> Iterator[Tensor]:
        """As if the initial mask had pruned already."""
        return magnitude(name, weight.detach() * self.initial_mask[name].to(weight.device))

    def _zero(self, mask: Mask) -> None:
        mask.apply_(self.params)
        if self._masters is not self.params:
            mask.apply_(self._masters)
        self.mask, self.mask_iou = mask, mask.iou(self.initial_mask)


def _tell_emptied(mask: Mask, sparsity: float) -> str:
    first, *others = mask.emptied
    return f"sparsity {sparsity:g} leaves nothing of {first} and {len(others)} other matrices"
