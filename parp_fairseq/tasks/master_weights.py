"""The float32 copies ("masters") that fairseq's mixed-precision optimizers keep of the weights."""

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from fairseq.optim import FairseqOptimizer
from fairseq.optim.fp16_optimizer import FP16Optimizer
from torch import Tensor, nn


def master_weights(
    optimizer: FairseqOptimizer, params: Mapping[str, nn.Parameter]
) -> Optional[Dict[str, Tensor]]:
    """Name -> float32 master of each parameter, as views that can be written to.

    None where the optimizer keeps no second copy: float32, AMP (the model itself is float32) and
    the memory-efficient optimizers (which cast inside a step and keep nothing). A parameter that is
    not trained has no master and stands for itself.
    """
    if not isinstance(optimizer, FP16Optimizer):
        return None
    masters = masters_by_parameter(optimizer, lambda master: master.data)
    return {name: masters.get(id(param), param.data) for name, param in params.items()}


def masters_by_parameter(
    optimizer: FP16Optimizer, of_master: Callable[[nn.Parameter], Any]
) -> Dict[int, Any]:
    """id of a parameter -> its part of what ``of_master`` takes from a master.

    A flat master is that of many parameters: a tensor of its size is cut into views, and anything
    else is given to each of them.
    """
    if not optimizer.has_flat_params:
        return dict(zip(map(id, optimizer.fp16_params), map(of_master, optimizer.fp32_params)))
    parts = {}
    for device, flat in optimizer.fp32_params.items():
        taken, offset = of_master(flat), 0
        whole = isinstance(taken, Tensor) and taken.shape == flat.shape
        for param in optimizer.fp16_params:
            # A flat master holds all parameters, or with pipeline parallelism those of its device.
            if len(optimizer.fp32_params) == 1 or param.device.index == device:
                end = offset + param.numel()
                parts[id(param)] = taken[offset:end].view_as(param) if whole else taken
                offset = end
    return parts


def all_masters(optimizer: FairseqOptimizer) -> List[Tensor]:
    """The masters of all parameters as the optimizer lays them out; empty where it keeps none."""
    if not isinstance(optimizer, FP16Optimizer):
        return []
    flat = optimizer.has_flat_params
    masters = optimizer.fp32_params.values() if flat else optimizer.fp32_params
    return [master.data for master in masters]


def restore_masters(optimizer: FairseqOptimizer, saved: Sequence[Tensor]) -> None:
    """Give the optimizer back the masters of :func:`all_masters`, and the weights their values.

    fairseq makes masters anew from the weights of a checkpoint, and so loses their lower bits.
    """
    for master, values in zip(all_masters(optimizer), saved):
        master.copy_(values)
    if saved:
        optimizer._sync_fp32_params_to_fp16()
