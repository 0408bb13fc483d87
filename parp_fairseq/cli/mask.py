"""``parp mask``: make a mask from a checkpoint."""

import sys
import warnings
from argparse import ArgumentParser, Namespace
from pathlib import Path

from .parsing.options import SCOPE, add_corpus, add_output, seed

HELP = "make a mask from a checkpoint"
DESCRIPTION = """\
Make a mask from the weights of a pre-trained or finetuned checkpoint.

From a pre-trained checkpoint it is the mask that MPI and PARP start with. From a finetuned one it
is the mask of one-shot or iterative magnitude pruning (OMP, IMP). The options and their defaults
are those of the task parp. Weights that are zero already count as the smallest, so a sparser mask
of a sparse checkpoint prunes everything that the checkpoint's mask prunes. --as-is makes the mask
of exactly the weights that are zero. --corpus writes the mask of one corpus, as training left it,
from a checkpoint that has a mask for each."""
EXAMPLES = """\
  parp mask wav2vec_small.pt -o mpi.safetensors
  parp mask dense/checkpoint_best.pt -o omp.safetensors --sparsity 0.7
  parp mask xlsr_53_56k.pt -o rp.safetensors --criterion random --seed 7
  parp mask wav2vec_small.pt -o 2of4.safetensors --pattern 2:4
  parp mask parp/checkpoint_best.pt -o final.safetensors --as-is
  parp mask shared.pt -o es.safetensors --corpus es

Then train with it: task.mask_file="$PWD/omp.safetensors" task.sparsity=0.7"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="fairseq checkpoint")
    add_output(parser, "MASK.safetensors")
    share = parser.add_mutually_exclusive_group()
    share.add_argument(
        "--sparsity",
        type=float,
        default=0.5,
        metavar="S",
        help="share of the prunable weights to prune, 0 <= S < 1 (default: %(default)s)",
    )
    share.add_argument(
        "--as-is",
        action="store_true",
        help="prune exactly the weights that are zero, at whatever sparsity that is",
    )
    add_corpus(share, "write the mask of this corpus")
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
        help="which weights compete: global, layerwise (S in every tensor), ffn_channels "
        "(whole hidden channels of the feed-forward layers), or N:M such as 2:4 "
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

    from .files.checkpoint import Checkpoint
    from .files.reading import load
    from .files.writable import require_writable

    magnitude_mask({}, args.sparsity, args.pattern)  # options out of range fail before the reading
    chosen = (args.criterion, args.seed, args.pattern) != ("magnitude", 0, "global")
    if args.as_is and chosen:
        raise ValueError("--as-is takes the zeros: expected no --criterion, --seed or --pattern")
    if args.corpus is not None and (chosen or args.scope != "transformer" or not args.bias):
        raise ValueError(
            "--corpus takes the mask of the checkpoint: expected no --criterion, --seed, "
            "--pattern, --scope or --no-bias"
        )
    require_writable("--output", args.output, [".safetensors"])
    checkpoint = load(args.checkpoint)
    if not isinstance(checkpoint, Checkpoint):
        kind = "mask" if isinstance(checkpoint, Mask) else "pack"
        raise ValueError(f"{args.checkpoint} is a {kind}: expected a checkpoint")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make = _make_mask if args.corpus is None else _mask_of_corpus
        mask, coverage = make(args, checkpoint)
    for warning in caught:
        print(f"parp: warning: {args.checkpoint}: {warning.message}", file=sys.stderr)
    mask.save(args.output)
    print(
        tabulate(
            [
                ("mask", args.output),
                ("covered", coverage.covered_in_words),
                ("left out", coverage.left_out_in_words),
                ("weights", f"{mask.num_weights:,}"),
                ("pruned", f"{mask.num_pruned:,}"),
                ("sparsity", f"{mask.sparsity:.1%}"),
            ],
            tablefmt="plain",
            disable_numparse=True,
        )
    )


def _make_mask(args: Namespace, checkpoint):
    import torch

    from parp_fairseq.pruning import Mask, magnitude_mask, parse_pattern, random_mask

    bias = args.bias and parse_pattern(args.pattern).covers("bias")
    coverage = checkpoint.coverage(args.scope, bias)
    # float64 as training loads it: as float32, in which smaller differences are lost.
    weights = {
        name: weight.float() if weight.dtype == torch.float64 else weight
        for name, weight in coverage.covered.items()
    }
    try:
        weights = parse_pattern(args.pattern).covered(weights)
        if args.as_is:
            mask = Mask.of_zeros(weights)
        elif args.criterion == "random":
            mask = random_mask(weights, args.sparsity, args.seed, args.pattern)
        else:
            mask = magnitude_mask(weights, args.sparsity, args.pattern)
    except ValueError as error:
        raise ValueError(f"{args.checkpoint}: {error}") from None
    criterion = f"random from seed {args.seed}" if args.criterion == "random" else "magnitude"
    how = "zeros" if args.as_is else f"{criterion}, {args.pattern}, sparsity {args.sparsity:g}"
    biases = "" if any(name.endswith("bias") for name in weights) else ", no biases"
    mask.scope = args.scope
    mask.origin = f"{how}{biases}, of {args.checkpoint.name}"
    return mask, coverage


def _mask_of_corpus(args: Namespace, checkpoint):
    mask = checkpoint.mask_of(args.corpus)
    mask.scope = checkpoint.trained_scope
    mask.origin = f"of the corpus {args.corpus}, of {args.checkpoint.name}"
    return mask, checkpoint.coverage(mask.scope, checkpoint.trained_biases)
