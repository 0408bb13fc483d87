"""``parp report``: write what a study found, from its finished runs."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "report what a study found"
DESCRIPTION = """\
Write what a study (recipes/study/) found, from its finished runs.

The report contains error rates by method and sparsity (mean and standard deviation over the
seeds), the sparsity measured in each model, the cost of each method, learning curves, how the final
masks agree, where they prune, and what re-pruning revived. It consists of report.md, its pictures,
and the numbers as .csv. You can run it while the study goes on.

A study over several corpora, such as languages, has pages of its own: error rates of masks that one
corpus found and another was finetuned with, how masks overlap, a tree of the corpora, and bytes.

Runs that are not finished, or whose files are damaged, are listed. A run that was not trained with
the method, sparsity or seed that the study planned is an error, and so are runs of one method that
differ in more than sparsity and seed.

Differences are to the dense model of the same seed. --baseline compares with another method at the
same sparsity instead. --against compares with the models of another study: with another encoder,
for example, or another protocol. Both must be scored on the same utterances."""
EXAMPLES = """\
  parp report /runs/fsdd
  parp report /runs/fsdd -o docs/fsdd
  parp report /runs/fsdd --format latex
  parp report /runs/fsdd -o docs/fsdd_and_omp --baseline omp
  parp report /runs/fsdd_random_weights --against /runs/fsdd"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("study", type=Path, metavar="DIR", help="folder of the study")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="folder to write to; created if it does not exist (default: DIR/report)",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="OTHER",
        help="folder of another study; differences are to its models (default: to those of DIR); "
        "not for several corpora",
    )
    parser.add_argument(
        "--baseline",
        metavar="METHOD",
        default="dense",
        help="differences are to this method; if it prunes, at the same sparsity (default: dense); "
        "not for several corpora",
    )
    parser.add_argument(
        "--format",
        nargs="+",
        choices=("png", "pdf", "svg", "latex"),
        default=["png"],
        help="png, pdf and svg are formats of the pictures, of which report.md shows the first; "
        "latex also writes report.tex, for papers (its pictures are PDF, unless you name another "
        "format) (default: png)",
    )


def run(args: Namespace) -> None:
    from .compose import write_report
    from .languages.compose import write_languages
    from .languages.runs import is_of_languages

    output = args.output or args.study / "report"
    if not is_of_languages(args.study):
        write_report(args.study, output, args.format, args.against, args.baseline)
    elif args.against or args.baseline != "dense":
        option = "--against" if args.against else "--baseline"
        raise ValueError(f"{option}: {args.study} is a study of several corpora")
    else:
        write_languages(args.study, output, args.format)
