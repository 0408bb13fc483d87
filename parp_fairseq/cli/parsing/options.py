"""Options that several commands have."""

import argparse
from pathlib import Path

SCOPE = (
    "transformer (k_proj, v_proj, q_proj, out_proj, fc1, fc2 of every layer), feature_extractor "
    "(its convolutions), all (both, and post_extract_proj), or re:<regex>, searched for in "
    "parameter names such as encoder.layers.0.fc1.weight"
)
PICTURES = (".png", ".pdf", ".svg")


def add_output(parser: argparse.ArgumentParser, metavar: str) -> None:
    """``-o FILE``, the file that a command writes."""
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar=metavar,
        help="file to write; an existing one is replaced",
    )


def add_plot(parser: argparse.ArgumentParser, what: str) -> None:
    """``--plot PICTURE``: ``what`` as a heat map."""
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="PICTURE.png",
        help=f"also draw {what} as a heat map: .png, .pdf or .svg; needs matplotlib "
        "(pip install 'parp_fairseq[plot]') (default: no picture)",
    )


def add_corpus(parser, what: str) -> None:
    """``--corpus NAME``, for checkpoints with a mask for each corpus."""
    parser.add_argument(
        "--corpus",
        metavar="NAME",
        help=f"{what}, of a checkpoint that was trained with task.mask_per_corpus=true",
    )


def add_user_dir(parser: argparse.ArgumentParser) -> None:
    """``--user-dir DIR``, for models that a folder of the user registers."""
    parser.add_argument(
        "--user-dir",
        metavar="DIR",
        help="folder of your own that registers the encoder in the checkpoint, as for "
        "fairseq-generate; it must import parp_fairseq (default: none)",
    )


def import_user_dir(args: argparse.Namespace) -> None:
    """Import the folder that ``--user-dir`` names, as the programs of fairseq do.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if args.user_dir is None:
        return
    from fairseq.utils import import_user_module

    try:
        import_user_module(args)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"--user-dir is {args.user_dir}, which does not exist: expected a folder"
        ) from None


def seed(text: str) -> int:
    """The type of ``--seed``: a whole number from 0 to 2**32 - 1."""
    value = int(text) if text.isdecimal() else -1
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(
            f"expected a whole number from 0 to {2**32 - 1}, found {text!r}"
        )
    return value
