"""Kept: what a mask keeps of a weight, given as a tensor or an array of zeros and ones."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_bool(name: str, value: Any) -> Tensor:
    """A dense bool tensor, from a tensor or an array of zeros and ones."""
    expected = f"{name}: expected a tensor of bool, or of zeros and ones"
    if isinstance(value, (np.ndarray, np.generic)):
        try:
            value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("=")))
        except TypeError:
            raise ValueError(f"{expected}, found an array of {value.dtype}") from None
    if not isinstance(value, Tensor):
        raise ValueError(f"{expected}, found {type(value).__name__}")
    if value.is_meta:
        raise ValueError(f"{expected}, found one on the meta device, without values")
    if value.is_quantized or value.is_complex():
        raise ValueError(f"{expected}, found {value.dtype}")
    value = value.detach()
    if value.layout != torch.strided:
        value = value.to_dense()
    if value.dtype == torch.bool:
        return value
    if value.element_size() == 1 and value.is_floating_point():  # float8 cannot be compared
        value = value.float()
    keep = value.bool()
    if not torch.equal(keep.to(value.dtype), value):
        raise ValueError(f"{name} holds values other than 0 and 1")
    return keep
