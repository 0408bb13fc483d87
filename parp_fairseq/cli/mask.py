"""``parp mask``: make a mask from a checkpoint."""

from argparse import Namespace

from tabulate import tabulate

from parp_fairseq.pruning import Mask, magnitude_mask, parse_pattern, random_mask

from .checkpoint import Checkpoint
from .files import load, require_writable


def run(args: Namespace) -> None:
    magnitude_mask({}, args.sparsity, args.pattern)  # tells options out of range before it reads
    require_writable("--output", args.output, [".safetensors"])
    checkpoint = load(args.checkpoint)
    if isinstance(checkpoint, Mask):
        raise ValueError(f"{args.checkpoint} is a mask: expected a checkpoint")
    mask = _make_mask(args, checkpoint)
    mask.save(args.output)
    print(
        tabulate(
            [
                ("mask", args.output),
                ("weights", f"{mask.num_weights:,}"),
                ("pruned", f"{mask.num_pruned:,}"),
                ("sparsity", f"{mask.sparsity:.1%}"),
            ],
            tablefmt="plain",
            disable_numparse=True,
        )
    )


def _make_mask(args: Namespace, checkpoint: Checkpoint) -> Mask:
    weights = checkpoint.prunable(args.scope, args.bias)
    try:
        weights = parse_pattern(args.pattern).covered(weights)
        if args.criterion == "random":
            mask = random_mask(weights, args.sparsity, args.seed, args.pattern)
        else:
            mask = magnitude_mask(weights, args.sparsity, args.pattern)
    except ValueError as error:
        raise ValueError(f"{args.checkpoint}: {error}") from None
    criterion = f"random from seed {args.seed}" if args.criterion == "random" else "magnitude"
    biases = "" if any(name.endswith("bias") for name in weights) else ", no biases"
    mask.scope = args.scope
    mask.origin = (
        f"{criterion}, {args.pattern}, sparsity {args.sparsity:g}{biases}, "
        f"of {args.checkpoint.name}"
    )
    return mask
