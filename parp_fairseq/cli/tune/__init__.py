"""``parp tune``: weights of the language model and of words, chosen on a validation split."""

import os
import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import List

from parp_fairseq.cli.parsing.options import add_plot, add_user_dir, import_user_dir

HELP = "choose decoder weights on a validation split"
DESCRIPTION = """\
Choose the weight of the language model and the word score on a validation split.

The checkpoint is run once. Its output is then decoded with every pair of weights, by all cores. The
result is a table of error rates and the options of the best pair, to paste into fairseq-generate.
A split whose name contains "test" is refused: weights that were chosen on it make its error rate
look better than it is."""
EXAMPLES = """\
  parp tune runs/fsdd/checkpoint_best.pt data/fsdd --split valid \\
      --lexicon data/fsdd/lexicon.txt --kenlm words.bin --plot surface.png
  parp tune checkpoint_best.pt /data/10h --split dev_other --decoder lexicon_free \\
      --kenlm letters.bin --lm-weights 0 0.2 0.4 0.6"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="finetuned model")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of manifests")
    parser.add_argument("--split", required=True, help="validation split, such as dev_other")
    parser.add_argument(
        "--allow-test", action="store_true", help="tune on a split whose name contains test"
    )
    parser.add_argument(
        "--lm-weights",
        type=_number,
        nargs="+",
        metavar="W",
        default=[0, 0.5, 1, 1.5, 2, 2.5, 3],
        help="weights of the language model to try (default: 0 to 3 in steps of 0.5)",
    )
    parser.add_argument(
        "--word-scores",
        type=_number,
        nargs="+",
        metavar="S",
        default=[-2, -1, 0, 1, 2],
        help="word scores to try with a lexicon (default: -2 to 2 in steps of 1)",
    )
    parser.add_argument(
        "--decoder",
        choices=("lexicon", "lexicon_free"),
        default="lexicon",
        help="as for fairseq-generate (default: %(default)s)",
    )
    parser.add_argument("--lexicon", type=Path, metavar="FILE", help="lexicon of words")
    parser.add_argument("--kenlm", type=Path, metavar="FILE", help="n-gram model: KenLM or ARPA")
    parser.add_argument("--lm-path", type=Path, metavar="FILE", help="language model of fairseq")
    parser.add_argument(
        "--beam", type=int, default=50, help="hypotheses to keep (default: %(default)s)"
    )
    parser.add_argument(
        "--beam-threshold",
        type=float,
        default=25.0,
        metavar="T",
        help="drop hypotheses that score so much less than the best (default: %(default)s)",
    )
    parser.add_argument(
        "--beam-size-token", type=int, metavar="N", help="symbols to try in a frame (default: all)"
    )
    parser.add_argument(
        "--sil-weight",
        type=_number,
        default=0.0,
        metavar="S",
        help="score of each frame of the word separator (default: %(default)s)",
    )
    parser.add_argument("--labels", default="ltr", help="label files (default: %(default)s)")
    parser.add_argument(
        "--post-process",
        help="as for fairseq-generate (default: letter for ltr, sentencepiece for spm)",
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=1600000,
        metavar="N",
        help="samples in a batch (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="processes that decode; they change nothing but the time (default: one for each core)",
    )
    add_user_dir(parser)
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    add_plot(parser, "the error rates")


def run(args: Namespace) -> None:
    is_test = re.search("test", args.split, re.IGNORECASE) is not None
    if is_test and not args.allow_test:
        raise ValueError(
            f"--split is {args.split}, which looks like a test split: expected a validation split. "
            "Weights that are chosen on a test split make its error rate look better than it is; "
            "--allow-test does it all the same"
        )
    if args.workers < 1:
        raise ValueError(f"--workers is {args.workers}: expected 1 or more")
    if args.plot:
        from parp_fairseq.cli.pictures import heat_map

        heat_map.require_drawable(args.plot)
    from .emissions import compute
    from .surface import measure
    from .text import print_result

    import_user_dir(args)
    surface = measure(compute(args), args)
    print_result(surface, args, is_test)
    if args.plot:
        heat_map.draw_error_rates(
            args.plot, surface.rates, *_axis_labels(surface), title=f"Error rate on {args.split}"
        )
        print(f"\npicture  {args.plot}")


def _axis_labels(surface) -> List[List[str]]:
    return [[f"{v:g}" for v in values] for values in (surface.lm_weights, surface.word_scores)]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise ArgumentTypeError(f"expected a number, found {text!r}")
    return value
