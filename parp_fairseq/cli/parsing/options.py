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


def seed(text: str) -> int:
    """The type of ``--seed``: a whole number from 0 to 2**32 - 1."""
    value = int(text) if text.isdecimal() else -1
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(
            f"expected a whole number from 0 to {2**32 - 1}, found {text!r}"
        )
    return value
