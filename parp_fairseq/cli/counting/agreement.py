"""How masks agree: IoU of every pair."""

from pathlib import Path
from typing import List, Sequence

from parp_fairseq.cli.files.checkpoint import Checkpoint, mask_of_zeros
from parp_fairseq.cli.files.reading import load
from parp_fairseq.pruning import Mask

_EVERYTHING = "re:"  # a scope that covers all weights


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
