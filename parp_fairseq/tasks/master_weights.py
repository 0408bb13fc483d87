"""The float32 copies ("masters") that fairseq's mixed-precision optimizers keep of the weights."""

from typing import Dict, List, Mapping, Optional, Sequence

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
    if optimizer.has_flat_params:
        masters = _views_of_flat(optimizer)
    else:
        masters = dict(zip(map(id, optimizer.fp16_params), (p.data for p in optimizer.fp32_params)))
    return {name: masters.get(id(param), param.data) for name, param in params.items()}


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


def _views_of_flat(optimizer: FP16Optimizer) -> Dict[int, Tensor]:
    views = {}
    for device, flat in optimizer.fp32_params.items():
        offset = 0
        for param in optimizer.fp16_params:
            # A flat master holds all parameters, or with pipeline parallelism those of its device.
            if len(optimizer.fp32_params) == 1 or param.device.index == device:
                views[id(param)] = flat.data[offset : offset + param.numel()].view_as(param)
                offset += param.numel()
    return views
