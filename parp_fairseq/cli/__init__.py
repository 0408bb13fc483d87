"""The command ``parp``: masks, studies, models in and out, outside of training.

Each command is one module (or package) in this folder that defines:

- ``HELP``: one line for ``parp --help``.
- ``DESCRIPTION`` and ``EXAMPLES``: the text of ``parp COMMAND --help``.
- ``add_arguments(parser)``: its options.
- ``run(args)``: what it does. It returns the exit status; None means 0. Bad input raises
  ``ValueError`` or ``OSError``.

To add a command, add a module. ``parp --help`` imports all of them, so a module imports torch and
other heavy libraries inside ``run``. The packages ``parsing``, ``files``, ``counting`` and
``pictures`` hold what commands share.
"""

import os
import sys
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Dict, Optional, Sequence

from parp_fairseq import __version__

from .parsing.parser import Parser

_DESCRIPTION = """\
Make, inspect and compare masks of speech encoders, report on studies, transcribe audio, and
exchange models with Hugging Face.

Train and evaluate with the programs of fairseq and common.user_dir=parp_fairseq. A recipe without
+method= trains PARP; +method= selects another method (dense, rp, mpi, omp, imp, s3_router, ...)."""

_EXAMPLES = """\
  parp mask wav2vec_small.pt -o half.safetensors      prune half of the pre-trained weights
  parp info half.safetensors                          sparsity, layer by layer
  parp compare half.safetensors checkpoint_best.pt    how far finetuning moved the mask
  parp pack checkpoint_best.pt --base wav2vec_small.pt -o es.safetensors
  parp report /runs/study                             tables and pictures of a study
  parp transcribe checkpoint_best.pt talk.mp3         audio to text
  parp export checkpoint_best.pt my-model             a folder for transformers
  fairseq-hydra-train --config-dir "$(parp recipes)" --config-name mini +method=mpi

Run `parp COMMAND --help` for the options and examples of a command."""


def find_commands() -> Dict[str, ModuleType]:
    """The commands by name: all modules in this folder that define ``run``."""
    modules = {m.name: import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__)}
    return {name: module for name, module in modules.items() if hasattr(module, "run")}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run ``parp`` with ``arguments``, by default those of the process.

    Returns:
        The exit status of the command. Bad input raises ``SystemExit(2)`` after one line on stderr.
    """
    commands = find_commands()
    parser = _make_parser(commands)
    args = parser.parse_args(arguments)
    if args.command is None:
        parser.print_help()
        return 0
    status = 0
    try:
        status = commands[args.command].run(args) or 0
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has what it wanted. Python flushes stdout again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ValueError as error:
        parser.error(str(error))
    return status


def _make_parser(commands: Dict[str, ModuleType]) -> Parser:
    parser = Parser(prog="parp", description=_DESCRIPTION, examples=_EXAMPLES)
    parser.add_argument("--version", action="version", version=f"parp {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, command in commands.items():
        command.add_arguments(
            subparsers.add_parser(
                name,
                help=command.HELP,
                description=command.DESCRIPTION,
                examples=command.EXAMPLES,
            )
        )
    return parser
