"""``parp info``: sparsity of a mask, a pack or a checkpoint, layer by layer."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import List, Optional, Tuple

from .parsing.options import SCOPE, add_plot

HELP = "sparsity of a mask, a pack or a checkpoint, layer by layer"
DESCRIPTION = """\
Show how sparse a mask, a pack or a checkpoint is, layer by layer.

In a mask the pruned weights are counted, in a checkpoint the zeros among its prunable weights, in a
pack the zeros of the tensors that are stored with a bit for each weight. A weight matrix and its
bias are counted together.

A checkpoint that is less sparse than its own options say gets a warning. fairseq's
average_checkpoints.py makes such files: a weight of the average is zero only if it is zero in all
checkpoints. Average before pruning, or make a mask of the average and finetune with it."""
EXAMPLES = """\
  parp info half.safetensors
  parp info spanish.safetensors
  parp info checkpoint_best.pt --plot sparsity.png"""

Facts = List[Tuple[str, object]]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="mask (.safetensors of parp mask, or .pt of the paper's authors), pack (of parp "
        "pack) or checkpoint",
    )
    parser.add_argument(
        "--scope",
        help=f"what to count: {SCOPE} (default: everything that a mask or a pack covers; in a "
        "checkpoint, the scope that it was trained with, or transformer)",
    )
    add_plot(parser, "the table")


def run(args: Namespace) -> None:
    from tabulate import tabulate

    from parp_fairseq.pruning import Mask
    from parp_fairseq.pruning.pack import Pack

    from .counting.layers import SparsityByLayer
    from .files.packing import describe
    from .files.reading import load

    if args.plot:
        from .pictures import heat_map

        heat_map.require_drawable(args.plot)
    held = load(args.file)
    if isinstance(held, Mask):
        mask, facts = _of_mask(args.file, held, args.scope)
    elif isinstance(held, Pack):
        mask, (_, *facts) = _of_mask(args.file, held.mask, args.scope)
        facts = [("holds", "pack"), *describe(held), *facts]
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
    warning = None if isinstance(held, (Mask, Pack)) else _less_sparse_than_trained(held)
    if warning:
        print(warning)


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
    from .counting.cost import count_cost
    from .files.checkpoint import mask_of_zeros

    scope = scope or checkpoint.trained_scope
    # A run that left biases whole is counted without them, unless the scope asks for biases only.
    names = checkpoint.prunable(scope)
    only_biases = all(name.endswith("bias") for name in names)
    coverage = checkpoint.coverage(scope, checkpoint.trained_biases or only_biases)
    facts: Facts = [("holds", "checkpoint"), ("scope", scope)]
    if len(coverage.covered) < len(names):
        facts.append(("biases", "not counted, because this run did not prune them"))
    if checkpoint.num_updates is not None:
        facts.append(("updates", f"{checkpoint.num_updates:,}"))
    for corpus, mask in checkpoint.masks.items():
        facts.append((f"mask of {corpus}", f"sparsity {mask.sparsity:.1%}"))
    facts += [("covered", coverage.covered_in_words), ("left out", coverage.left_out_in_words)]
    cost = count_cost(checkpoint.state)
    facts.append(("parameters", f"{cost.nonzero:,} of {cost.parameters:,} are not zero"))
    if cost.multiply_adds is not None:
        kept, products = cost.nonzero_multiply_adds / 1e9, cost.multiply_adds / 1e9
        told = f"{kept:.3f} of {products:.3f} G per second of audio have a non-zero weight"
        facts.append(("multiply-adds", told))
    for name, weight in coverage.covered.items():
        count = weight.numel() - int(weight.isfinite().count_nonzero())
        if count:
            facts.append(("warning", f"{name} holds {count:,} values that are infinite or NaN"))
    return mask_of_zeros(coverage.covered), facts


def _less_sparse_than_trained(checkpoint) -> Optional[str]:
    """A warning if the checkpoint has fewer zeros than its own options say."""
    from .files.checkpoint import mask_of_zeros

    wanted = checkpoint.trained_sparsity
    if not checkpoint.is_of_parp or not wanted or checkpoint.masks:
        return None  # what one mask or another keeps is less sparse than each of them
    mask = mask_of_zeros(checkpoint.trained())
    if mask.num_pruned >= checkpoint.trained_pattern.num_pruned(mask, wanted):
        return None
    return (
        f"warning: this checkpoint was trained for sparsity {wanted:g}, and has "
        f"{mask.sparsity:.4f}. An average of checkpoints keeps every weight that one of them keeps."
    )


def _table(sparsity) -> str:
    from tabulate import tabulate

    body = [
        [row, *("" if value is None else f"{value:.1%}" for value in values)]
        for row, values in zip(sparsity.rows, sparsity.values)
    ]
    headers = ["layer", *sparsity.columns]
    return tabulate(body, headers, disable_numparse=True, colalign=["right"] * len(headers))
