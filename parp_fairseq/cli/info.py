"""``parp info``: sparsity of a mask or a checkpoint, layer by layer."""

from argparse import Namespace
from pathlib import Path
from typing import List, Optional, Tuple

import torch
from tabulate import tabulate

from parp_fairseq.pruning import Mask

from .checkpoint import Checkpoint, covered, mask_of_zeros
from .files import load
from .layers import SparsityByLayer

Facts = List[Tuple[str, object]]


def run(args: Namespace) -> None:
    if args.plot:
        from . import figures

        figures.require_drawable(args.plot)
    held = load(args.file)
    if isinstance(held, Mask):
        mask, facts = _of_mask(args.file, held, args.scope)
    else:
        mask, facts = _of_checkpoint(held, args.scope)
    sparsity = SparsityByLayer(mask)
    if args.plot:
        figures.draw_sparsity(args.plot, sparsity, args.file.name)
        facts.append(("picture", args.plot))
    print(tabulate([("file", args.file), *facts], tablefmt="plain", disable_numparse=True))
    print(f"\n{_table(sparsity)}\n")
    print(
        f"{mask.num_pruned:,} of {mask.num_weights:,} weights are zero: "
        f"sparsity {mask.sparsity:.1%}"
    )


def _of_mask(path: Path, mask: Mask, scope: Optional[str]) -> Tuple[Mask, Facts]:
    facts = [("holds", "mask"), ("scope", mask.scope), ("origin", mask.origin)]
    if scope is not None:
        # A scope goes by names and kinds only: tensors without memory will do.
        named = {name: torch.empty(keep.shape, device="meta") for name, keep in mask.items()}
        mask = Mask({name: mask[name] for name in covered(path, named, scope)})
        facts.append(("counted", scope))
    return mask, [(name, value) for name, value in facts if value]


def _of_checkpoint(checkpoint: Checkpoint, scope: Optional[str]) -> Tuple[Mask, Facts]:
    scope = scope or checkpoint.trained_scope
    mask = mask_of_zeros(checkpoint.prunable(scope, checkpoint.trained_biases))
    facts = [("holds", "checkpoint"), ("scope", scope)]
    if checkpoint.num_updates is not None:
        facts.append(("updates", f"{checkpoint.num_updates:,}"))
    return mask, facts


def _table(sparsity: SparsityByLayer) -> str:
    body = [
        [row, *("" if value is None else f"{value:.1%}" for value in values)]
        for row, values in zip(sparsity.rows, sparsity.values)
    ]
    headers = ["layer", *sparsity.columns]
    return tabulate(body, headers, disable_numparse=True, colalign=["right"] * len(headers))
