"""What is kept of a finished training: its model, the mask of its zeros, and counts.

usage: python keep.py CHECKPOINT FOLDER
"""

import json
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

import parp_fairseq.models.safe_loading  # noqa: F401
from parp_fairseq.cli.counting.cost import count_cost
from parp_fairseq.cli.files.checkpoint import Checkpoint, mask_of_zeros
from parp_fairseq.pruning.plain_file import load_plain
from parp_fairseq.pruning.replacing import replacing


def keep(checkpoint: Path, folder: Path) -> None:
    """Write model.pt, mask.safetensors and facts.json to `folder`.

    fairseq-generate reads model.pt as it reads `checkpoint`. It is written last: a folder that has
    a model has everything.
    """
    state = load_plain(checkpoint)
    trained = Checkpoint(checkpoint, state)
    weights = trained.prunable(trained.trained_scope, trained.trained_biases)
    mask_of_zeros(weights).save(folder / "mask.safetensors")
    facts = {"version": version("parp_fairseq"), **asdict(count_cost(state))}
    with replacing(folder / "facts.json") as temporary:
        temporary.write_text(json.dumps(facts))
    state["last_optimizer_state"] = None
    state["model"] = dict(state["model"])  # without the metadata, which holds the pruned weights
    with replacing(folder / "model.pt") as temporary:
        torch.save(state, temporary)


if __name__ == "__main__":
    keep(*map(Path, sys.argv[1:]))
