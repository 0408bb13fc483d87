"""``parp info``: sparsity of a mask or a checkpoint, layer by layer."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import List, Optional, Tuple

from .parsing.options import SCOPE, add_plot

HELP = "sparsity of a mask or a checkpoint, layer by layer"
DESCRIPTION = """\
Show how sparse a mask or a checkpoint is, layer by layer.

In a mask the pruned weights are counted, in a checkpoint the zeros among its prunable weights. A
weight matrix and its bias are counted together."""
EXAMPLES = """\
  parp info half.safetensors
  parp info checkpoint_best.pt --plot sparsity.png"""

Facts = List[Tuple[str, object]]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="mask (.safetensors of parp mask, or .pt of the paper's authors) or checkpoint",
    )
    parser.add_argument(
        "--scope",
        help=f"what to count: {SCOPE} (default: everything that a mask covers; in a checkpoint, "
        "the scope that it was trained with, or transformer)",
    )
    add_plot(parser, "the table")


def run(args: Namespace) -> None:
    from tabulate import tabulate

    from parp_fairseq.pruning import Mask

    from .counting.layers import SparsityByLayer
    from .files.reading import load

    if args.plot:
        from .pictures import heat_map

        heat_map.require_drawable(args.plot)
    held = load(args.file)
    if isinstance(held, Mask):
        mask, facts = _of_mask(args.file, held, args.scope)
    else:
        mask, facts = _of_checkpoint(held, args.scope)
    sparsity = SparsityByLayer(mask)
    if args.plot:
        heat_map.draw_sparsity(args.plot, sparsity, args.file.name)
        facts.append(("picture", args.plot))
    print(tabulate([("file", args.file), *facts], tablefmt="plain", disable_numparse=True))
    print(f"\n{_table(sparsity)}\n")
    print(
        f"{mask.num_pruned:,} of {mask.num_weights:,} weights are zero: "
        f"sparsity {mask.sparsity:.1%}"
    )


def _of_mask(path: Path, mask, scope: Optional[str]):
    import torch

    from parp_fairseq.pruning import Mask

    from .files.checkpoint import covered

    facts: Facts = [("holds", "mask"), ("scope", mask.scope), ("origin", mask.origin)]
    if scope is not None:
        # A scope needs names and dtypes only, so tensors without memory are enough.
        named = {name: torch.empty(keep.shape, device="meta") for name, keep in mask.items()}
        mask = Mask({name: mask[name] for name in covered(path, named, scope)})
        facts.append(("counted", scope))
    return mask, [(name, value) for name, value in facts if value]


def _of_checkpoint(checkpoint, scope: Optional[str]):
    from .files.checkpoint import mask_of_zeros

    scope = scope or checkpoint.trained_scope
    coverage = checkpoint.coverage(scope, checkpoint.trained_biases)
    mask = mask_of_zeros(coverage.covered)
    facts: Facts = [("holds", "checkpoint"), ("scope", scope)]
    if checkpoint.num_updates is not None:
        facts.append(("updates", f"{checkpoint.num_updates:,}"))
    facts += [("covered", coverage.covered_in_words), ("left out", coverage.left_out_in_words)]
    for name, weight in coverage.covered.items():
        count = weight.numel() - int(weight.isfinite().count_nonzero())
        if count:
            facts.append(("warning", f"{name} holds {count:,} values that are infinite or NaN"))
    return mask, facts


def _table(sparsity) -> str:
    from tabulate import tabulate

    body = [
        [row, *("" if value is None else f"{value:.1%}" for value in values)]
        for row, values in zip(sparsity.rows, sparsity.values)
    ]
    headers = ["layer", *sparsity.columns]
    return tabulate(body, headers, disable_numparse=True, colalign=["right"] * len(headers))
