"""``parp manifests``: where the corpus scripts of this installation are."""

from argparse import Namespace
from pathlib import Path

import parp_fairseq


def run(args: Namespace) -> None:
    print(manifests_folder())


def manifests_folder() -> Path:
    """The scripts beside the code of an installed package, or at the top of a checkout."""
    package = Path(parp_fairseq.__file__).resolve().parent
    for folder in (package / "manifests", package.parent / "manifests"):
        if (folder / "check.py").is_file():
            return folder
    raise FileNotFoundError(f"no manifests in {package} or beside it: install parp_fairseq again")
