"""Measuring: criteria and rules that look at more than the weights.

Each update of the optimizer gives them, for each parameter, a :class:`Measurement` of what they ask
for. What they keep of it is saved in checkpoints.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Collection, Dict, Mapping, Optional

from torch import Tensor

from .criterion import broken

ASKED = ("gradient", "inputs", "optimizer", "progress")


@dataclass(frozen=True)
class Measurement:
    """What one update tells about one parameter. All tensors are float32 or float64.

    Do not change the tensors in place. The optimizer reuses their memory, so clone what you keep
    as it is; what you compute from them is yours.

    Attributes:
        weight: the parameter, or the float32 copy that a mixed-precision optimizer keeps of it,
            before the optimizer's step.
        gradient: of the loss at ``weight``: summed over the micro-batches and the ranks, divided by
            the sample size and clipped, as the optimizer's step uses it. Asked for by "gradient".
        input_norm: root mean square of each input feature of the layer that the parameter belongs
            to, over all frames of all updates so far (padding excluded), in a shape that
            broadcasts against ``weight``: (in,) for a linear layer, (in, 1) for a convolution over
            time. The input of a bias is the constant 1. Asked for by "inputs".
        input_mean: the mean of each input feature, likewise.
        optimizer: the state that the optimizer keeps of the parameter, such as ``exp_avg_sq`` of
            Adam, as the update before left it; empty at the first update. Asked for by "optimizer".
    """

    weight: Tensor
    gradient: Optional[Tensor] = None
    input_norm: Optional[Tensor] = None
    input_mean: Optional[Tensor] = None
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)


class Measuring:
    """Base of a criterion or a rule that measures.

    A layer that took no part in an update (layer drop) is not measured in it. The first mask is
    made at the end of the first update by which the criterion has measured all parameters; until
    then the whole network trains.

    Attributes:
        asks: what :meth:`measure` needs: "gradient", "inputs", "optimizer". A rule may also ask for
            "progress".
        every_update: False: only updates that end in a prune are measured, which saves time.
        measured: name -> tensor; what is kept. Checkpoints hold it, and a run that is resumed gets
            it back. All ranks compute the same.
    """

    asks: Collection[str] = ()
    every_update = True

    @cached_property
    def measured(self) -> Dict[str, Tensor]:
        return _Measured(self)

    def measure(self, name: str, seen: Measurement) -> None:
        """Called for each parameter at the end of each update, before the optimizer's step."""

    @property
    def measures(self) -> bool:
        """Whether there is anything to measure."""
        return type(self).measure is not Measuring.measure


class _Measured(Dict[str, Tensor]):
    def __init__(self, owner: Measuring):
        super().__init__()
        self._owner = owner

    def __missing__(self, name: str) -> Tensor:
        raise broken(self._owner, f"has measured nothing of {name}")
