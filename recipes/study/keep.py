"""What is kept of a finished training: its model, the mask of its zeros, and counts.

usage: python keep.py CHECKPOINT FOLDER
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import parp_fairseq.models.safe_loading  # noqa: F401
from parp_fairseq.cli.counting.cost import count_cost
from parp_fairseq.cli.files.checkpoint import Checkpoint, mask_of_zeros
from parp_fairseq.pruning.metadata import with_masks
from parp_fairseq.pruning.pack import Pack
from parp_fairseq.pruning.plain_file import load_plain
from parp_fairseq.pruning.replacing import replacing
from parp_fairseq.pruning.weights import without_teacher


def keep(checkpoint: Path, folder: Path) -> None:
    """Write model.pt, mask.safetensors and facts.json to `folder`.

    fairseq-generate reads model.pt as it reads `checkpoint`. It is written last: a folder that has
    a model has everything.
    """
    state = load_plain(checkpoint)
    trained = Checkpoint(checkpoint, state)
    weights = trained.prunable(trained.trained_scope, trained.trained_biases)
    mask_of_zeros(weights).save(folder / "mask.safetensors")
    for corpus, mask in trained.masks.items():
        mask.save(folder / f"mask_{corpus}.safetensors")
    facts = {
        "version": version("parp_fairseq"),
        **asdict(count_cost(state)),
        **count_bytes(trained),
    }
    with replacing(folder / "facts.json") as temporary:
        temporary.write_text(json.dumps(facts))
    state["last_optimizer_state"] = None
    # Without the rest of the metadata, which holds the pruned weights.
    state["model"] = with_masks(state["model"], trained.masks)
    with replacing(folder / "model.pt") as temporary:
        torch.save(state, temporary)


def count_bytes(trained: Checkpoint) -> dict[str, Any]:
    """Sizes of the model, of its encoder, and of what `parp pack` makes of the one over the other.

    For a model with a mask for each corpus, also the packs of these over the model itself.
    """
    weights, path = trained.state["model"], trained.state["cfg"]["model"].get("w2v_path")
    base = without_teacher(load_plain(Path(path))["model"]) if path and Path(path).is_file() else {}
    try:
        packed = size_of_pack(weights, base or None)
    except ValueError:  # nothing is as in the encoder
        packed, base = size_of_pack(weights, None), {}
    packs = {c: size_of_pack(trained.subnetwork(c).state["model"], weights) for c in trained.masks}
    whole = {"bytes": weights, "base_bytes": base}
    sizes = {key: sum(w.nbytes for w in held.values()) for key, held in whole.items()}
    return {**sizes, "pack_bytes": packed, **({"corpus_pack_bytes": packs} if packs else {})}


def size_of_pack(weights: Mapping[str, Tensor], base: Mapping[str, Tensor] | None) -> int:
    """Bytes of the tensors in a pack."""
    return sum(one.nbytes for one in Pack.of(weights, base, {}).weights.values())


if __name__ == "__main__":
    keep(*map(Path, sys.argv[1:]))
