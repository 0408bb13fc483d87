"""Boolean tensors packed as one bit for each element."""

import numpy as np
import torch
from torch import Tensor

_PLACES = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8)


def on_cpu(tensor: Tensor) -> bool:
    """Whether NumPy can work on the tensor's memory.

    Everything else runs as plain torch operations, on any device. This is the only place that
    decides it, so that a test can run the torch branches without a GPU.
    """
    return tensor.device.type == "cpu"


def pack(mask: Tensor) -> Tensor:
    """Pack a bool tensor into ``ceil(numel / 8)`` uint8; element 0 is the lowest bit."""
    flat = mask.reshape(-1)
    if on_cpu(flat):
        return torch.from_numpy(np.packbits(flat.numpy(), bitorder="little"))
    padding = -flat.numel() % 8
    if padding:
        flat = torch.cat([flat, flat.new_zeros(padding)])
    return (flat.view(-1, 8) * _PLACES.to(flat.device)).sum(dim=1, dtype=torch.uint8)


def unpack(bits: Tensor, shape: torch.Size) -> Tensor:
    """Undo :func:`pack`: a bool tensor of ``shape``."""
    if on_cpu(bits):
        flat = np.unpackbits(bits.numpy(), count=shape.numel(), bitorder="little")
        return torch.from_numpy(flat.view(np.bool_)).view(shape)
    places = _PLACES.to(bits.device)
    return bits.unsqueeze(1).bitwise_and(places).ne(0).view(-1)[: shape.numel()].view(shape)


def positions(bits: Tensor) -> Tensor:
    """Where the ones of a packed tensor are, in ascending order; fast where there are few."""
    (places,) = bits.nonzero(as_tuple=True)
    ones = unpack(bits[places], torch.Size([len(places), 8]))
    rows, columns = ones.nonzero(as_tuple=True)
    return places[rows] * 8 + columns


def popcount(bits: Tensor) -> int:
    """Number of ones in a packed tensor."""
    if on_cpu(bits):
        numbers = bits.numpy()
        if hasattr(np, "bitwise_count"):  # NumPy 2; twenty times as fast
            return int(np.bitwise_count(numbers).sum(dtype=np.int64))
        return int(np.count_nonzero(np.unpackbits(numbers)))
    pairs = bits - ((bits >> 1) & 0x55)
    nibbles = (pairs & 0x33) + ((pairs >> 2) & 0x33)
    return int(((nibbles + (nibbles >> 4)) & 0x0F).sum(dtype=torch.int64))
