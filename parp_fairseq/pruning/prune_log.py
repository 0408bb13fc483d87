"""Prune log: what pruning did, for the log of a training run."""

import logging
from typing import Dict, List

from .pruner import Pruner

logger = logging.getLogger(__name__)


class PruneLog:
    """Writes what ``pruner`` does to the log.

    Args:
        pruner: the policy.
        of: the corpus that it prunes for, where each has its own pruner.

    Attributes:
        seconds: how long each re-prune of this process took.
        update: optimizer updates done.
    """

    def __init__(self, pruner: Pruner, of: str = ""):
        self.pruner = pruner
        self.of = of
        self.seconds: List[float] = []
        self.update = 0
        self._ended = False

    def pruned(self, update: int, seconds: float = 0.0) -> None:
        """The pruner has pruned after ``update`` updates."""
        mask = self.pruner.mask
        when = f"at update {update}"
        if self.of:  # not in the words that `parp report` reads: these are updates of a corpus
            when = f"for {self.of}, after {update} updates of it"
        # A line for every update would be too many; the metrics have the same numbers.
        every_update = self.pruner.learns_mask and update > 0
        logger.log(
            logging.DEBUG if every_update else logging.INFO,
            f"pruned {mask.num_pruned:,} of {mask.num_weights:,} weights {when}: "
            f"target sparsity {self.pruner.schedule.sparsity_at(update):.4f}, "
            f"sparsity {mask.sparsity:.4f}, mask_iou {self.pruner.mask_iou:.4f}, "
            f"revived {self.pruner.revived:.4f}, {seconds:.3f} s",
        )

    def ends(self) -> None:
        """The last update is done."""
        self._ended = True
        logger.info(f"pruning ends at update {self.update}: {self.summary()}")

    def saves(self) -> None:
        """A checkpoint is written. A run that ends early is known to end only when it has saved."""
        if self._ended or not self.pruner.started:
            return
        schedule = self.pruner.schedule
        logger.info(f"pruning until update {self.update}: {self.summary()}")
        if schedule.grows and self.update < schedule.ramp_updates:
            logger.info(
                f"the checkpoint of update {self.update} is pruned to sparsity "
                f"{schedule.sparsity:.4f}, at which the network has not been trained yet: the last "
                f"prune was to {self.pruner.mask.sparsity:.4f}, and the sparsity grows until "
                f"update {schedule.ramp_updates}"
            )

    def metrics(self) -> Dict[str, float]:
        """What trainers show beside the loss."""
        return {
            "sparsity": self.pruner.mask.sparsity,
            "mask_iou": self.pruner.mask_iou,
            "revived": self.pruner.revived,
            "prune_seconds": sum(self.seconds[-1:]),
        }

    def summary(self) -> str:
        """What was pruned until now, in words."""
        mask = self.pruner.mask
        return (
            f"{len(self.seconds)} re-prunes took {sum(self.seconds):.2f} s in this process; "
            f"target sparsity {self.pruner.schedule.sparsity:.4f}, "
            f"last mask {mask.sparsity:.4f} of {mask.num_weights:,} weights, "
            f"mask_iou {self.pruner.mask_iou:.4f}"
        )
