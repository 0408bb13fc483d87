"""``parp compare``: IoU of masks, as a table and a picture."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .parsing.options import add_plot

HELP = "IoU of masks, as a table and a picture"
DESCRIPTION = """\
Show how much masks agree: the IoU (intersection over union) of the kept weights of every pair.

1 means that both keep the same weights; two random masks that each prune half have an IoU of 0.33.
A checkpoint stands for the mask of its zeros, over the weights that it was pruned in. Only the
parameters that all files cover are counted, and a note names the others."""
EXAMPLES = """\
  parp compare spanish.safetensors french.safetensors italian.safetensors --plot iou.png
  parp compare mpi.safetensors checkpoint_best.pt"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("first", type=Path, metavar="MASK", help="mask or checkpoint")
    parser.add_argument(
        "others", type=Path, nargs="+", metavar="MASK", help="one or more to compare it with"
    )
    add_plot(parser, "the matrix")


def run(args: Namespace) -> None:
    from .counting.agreement import iou_matrix, load_masks, unique_labels

    if args.plot:
        from .pictures import heat_map

        heat_map.require_drawable(args.plot)
    paths = [args.first, *args.others]
    compared = load_masks(paths)
    matrix = iou_matrix(compared.masks, paths)
    labels = unique_labels(paths)
    if args.plot:
        heat_map.draw_iou(args.plot, matrix, labels)
    print(_table(matrix, labels, compared.masks))
    num_weights = compared.masks[0].num_weights
    print(f"\ncounted  {num_weights:,} weights in {len(compared.names)} parameters of every file")
    for path, left_out in zip(paths, compared.left_out):
        if left_out:
            print(
                f"note     {path} also covers {len(left_out)} parameters that are not compared: "
                f"{', '.join(left_out[:3])}{', ...' * (len(left_out) > 3)}"
            )
    if args.plot:
        print(f"picture  {args.plot}")


def _table(matrix, labels, masks) -> str:
    from tabulate import tabulate

    # Columns have numbers, because names would make the table wider than a terminal.
    numbers = [str(number) for number in range(1, len(labels) + 1)]
    body = [
        [number, label, f"{mask.sparsity:.1%}", *(f"{iou:.4f}" for iou in row)]
        for number, label, mask, row in zip(numbers, labels, masks, matrix)
    ]
    headers = ["", "IoU of kept weights", "sparsity", *numbers]
    align = ["right", "left"] + ["right"] * (len(headers) - 2)
    return tabulate(body, headers, disable_numparse=True, colalign=align)
