"""The command ``parp``: masks, their sparsity, and studies, outside of training.

Each command is the module of its name, imported when it is called: ``parp --help`` needs no torch.
"""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Optional, Sequence

from parp_fairseq import __version__

_DESCRIPTION = """\
Sparse subnetworks of wav2vec 2.0: make masks, look into them, compare them; report on studies.
Training and evaluation are stock fairseq with common.user_dir=parp_fairseq."""

_EXAMPLES = """\
examples:
  parp mask wav2vec_small.pt -o half.safetensors      prune half of the pre-trained weights
  parp info half.safetensors                          sparsity, layer by layer
  parp compare half.safetensors checkpoint_best.pt    how far finetuning moved the mask
  parp report /runs/study                             tables and pictures of a study
  fairseq-hydra-train --config-dir "$(parp recipes)" --config-name mini

Each command explains itself: parp mask --help"""

_SCOPE = (
    "transformer (k_proj, v_proj, q_proj, out_proj, fc1, fc2 of every layer), feature_extractor "
    "(its convolutions), all (both, and post_extract_proj), or re:<regex> searched for in "
    "parameter names such as encoder.layers.0.fc1.weight"
)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that reports an error as one line, and shows texts as they are written."""

    def __init__(self, **settings):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str):
        self.exit(2, f"parp: error: {message}\n")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line ``arguments``, by default those of the process.

    Returns:
        0. Bad input leaves by SystemExit(2) instead, after one line on stderr.
    """
    parser = _make_parser()
    args = parser.parse_args(arguments)
    if args.command is None:
        parser.print_help()
        return 0
    try:
        import_module(f"{__name__}.{args.command}").run(args)
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ValueError as error:
        parser.error(str(error))
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="parp", description=_DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument("--version", action="version", version=f"parp {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    _add_mask(commands)
    _add_info(commands)
    _add_compare(commands)
    _add_report(commands)
    _add_recipes(commands)
    _add_manifests(commands)
    return parser


def _add_mask(commands) -> None:
    parser = commands.add_parser(
        "mask",
        help="make a mask from a checkpoint",
        description="""\
Make a mask from the weights of a pre-trained or finetuned checkpoint.

From a pre-trained checkpoint it is the mask that training would begin with (MPI, PARP); from a
finetuned one it is that of one-shot or iterative magnitude pruning (OMP, IMP). The options and
their defaults are those of the task parp. Weights that are zero already count as the smallest, so
a sparser mask from a sparse checkpoint contains the mask before it.""",
        epilog="""\
examples:
  parp mask wav2vec_small.pt -o mpi.safetensors
  parp mask dense/checkpoint_best.pt -o omp.safetensors --sparsity 0.7
  parp mask xlsr_53_56k.pt -o rp.safetensors --criterion random --seed 7
  parp mask wav2vec_small.pt -o 2of4.safetensors --pattern 2:4

then train with it: task.mask_file=$PWD/omp.safetensors task.sparsity=0.7""",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint of fairseq")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="MASK.safetensors",
        help="file to write; replaces one that is there",
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
        help="magnitude prunes the smallest |w|, random draws from --seed (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=0,
        help="what random draws from; the same seed gives the same mask (default: %(default)s)",
    )
    parser.add_argument(
        "--pattern",
        default="global",
        help="over which sets weights compete: global, layerwise (S in every tensor), or N:M such "
        "as 2:4 (N of every M kept along the input; biases stay whole) (default: %(default)s)",
    )
    parser.add_argument(
        "--scope",
        default="transformer",
        help=f"what may be pruned: {_SCOPE} (default: %(default)s)",
    )
    parser.add_argument(
        "--no-bias",
        dest="bias",
        action="store_false",
        help="leave the biases inside the scope whole (default: they are pruned too)",
    )


def _add_info(commands) -> None:
    parser = commands.add_parser(
        "info",
        help="sparsity of a mask or a checkpoint, layer by layer",
        description="""\
Show how sparse a mask or a checkpoint is, layer by layer.

Of a mask, the pruned weights are counted; of a checkpoint, the zeros among its prunable weights.
A weight matrix and its bias count together.""",
        epilog="""\
examples:
  parp info half.safetensors
  parp info checkpoint_best.pt --plot sparsity.png""",
    )
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="mask (.safetensors of parp mask, or .pt of the paper's authors) or checkpoint",
    )
    parser.add_argument(
        "--scope",
        help=f"what to count: {_SCOPE} (default: all that a mask covers; of a checkpoint, the "
        "scope that it was trained with, or else transformer)",
    )
    _add_plot(parser, "the table")


def _add_compare(commands) -> None:
    parser = commands.add_parser(
        "compare",
        help="IoU of masks, as a table and a picture",
        description="""\
Show how much masks agree: the IoU (intersection over union) of the kept weights of every pair.

1 means that both keep the same weights; two random masks that each prune half agree by 0.33.
A checkpoint stands for the mask of its zeros.""",
        epilog="""\
examples:
  parp compare spanish.safetensors french.safetensors italian.safetensors --plot iou.png
  parp compare mpi.safetensors checkpoint_best.pt""",
    )
    parser.add_argument("first", type=Path, metavar="MASK", help="mask or checkpoint")
    parser.add_argument(
        "others", type=Path, nargs="+", metavar="MASK", help="one or more to compare it with"
    )
    _add_plot(parser, "the matrix")


def _add_report(commands) -> None:
    parser = commands.add_parser(
        "report",
        help="what a study found",
        description="""\
Write what a study (recipes/study/) found, from its finished runs alone.

The report has error rates by method and sparsity, as mean and standard deviation over the seeds,
the sparsity measured in each model, what each method costs, how the final masks agree, where they
prune, and what re-pruning revived: report.md with its pictures, and the numbers as .csv. Runs that
are not finished are named, and no mean hides them. It may be written while the study goes on.""",
        epilog="""\
examples:
  parp report /runs/fsdd
  parp report /runs/fsdd -o docs/fsdd""",
    )
    parser.add_argument("study", type=Path, metavar="DIR", help="folder of the study")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="folder to write to; made where it is missing (default: DIR/report)",
    )


def _add_recipes(commands) -> None:
    commands.add_parser(
        "recipes",
        help="print the folder of the recipes",
        description="Print the folder that holds the recipes (Hydra configs) of this installation.",
        epilog="""\
example:
  fairseq-hydra-train --config-dir "$(parp recipes)" --config-name mini +method=parp""",
    )


def _add_manifests(commands) -> None:
    commands.add_parser(
        "manifests",
        help="print the folder of the corpus scripts",
        description="Print the folder that holds the corpus scripts of this installation, and the "
        "mini corpus with its encoder (mini/encoder.pt).",
        epilog="""\
examples:
  python "$(parp manifests)/librispeech.py" --help
  python "$(parp manifests)/check.py" data/es""",
    )


def _add_plot(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="PICTURE.png",
        help=f"draw {what} as a heat map too: .png, .pdf or .svg; needs matplotlib, which "
        "pip install 'parp_fairseq[plot]' brings (default: no picture)",
    )


def _seed(text: str) -> int:
    seed = int(text) if text.isdecimal() else -1
    if not 0 <= seed < 2**32:
        raise argparse.ArgumentTypeError(
            f"expected a whole number from 0 to {2**32 - 1}, found {text!r}"
        )
    return seed
