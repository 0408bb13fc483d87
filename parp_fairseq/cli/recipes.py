"""``parp recipes``: print the folder of the recipes."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import parp_fairseq

HELP = "print the folder of the recipes"
DESCRIPTION = "Print the folder that holds the recipes (Hydra configs) of this installation."
EXAMPLES = """\
  fairseq-hydra-train --config-dir "$(parp recipes)" --config-name mini +method=parp"""


def add_arguments(parser: ArgumentParser) -> None:
    """It has none."""


def run(args: Namespace) -> None:
    print(recipes_folder())


def recipes_folder() -> Path:
    """The recipes inside an installed package, or at the top of a checkout."""
    package = Path(parp_fairseq.__file__).resolve().parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if (folder / "method").is_dir():
            return folder
    raise FileNotFoundError(f"no recipes in {package} or beside it: install parp_fairseq again")
