"""The float32 copies ("masters") that fairseq's mixed-precision optimizers keep of the weights."""

from typing import Dict, Mapping, Optional

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
