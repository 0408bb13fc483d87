"""Schedule: when weights are pruned again, and how sparse the network is then."""

import math
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Schedule:
    """PARP re-prunes every ``interval`` updates; PARP-P meanwhile raises the sparsity along a ramp.

    Args:
        sparsity: the target, 0 <= s < 1.
        initial_sparsity: sparsity of the first mask; None means ``sparsity`` (PARP).
        ramp: ``linear``, or ``cubic`` (Zhu & Gupta 2017): with t = update / ramp_updates,
            s(t) = s + (s0 - s) (1 - t)^p, where p is 1 or 3.
        ramp_updates: updates until the target is reached.
        interval: optimizer updates between two re-prunes; None where epochs count.
        epochs: epochs between two re-prunes; None where updates count.
        updates: updates of the whole run; 0 where it has no limit.

    Raises:
        ValueError: a value outside its range; the message names the option.
    """

    sparsity: float
    initial_sparsity: Optional[float] = None
    ramp: str = "linear"
    ramp_updates: int = 0
    interval: Optional[int] = None
    epochs: Optional[int] = None
    updates: int = 0

    def __post_init__(self):
        for option in ("sparsity", "initial_sparsity"):
            value = getattr(self, option)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{option} is {value}: expected 0 <= {option} < 1")
        if self.initial_sparsity is not None and self.initial_sparsity > self.sparsity:
            raise ValueError(
                f"initial_sparsity is {self.initial_sparsity}: "
                f"expected at most sparsity, which is {self.sparsity}"
            )
        if self.ramp not in ("linear", "cubic"):
            raise ValueError(f"sparsity_ramp is {self.ramp!r}: expected linear or cubic")
        if self.grows and self.ramp_updates < 1:
            raise ValueError(
                f"ramp_updates is {self.ramp_updates}: expected at least 1 update to grow from "
                f"initial_sparsity {self.initial_sparsity} to sparsity {self.sparsity}"
            )
        for option, value in (
            ("prune_interval", self.interval),
            ("prune_interval_epochs", self.epochs),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{option} is {value}: expected at least 1")

    @property
    def grows(self) -> bool:
        """Whether the first mask is less sparse than the last (PARP-P)."""
        return self.initial_sparsity is not None and self.initial_sparsity < self.sparsity

    def sparsity_at(self, update: int) -> float:
        """Sparsity to prune to after ``update`` optimizer updates."""
        if not self.grows or update >= self.ramp_updates:
            return self.sparsity
        power = {"linear": 1, "cubic": 3}[self.ramp]
        left = math.pow(1 - update / self.ramp_updates, power)
        return self.sparsity + (self.initial_sparsity - self.sparsity) * left

    def progress(self, update: int) -> Optional[float]:
        """Share of the run that is done after ``update`` updates; None where it has no limit."""
        return min(update / self.updates, 1.0) if self.updates > 0 else None

    def may_prune_after(self, update: int) -> bool:
        """Whether a re-prune may follow ``update`` updates, at once or as the next epoch begins."""
        return self.epochs is not None or self.due_after_update(update)

    def due_after_update(self, update: int) -> bool:
        """Whether to re-prune once ``update`` updates are done.

        At the end of a ramp too: what follows trains at the target.
        """
        if self.grows and update == self.ramp_updates:
            return True
        return self.interval is not None and update % self.interval == 0

    def due_before_epoch(self, epoch: int, pruned_in_epoch: int) -> bool:
        """Whether to re-prune as ``epoch`` (from 1) begins, if it has not been done for it yet."""
        return (
            self.epochs is not None and epoch != pruned_in_epoch and (epoch - 1) % self.epochs == 0
        )
