"""``parp compare``: how far masks agree, as a table and a picture."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .parsing.options import add_plot

HELP = "how far masks agree, as a table and a picture"
DESCRIPTION = """\
Show how much masks agree: the IoU (intersection over union) of the kept weights of every pair.

1 means that both keep the same weights; two random masks that each prune half have an IoU of 0.33.
A checkpoint stands for the mask of its zeros, over the weights that it was pruned in. Only the
parameters that all files cover are counted, and a note names the others.

Masks that prune little keep much the same weights by chance alone. --pruned shows for each layer
how far two masks prune the same weights: 0 is the overlap of random masks of the same sparsities, 1
is full overlap. A pack of parp pack stands for its mask."""
EXAMPLES = """\
  parp compare spanish.safetensors french.safetensors italian.safetensors --plot iou.png
  parp compare mpi.safetensors checkpoint_best.pt
  parp compare spanish.safetensors french.safetensors --pruned --plot layers.png"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("first", type=Path, metavar="MASK", help="mask, pack or checkpoint")
    parser.add_argument(
        "others", type=Path, nargs="+", metavar="MASK", help="one or more to compare it with"
    )
    parser.add_argument(
        "--pruned",
        action="store_true",
        help="the overlap of the pruned weights above chance, layer by layer (default: IoU of the "
        "kept weights)",
    )
    add_plot(parser, "the table")


def run(args: Namespace) -> None:
    from .counting.agreement import iou_matrix, load_masks, unique_labels
    from .counting.overlap import OverlapByLayer

    if args.plot:
        from .pictures import heat_map

        heat_map.require_drawable(args.plot)
    paths = [args.first, *args.others]
    compared = load_masks(paths)
    labels = unique_labels(paths)
    if args.pruned:
        overlap = OverlapByLayer(compared.masks)
        if not any(value is not None for row in overlap.values for value in row):
            raise ValueError("--pruned: in every pair one mask prunes nothing, or both prune all")
        if args.plot:
            heat_map.draw_overlap(args.plot, overlap, labels)
        print(_overlap_table(overlap, labels, compared.masks))
    else:
        matrix = iou_matrix(compared.masks, paths)
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


def _overlap_table(overlap, labels, masks) -> str:
    from tabulate import tabulate

    files = [
        [number, label, f"{mask.sparsity:.1%}"]
        for number, (label, mask) in enumerate(zip(labels, masks), 1)
    ]
    body = [
        [row, *("" if value is None else f"{value:.4f}" for value in values)]
        for row, values in zip(overlap.rows, overlap.values)
    ]
    headers = ["layer", *(f"{a + 1} and {b + 1}" for a, b in overlap.pairs)]
    align = ["right"] * len(headers)
    listed = tabulate(files, ["", "mask", "sparsity"], colalign=["right", "left", "right"])
    table = tabulate(body, headers, disable_numparse=True, colalign=align)
    return f"{listed}\n\noverlap of the pruned weights, 0 is chance\n\n{table}"
