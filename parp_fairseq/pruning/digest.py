"""Digest: weights in a few characters, to tell whether two sets of weights are the same."""

from hashlib import blake2b
from typing import Mapping

import torch
from torch import Tensor


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Digest of names, types, shapes and bytes of all tensors in ``weights``."""
    digest = blake2b(digest_size=8)
    for name in sorted(weights):
        weight = weights[name].detach().contiguous()
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\0".encode())
        digest.update(weight.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
