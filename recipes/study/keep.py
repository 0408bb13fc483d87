"""What is kept of a finished training: its model, and the mask of what is zero in it.

usage: python keep.py CHECKPOINT MODEL.pt MASK.safetensors
"""

import sys
from pathlib import Path

import torch

import parp_fairseq.models.safe_loading  # noqa: F401
from parp_fairseq.cli.files.checkpoint import Checkpoint, mask_of_zeros
from parp_fairseq.pruning.plain_file import load_plain
from parp_fairseq.pruning.replacing import replacing


def keep(checkpoint: Path, model: Path, mask: Path) -> None:
    """Writes `model`, which fairseq-generate reads as it does `checkpoint`, and its `mask`."""
    state = load_plain(checkpoint)
    trained = Checkpoint(checkpoint, state)
    weights = trained.prunable(trained.trained_scope, trained.trained_biases)
    mask_of_zeros(weights).save(mask)  # first: where there is the model, its mask is too
    state["last_optimizer_state"] = None
    state["model"] = dict(state["model"])  # without the metadata, where the pruned weights are
    with replacing(model) as temporary:
        torch.save(state, temporary)


if __name__ == "__main__":
    keep(*map(Path, sys.argv[1:]))
