"""Training: how any trainer drives a pruner.

::

    training = PrunedTraining(pruner, last_update)
    training.begin(update, epoch)                   # once, when optimizer and weights are there
    for epoch in epochs:
        training.begin_epoch(epoch)
        for batch in epoch:
            backward(batch)
            training.mask_gradients()               # before gradients are clipped
            with training.stepping():
                optimizer.step()
            training.updated(number_of_updates)
"""

import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Callable, List, Mapping, Optional

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from .agreement import failing_together, require_agreement
from .prune_log import PruneLog
from .pruner import Pruner

Masters = Optional[Mapping[str, Tensor]]


class PrunedTraining:
    """Prunes when it is due, on all ranks alike, and keeps a fixed mask fixed.

    Args:
        pruner: the policy.
        last_update: updates after which pruning ends; 0 means no limit.
        group: returns the ranks that must have the same mask, as a process group of
            ``torch.distributed``; by default all of them.
        of: the corpus that is trained, where each has its own pruner.

    Attributes:
        log: what was done.
        masters: returns the float32 copies that the optimizer keeps, see :meth:`Pruner.prune`. The
            trainer sets it once there is an optimizer.
        states: returns the state that the optimizer keeps of each parameter. Unused here; see
            :class:`pathways_training.PathwaysTraining`.
    """

    def __init__(
        self,
        pruner: Pruner,
        last_update: int = 0,
        group: Callable[[], Any] = lambda: None,
        of: str = "",
    ):
        self.pruner = pruner
        self.last_update = last_update
        self.group = group
        self.epoch = 1
        self.log = PruneLog(pruner, of)
        self.masters: Callable[[], Masters] = lambda: None
        self.states: Callable[[], Mapping[str, Mapping[str, Tensor]]] = dict

    @property
    def adjusts(self) -> bool:
        """Whether the mask changes while the network trains."""
        return self.pruner.prunes and self.pruner.adjust

    @property
    def starts_late(self) -> bool:
        """Whether the initial mask waits for what the criterion measures."""
        return self.pruner.prunes and not self.pruner.started

    def begin(self, update: int, epoch: int) -> None:
        """Prune with the initial mask, unless the state of an earlier run was loaded.

        A criterion that measures makes it later, at the end of an update.

        Args:
            update: updates done.
            epoch: the epoch that begins or goes on, from 1.

        Raises:
            ValueError: see :meth:`Pruner.start`.
        """
        self.epoch = epoch
        self.log.update = self.pruner.updates = update
        if self.starts_late and self.pruner.may_start:
            self._start()

    def begin_epoch(self, epoch: int) -> None:
        """Prune where epochs count and it is due. Calling it again in an epoch does nothing."""
        pruner, self.epoch = self.pruner, epoch
        due = pruner.schedule.due_before_epoch(epoch, pruner.pruned_in_epoch)
        if due and self.adjusts and pruner.started:
            self._prune(self.log.update)
            pruner.pruned_in_epoch = epoch

    def batch(self, corpus: Optional[str]) -> AbstractContextManager:
        """The forward and the backward pass of a batch may run inside this context.

        It does nothing here; see :class:`pathways_training.PathwaysTraining`.
        """
        return nullcontext()

    def mask_gradients(self) -> None:
        """Zero the gradients of what a fixed mask prunes, so that clipping ignores them.

        An update that measures gradients needs these too. :meth:`Pruner.measure` zeroes them.
        """
        if self._masks_gradients:
            self.pruner.mask_gradients()

    def mask_gradients_as_they_come(self) -> List[RemovableHandle]:
        """From now on, do what :meth:`mask_gradients` does in the backward pass itself.

        For trainers that clip gradients before anyone can call it.

        Returns:
            Handles; their ``remove()`` undoes it.
        """
        if self.pruner.adjust and self.pruner.rule.trains_pruned:
            return []
        return [
            param.register_hook(partial(self._masked, name))
            for name, param in self.pruner.params.items()
            if param.requires_grad
        ]

    def _masked(self, name: str, gradient: Tensor) -> Tensor:
        if not self._masks_gradients:
            return gradient
        return gradient * self.pruner.mask[name].to(gradient.device)

    @property
    def _masks_gradients(self) -> bool:
        asks = "gradient" in self.pruner.observer.asks
        measures = asks and self.pruner.measures_after(self.log.update + 1)
        return self.pruner.fixed and not measures

    def stepping(self) -> AbstractContextManager:
        """The optimizer steps inside this context."""
        return self.pruner.subnetwork.stepping()

    def updated(self, update: int) -> None:
        """Prune if that is due. ``update``: updates done, the last one included.

        Raises:
            ValueError: the initial mask is made now; see :meth:`Pruner.start`.
        """
        self.log.update = self.pruner.updates = update
        if self.pruner.fixed:
            self.pruner.enforce(self.masters())
        if self.starts_late:
            if self.pruner.may_start:
                self._start()
                require_agreement(self.pruner.mask, self._device, self.group())
        elif self.adjusts and self.pruner.schedule.due_after_update(update):
            self._prune(update)
        if self.pruner.started and update == self.last_update:
            self.log.ends()

    def _start(self) -> None:
        self.pruner.start(self.masters())
        self.pruner.pruned_in_epoch = self.epoch
        self.log.pruned(self.log.update)

    def _prune(self, update: int) -> None:
        start = time.perf_counter()
        with failing_together(self._device, self.group()):
            self.pruner.prune(update, self.masters())
        require_agreement(self.pruner.mask, self._device, self.group())
        self.log.seconds.append(time.perf_counter() - start)
        self.log.pruned(update, self.log.seconds[-1])

    @property
    def _device(self) -> torch.device:
        return next(iter(self.pruner.params.values())).device
