"""``parp report``: write what a study found, from its finished runs."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "report what a study found"
DESCRIPTION = """\
Write what a study (recipes/study/) found, from its finished runs.

The report contains error rates by method and sparsity (mean and standard deviation over the
seeds), the sparsity measured in each model, the cost of each method, how the final masks agree,
where they prune, and what re-pruning revived. It consists of report.md, its pictures, and the
numbers as .csv. Runs that are not finished are listed. You can run it while the study goes on."""
EXAMPLES = """\
  parp report /runs/fsdd
  parp report /runs/fsdd -o docs/fsdd"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("study", type=Path, metavar="DIR", help="folder of the study")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="folder to write to; created if it does not exist (default: DIR/report)",
    )


def run(args: Namespace) -> None:
    from .compose import write_report

    write_report(args.study, args.output or args.study / "report")
