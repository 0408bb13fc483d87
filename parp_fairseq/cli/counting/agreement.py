"""How masks agree: IoU of every pair, over the parameters that all of them cover."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Set, Union

from parp_fairseq.cli.files.checkpoint import Checkpoint, mask_of_zeros
from parp_fairseq.cli.files.reading import load
from parp_fairseq.pruning import Mask
from parp_fairseq.pruning.pack import Pack

_EVERYTHING = "re:"  # a scope that covers all weights


@dataclass(frozen=True)
class Compared:
    """Masks over the same parameters.

    Attributes:
        masks: one for each file, restricted to ``names``. A checkpoint stands for its zeros.
        names: the parameters that all files cover.
        left_out: for each file, the parameters that it covers and some other file does not.
    """

    masks: List[Mask]
    names: List[str]
    left_out: List[List[str]]


def load_masks(paths: Sequence[Path]) -> Compared:
    """Read masks, packs and checkpoints, and restrict them to what they share.

    A mask covers its parameters, and a checkpoint of the task ``parp`` those that it pruned. Any
    other checkpoint covers what the others do; if there are no others, the scope ``transformer``.
    The order of the files does not matter.

    Raises:
        ValueError: they share no parameter.
    """
    held = [one.mask if isinstance(one, Pack) else one for one in map(load, paths)]
    weights = [one.prunable(_EVERYTHING) if isinstance(one, Checkpoint) else one for one in held]
    covered: List[Optional[Set[str]]] = [_covered(one) for one in held]
    if not any(covered):
        covered = [set(one.prunable("transformer")) for one in held]
    shared = set.intersection(
        *(set(of_file) if names is None else names for of_file, names in zip(weights, covered))
    )
    if not shared:
        told = "; ".join(f"{path} covers {_some(w)}" for path, w in zip(paths, weights))
        raise ValueError(f"these files cannot be compared, they share no parameter: {told}")
    names = [name for name in weights[0] if name in shared]
    return Compared(
        masks=[_restrict(of_file, names) for of_file in weights],
        names=names,
        left_out=[sorted((of_file or set()) - shared) for of_file in covered],
    )


def _covered(held: Union[Mask, Checkpoint]) -> Optional[Set[str]]:
    if isinstance(held, Mask):
        return set(held)
    if not held.is_of_parp:
        return None
    return set(held.trained())


def _restrict(weights, names: Sequence[str]) -> Mask:
    parts: Dict = {name: weights[name] for name in names}
    return Mask(parts) if isinstance(weights, Mask) else mask_of_zeros(parts)


def _some(names) -> str:
    return f"{', '.join(sorted(names)[:2])}, ..."


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
    """File names, with as many of their folders as are needed to tell them apart."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        labels = [str(Path(*path.parts[-depth:])) for path in paths]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{label} ({number})" for number, label in enumerate(labels, 1)]
