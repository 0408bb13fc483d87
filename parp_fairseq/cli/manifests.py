"""``parp manifests``: where the corpus scripts of this installation are."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import parp_fairseq

HELP = "print the folder with the corpus scripts"
DESCRIPTION = "Print the folder with the scripts that turn a corpus into fairseq manifests."
EXAMPLES = """\
  python "$(parp manifests)/librispeech.py" /data /data/librispeech_10m --train 10min
  python "$(parp manifests)/check.py" /data/librispeech_10m"""


def add_arguments(parser: ArgumentParser) -> None:
    """This command has no options."""


def run(args: Namespace) -> None:
    print(manifests_folder())


def manifests_folder() -> Path:
    """The scripts beside the code of an installed package, or at the top of a checkout."""
    package = Path(parp_fairseq.__file__).resolve().parent
    for folder in (package / "manifests", package.parent / "manifests"):
        if (folder / "check.py").is_file():
            return folder
    raise FileNotFoundError(f"no manifests in {package} or beside it: install parp_fairseq again")
