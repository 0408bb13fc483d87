"""Strip a fairseq pre-training checkpoint to what finetuning reads: settings and fp32 weights.

The file holds plain dicts, tensors, numbers and strings only, so that
torch.load(weights_only=True) reads it and fairseq 0.12.2 knows every setting in it.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

TASK_SETTINGS = ("_name", "data", "labels", "sample_rate", "normalize", "enable_padding")
# Made for the contrastive loss, dropped by finetuning: fairseq's remove_pretraining_modules().
PRETRAINING_MODULES = ("quantizer.", "project_q.", "final_proj.")


def plain(value: Any) -> Any:
    """Config nodes, enumerations and tuples as dicts, lists, numbers and strings."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


def export(state: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint to ship, from one that fairseq wrote while pre-training."""
    model = plain(state["cfg"]["model"])
    task = {key: plain(state["cfg"]["task"][key]) for key in TASK_SETTINGS}
    task["data"] = ""  # finetuning fills it in
    return {
        "args": None,
        "cfg": {"model": model, "task": task, "criterion": None, "lr_scheduler": None},
        "model": {
            name: weight.float().contiguous().clone()
            for name, weight in state["model"].items()
            if not name.startswith(PRETRAINING_MODULES)
        },
        # fairseq's loader looks these up in every checkpoint.
        "optimizer_history": [
            {"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 0}
        ],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint_last.pt of the pre-training")
    parser.add_argument("encoder", type=Path, help="file to write, to be used as model.w2v_path")
    args = parser.parse_args(argv)
    state = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    partial = args.encoder.with_name(f".{args.encoder.name}")
    exported = export(state)
    torch.save(exported, partial)
    partial.replace(args.encoder)
    count = sum(weight.numel() for weight in exported["model"].values())
    print(f"{args.encoder}: {count:,} weights")


if __name__ == "__main__":
    main()
