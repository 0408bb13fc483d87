"""Reading a file that holds a mask, a pack or a checkpoint."""

from pathlib import Path
from typing import Mapping, Union

from parp_fairseq.pruning import Mask
from parp_fairseq.pruning.pack import Pack, is_pack
from parp_fairseq.pruning.plain_file import is_safetensors

from .checkpoint import Checkpoint, describe, read


def load(path: Path) -> Union[Mask, Pack, Checkpoint]:
    """Read a mask, a pack or a checkpoint; the content of the file decides which it is.

    Raises:
        OSError, ValueError: the file holds none of them; the message names the file and the reason.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: expected a mask or a checkpoint")
    if not path.is_file():
        raise ValueError(f"{path} is a folder: expected a mask or a checkpoint")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty: expected a mask or a checkpoint")
    if is_safetensors(path):
        return Pack.load(path) if is_pack(path) else Mask.load(path)
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
