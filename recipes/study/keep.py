"""What is kept of a finished training: its model, and the mask of what is zero in it.

usage: python keep.py CHECKPOINT MODEL.pt MASK.safetensors
"""

import os
import sys
from pathlib import Path

import torch

import parp_fairseq.models.safe_loading  # noqa: F401
from parp_fairseq.cli.checkpoint import Checkpoint, mask_of_zeros


def keep(checkpoint: Path, model: Path, mask: Path) -> None:
    """Writes `model`, which fairseq-generate reads as it does `checkpoint`, and its `mask`."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    trained = Checkpoint(checkpoint, state)
    weights = trained.prunable(trained.trained_scope, trained.trained_biases)
    mask_of_zeros(weights).save(mask)
    state["last_optimizer_state"] = None
    state["model"] = dict(state["model"])  # without the metadata, where the pruned weights are
    temporary = model.with_name(f".{model.name}.{os.getpid()}.tmp")
    try:
        torch.save(state, temporary)
        temporary.replace(model)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    keep(*map(Path, sys.argv[1:]))
