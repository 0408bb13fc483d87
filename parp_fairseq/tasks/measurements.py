"""Measurements: what fairseq knows at the end of an update, for criteria and rules that ask."""

from typing import Any, Dict, Mapping, Optional

from fairseq.optim import FairseqOptimizer
from fairseq.optim.fp16_optimizer import FP16Optimizer, MemoryEfficientFP16Optimizer
from torch import Tensor, distributed, nn

from parp_fairseq.pruning import Pruner

from .agreement import sum_over_ranks
from .master_weights import master_weights, masters_by_parameter


def measure(pruner: Pruner, optimizer: FairseqOptimizer, update: int) -> None:
    """Let ``pruner`` measure the update number ``update``, before the optimizer's step.

    Raises:
        CriterionError: after many updates there is a parameter that was never measured.
    """
    asks, params = pruner.observer.asks, pruner.params
    pruner.measure(
        update,
        gradients(optimizer, params) if "gradient" in asks else {},
        optimizer_states(optimizer, params) if "optimizer" in asks else {},
        master_weights(optimizer, params),
        sum_over_ranks if distributed.is_initialized() else None,
    )


def gradients(
    optimizer: FairseqOptimizer, params: Mapping[str, nn.Parameter]
) -> Dict[str, Optional[Tensor]]:
    """Name -> the gradient that the optimizer's next step uses; None where there is none.

    Call it after the gradients are clipped. The tensors are those of the optimizer, which uses what
    is written to them.
    """
    if isinstance(optimizer, (FP16Optimizer, MemoryEfficientFP16Optimizer)):
        # Loss scale, sample size and clipping are one factor, which fairseq applies in its step.
        optimizer._unscale_grads()
    if not isinstance(optimizer, FP16Optimizer):
        return {name: param.grad for name, param in params.items()}
    found = masters_by_parameter(optimizer, lambda master: master.grad)
    return {name: found.get(id(param)) for name, param in params.items()}


def optimizer_states(
    optimizer: FairseqOptimizer, params: Mapping[str, nn.Parameter]
) -> Dict[str, Dict[str, Any]]:
    """Name -> the state that the optimizer keeps of each parameter, such as ``exp_avg`` of Adam."""
    states = optimizer.optimizer.state
    if not isinstance(optimizer, FP16Optimizer):
        return {name: dict(states.get(param, {})) for name, param in params.items()}
    found: Dict[str, Dict[str, Any]] = {name: {} for name in params}
    keys = {key for state in states.values() for key in state}
    for key in keys:
        of_key = masters_by_parameter(optimizer, lambda master: states.get(master, {}).get(key))  # noqa: B023
        for name, param in params.items():
            if of_key.get(id(param)) is not None:
                found[name][key] = of_key[id(param)]
    return found
