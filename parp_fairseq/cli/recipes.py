"""``parp recipes``: where the recipes of this installation are."""

from argparse import Namespace
from pathlib import Path

import parp_fairseq


def run(args: Namespace) -> None:
    print(recipes_folder())


def recipes_folder() -> Path:
    """The recipes beside the code of an installed package, or at the top of a checkout."""
    package = Path(parp_fairseq.__file__).resolve().parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if (folder / "method").is_dir():
            return folder
    raise FileNotFoundError(f"no recipes in {package} or beside it: install parp_fairseq again")
