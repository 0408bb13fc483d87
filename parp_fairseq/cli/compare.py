"""``parp compare``: IoU of masks, as a table and a picture."""

from argparse import Namespace
from pathlib import Path
from typing import List, Sequence

from tabulate import tabulate

from parp_fairseq.pruning import Mask

from .checkpoint import Checkpoint, mask_of_zeros
from .files import load

_EVERYTHING = "re:"  # a scope that covers all weights


def run(args: Namespace) -> None:
    if args.plot:
        from . import figures

        figures.require_drawable(args.plot)
    paths = [args.first, *args.others]
    masks = load_masks(paths)
    matrix = iou_matrix(masks, paths)
    labels = unique_labels(paths)
    if args.plot:
        figures.draw_iou(args.plot, matrix, labels)
    print(_table(matrix, labels, masks))
    if args.plot:
        print(f"\npicture  {args.plot}")


def load_masks(paths: Sequence[Path]) -> List[Mask]:
    """The masks in the files, where a checkpoint stands for its zeros.

    They are looked for among the weights that the first mask speaks of; where there is no mask,
    among those that the first checkpoint was pruned in.
    """
    held = [load(path) for path in paths]
    names = next((list(mask) for mask in held if isinstance(mask, Mask)), None)
    if names is None:
        names = list(held[0].prunable(held[0].trained_scope, held[0].trained_biases))
    return [one if isinstance(one, Mask) else _mask_of_zeros(one, names) for one in held]


def _mask_of_zeros(checkpoint: Checkpoint, names: Sequence[str]) -> Mask:
    weights = checkpoint.prunable(_EVERYTHING)
    return mask_of_zeros({name: weights[name] for name in names if name in weights})


def iou_matrix(masks: Sequence[Mask], paths: Sequence[Path]) -> List[List[float]]:
    """IoU of every mask with every mask."""
    matrix = [[1.0] * len(masks) for _ in masks]
    for i, a in enumerate(masks):
        for j, b in enumerate(masks[:i]):
            try:
                matrix[i][j] = matrix[j][i] = a.iou(b)
            except ValueError as error:
                raise ValueError(f"{paths[j]} and {paths[i]} cannot be compared: {error}") from None
    return matrix


def unique_labels(paths: Sequence[Path]) -> List[str]:
    """File names, with as many of their folders as tell them apart."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        labels = [str(Path(*path.parts[-depth:])) for path in paths]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{label} ({number})" for number, label in enumerate(labels, 1)]


def _table(matrix: List[List[float]], labels: List[str], masks: Sequence[Mask]) -> str:
    # Columns go by number: names would make the table wider than a terminal.
    numbers = [str(number) for number in range(1, len(labels) + 1)]
    body = [
        [number, label, f"{mask.sparsity:.1%}", *(f"{iou:.4f}" for iou in row)]
        for number, label, mask, row in zip(numbers, labels, masks, matrix)
    ]
    headers = ["", "IoU of kept weights", "sparsity", *numbers]
    align = ["right", "left"] + ["right"] * (len(headers) - 2)
    return tabulate(body, headers, disable_numparse=True, colalign=align)
