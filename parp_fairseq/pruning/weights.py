"""Weights: tensors that can be pruned in place, and the memory that they share."""

from typing import Any, Dict, Iterable, Iterator, List, Mapping, Tuple

import torch
from torch import Tensor, nn

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def without_teacher(weights: Mapping[str, Any]) -> Mapping[str, Any]:
    """``weights`` of a checkpoint without the moving average that data2vec keeps with them.

    In pre-training, data2vec predicts the output of a moving average of its own weights, and saves
    that average as a dict under ``_ema``.
    """
    if "_ema" not in weights:
        return weights
    return {name: weight for name, weight in weights.items() if name != "_ema"}


def require_dense(name: str, weight: Tensor) -> None:
    """Raise ValueError where ``weight`` is no dense tensor."""
    if not isinstance(weight, Tensor):
        raise ValueError(f"{name} is of type {type(weight).__name__}: expected a tensor")
    if nn.parameter.is_lazy(weight):
        raise ValueError(f"{name} has no shape yet: run the network once to initialize it")
    if weight.layout != torch.strided:
        raise ValueError(f"{name} has the layout {_word(weight.layout)}: expected a dense tensor")


def require_floats(name: str, weight: Tensor) -> None:
    """Raise ValueError where ``weight`` is of a type that cannot be pruned."""
    if weight.dtype not in DTYPES:
        expected = ", ".join(map(_word, DTYPES))
        raise ValueError(f"{name} is {_word(weight.dtype)}: expected one of {expected}")


def require_prunable(weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError where ``weights`` cannot be pruned in place, each by itself.

    They must be dense floating-point tensors that have values and share no memory.
    """
    require_separate(weights)
    for name, weight in weights.items():
        require_floats(name, weight)


def require_separate(weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError where ``weights`` are not dense tensors with memory of their own."""
    if not isinstance(weights, Mapping):
        raise ValueError(
            f"found an object of type {type(weights).__name__}: expected a mapping of names to "
            "tensors, as prunable_parameters(model) returns"
        )
    for name, weight in weights.items():
        require_dense(name, weight)
        if weight.is_meta:
            raise ValueError(f"{name} is on the meta device: expected a tensor that has values")
    require_disjoint(weights.items())


def require_disjoint(weights: Iterable[Tuple[str, Tensor]]) -> None:
    """Raise ValueError where elements share memory: pruning one would prune another."""
    weights = list(weights)
    for name, weight in weights:
        if any(size > 1 and step == 0 for size, step in zip(weight.shape, weight.stride())):
            raise ValueError(f"elements of {name} share memory: expected a tensor without expand()")
    for a, b in overlapping(weights):
        raise ValueError(
            f"{a} and {b} share memory: pruning one would prune the other; expected one of the two"
        )


def place(weight: Tensor) -> Tuple[object, int, int, object, object]:
    """Equal for two tensors exactly if they are the same view of the same memory."""
    return (*_start(weight), weight.dtype, (tuple(weight.shape), tuple(weight.stride())))


def overlapping(weights: Iterable[Tuple[str, Tensor]]) -> Iterator[Tuple[str, str]]:
    """Pairs of names of tensors that share memory."""
    by_memory: Dict[object, List[Tuple[int, int, str, Tensor]]] = {}
    for name, weight in weights:
        if weight.numel():
            memory, start = _start(weight)
            end = start + _extent(weight) * weight.element_size()
            by_memory.setdefault(memory, []).append((start, end, name, weight))
    for pieces in by_memory.values():
        active: List[Tuple[int, int, str, Tensor]] = []
        for piece in sorted(pieces, key=lambda piece: piece[:2]):
            active = [other for other in active if other[1] > piece[0]]
            yield from ((other[2], piece[2]) for other in active if _share(other, piece))
            active.append(piece)


def _start(weight: Tensor) -> Tuple[object, int]:
    """Which memory, and where in it."""
    if weight.is_meta:  # without an address
        start = weight.storage_offset() * weight.element_size()
        return ("meta", weight.untyped_storage()._cdata), start
    return weight.device, weight.data_ptr()


def _extent(weight: Tensor) -> int:
    """Elements from the first to the last, with those between that belong to no element."""
    return 1 + sum((size - 1) * step for size, step in zip(weight.shape, weight.stride()))


def _share(a: Tuple[int, int, str, Tensor], b: Tuple[int, int, str, Tensor]) -> bool:
    """Whether two tensors whose extents overlap have an element in common; ``b`` starts later."""
    size, between = b[3].element_size(), b[0] - a[0]
    if a[3].element_size() != size or between % size:
        return True
    # Columns of one matrix, for example, lie between one another and share nothing.
    used = torch.zeros((max(a[1], b[1]) - a[0]) // size, dtype=torch.bool)
    used.as_strided(a[3].shape, a[3].stride()).fill_(True)
    return bool(used.as_strided(b[3].shape, b[3].stride(), between // size).any())


def _word(kind: object) -> str:
    """``float32`` for ``torch.float32``."""
    return str(kind).rpartition(".")[2]
