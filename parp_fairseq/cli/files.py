"""What a file holds: a mask or a checkpoint. Whether one can be written."""

import os
from pathlib import Path
from typing import Mapping, Sequence, Union

from parp_fairseq.pruning import Mask

from .checkpoint import Checkpoint, describe, read


def load(path: Path) -> Union[Mask, Checkpoint]:
    """Read a mask or a checkpoint, told apart by what is in the file.

    Raises:
        OSError, ValueError: the file holds neither; the message names it and says why.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: expected a mask or a checkpoint")
    if not path.is_file():
        raise ValueError(f"{path} is a folder: expected a mask or a checkpoint")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty: expected a mask or a checkpoint")
    if path.suffix == ".safetensors":
        return Mask.load(path)
    state = read(path)
    if isinstance(state, Mapping):
        if "model" in state:
            return Checkpoint(path, state)
        if any(str(key).endswith("_mask") for key in state):
            return Mask.load(path)
    raise ValueError(
        f"{path} holds {describe(state)}: expected a mask, or a checkpoint of fairseq, "
        "which is a dict with 'model' in it"
    )


def require_writable(option: str, path: Path, suffixes: Sequence[str]) -> None:
    """Tell before the work what would fail after it."""
    if path.suffix not in suffixes:
        expected = " or ".join(suffixes)
        raise ValueError(f"{option} is {path}: expected a name that ends in {expected}")
    if path.is_dir():
        raise ValueError(f"{option} is {path}, which is a folder: expected the name of a file")
    if not path.parent.is_dir():
        raise ValueError(f"{option} is {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{option} is {path}: the folder {path.parent} cannot be written to")
