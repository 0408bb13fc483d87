"""Mask files: our own of safetensors, and those of the paper's authors."""

import json
import os
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .kept import as_bool
from .plain_file import load_plain
from .replacing import replacing
from .scope import canonical_names

FORMAT = "parp-mask"
_AUTHORS_SUFFIX = "_mask"


def write_packed(
    path: Path, tensors: Mapping[str, Tensor], told: Mapping[str, Any], form: str = FORMAT
) -> None:
    """Write packed masks or weights, and ``told`` as JSON in the metadata under the name ``form``.

    Raises:
        OSError: the file cannot be written; nothing was left behind.
    """
    # One entry: safetensors changes the order of several, and equal masks must be equal files.
    metadata = {form: json.dumps(told)}
    try:
        with replacing(path) as partial:
            save_file(dict(tensors), partial, metadata)
            # safetensors makes the file readable only by its owner.
            umask = os.umask(0)
            os.umask(umask)
            partial.chmod(0o666 & ~umask)
    except SafetensorError as error:  # for example a full disk
        raise OSError(f"{path} cannot be written: {error}") from None


def read_packed(path: Path) -> Tuple[Dict[str, Tensor], Dict[str, Any]]:
    """Packed masks and metadata that :func:`write_packed` wrote; ``shapes`` as sizes.

    Raises:
        ValueError, SafetensorError: the file holds something else.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if FORMAT not in metadata:
            found = ", ".join(sorted(metadata)) or "none"
            raise ValueError(f"expected {FORMAT} in a safetensors file's metadata, found {found}")
        told = _parse(metadata[FORMAT])
        shapes = told["shapes"]
        if shapes.keys() != set(file.keys()):
            raise ValueError("the metadata names other tensors than the file holds")
        bits = {name: file.get_tensor(name) for name in shapes}
    return bits, told


def read_authors(path: Path) -> Dict[str, Tensor]:
    """Canonical name -> bool tensor, from a file of the paper's authors.

    Raises:
        ValueError: the file holds something else.
    """
    state = load_plain(path)
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f"expected a dict of masks, found {type(state).__name__}")
    if "model" in state:
        raise ValueError("it is a checkpoint: expected a mask, which `parp mask` makes of one")
    for key, value in state.items():
        if not (isinstance(key, str) and key.endswith((".weight_mask", ".bias_mask"))):
            raise ValueError(f"expected keys that end in .weight_mask or .bias_mask, found {key!r}")
        if not isinstance(value, Tensor):
            raise ValueError(f"{key}: expected a tensor, found {type(value).__name__}")
    names = canonical_names(key[: -len(_AUTHORS_SUFFIX)] for key in state)
    return {names[key[: -len(_AUTHORS_SUFFIX)]]: as_bool(key, v) for key, v in state.items()}


def _parse(text: str) -> Dict[str, Any]:
    """The metadata that :func:`write_packed` wrote."""
    told = json.loads(text or "null")
    shapes = told.get("shapes") if isinstance(told, dict) else None
    lists = shapes.values() if isinstance(shapes, dict) else [None]
    if not all(isinstance(s, list) and all(type(n) is int and n >= 0 for n in s) for s in lists):
        raise ValueError(f"expected shapes as lists of sizes in the metadata, found {text[:80]!r}")
    return {**told, "shapes": {name: torch.Size(shape) for name, shape in shapes.items()}}
