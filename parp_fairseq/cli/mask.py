"""``parp mask``: make a mask from a checkpoint."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .parsing.options import SCOPE, seed

HELP = "make a mask from a checkpoint"
DESCRIPTION = """\
Make a mask from the weights of a pre-trained or finetuned checkpoint.

From a pre-trained checkpoint it is the mask that MPI and PARP start with. From a finetuned one it
is the mask of one-shot or iterative magnitude pruning (OMP, IMP). The options and their defaults
are those of the task parp. Weights that are zero already count as the smallest, so a sparser mask
of a sparse checkpoint prunes everything that the checkpoint's mask prunes."""
EXAMPLES = """\
  parp mask wav2vec_small.pt -o mpi.safetensors
  parp mask dense/checkpoint_best.pt -o omp.safetensors --sparsity 0.7
  parp mask xlsr_53_56k.pt -o rp.safetensors --criterion random --seed 7
  parp mask wav2vec_small.pt -o 2of4.safetensors --pattern 2:4

Then train with it: task.mask_file="$PWD/omp.safetensors" task.sparsity=0.7"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="fairseq checkpoint")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="MASK.safetensors",
        help="file to write; an existing one is replaced",
    )
    parser.add_argument(
        "--sparsity",
        type=float,
        default=0.5,
        metavar="S",
        help="share of the prunable weights to prune, 0 <= S < 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--criterion",
        choices=("magnitude", "random"),
        default="magnitude",
        help="magnitude prunes the smallest |w|; random draws from --seed (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=seed,
        default=0,
        help="seed of random; the same seed gives the same mask (default: %(default)s)",
    )
    parser.add_argument(
        "--pattern",
        default="global",
        help="which weights compete: global, layerwise (S in every tensor), or N:M such as 2:4 "
        "(N of every M are kept along the input; biases are not pruned) (default: %(default)s)",
    )
    parser.add_argument(
        "--scope", default="transformer", help=f"what to prune: {SCOPE} (default: %(default)s)"
    )
    parser.add_argument(
        "--no-bias",
        dest="bias",
        action="store_false",
        help="do not prune the biases inside the scope (default: they are pruned too)",
    )


def run(args: Namespace) -> None:
    from tabulate import tabulate

    from parp_fairseq.pruning import Mask, magnitude_mask

    from .files.reading import load
    from .files.writable import require_writable

    magnitude_mask({}, args.sparsity, args.pattern)  # options out of range fail before the reading
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


def _make_mask(args: Namespace, checkpoint):
    from parp_fairseq.pruning import magnitude_mask, parse_pattern, random_mask

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
