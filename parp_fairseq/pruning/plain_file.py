"""Files of ``torch.save``, read without running anything that they carry."""

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch


def load_plain(path: Path) -> Any:
    """Read tensors and plain data that ``torch.save`` wrote; the tensors stay in the file.

    Raises:
        ValueError: the file holds anything else, such as a pickle that would run code. The message
            gives the reason and leaves it to the caller to name the file.
    """
    zipped = zipfile.is_zipfile(path)  # the older kind of file cannot be mapped
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about pickles that it then refuses
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except PermissionError:
        raise
    except Exception as error:  # torch raises many kinds for a file that it cannot or will not read
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = (
            f"loading it would run code, because it asks for {wanted[1]}"
            if wanted
            else "it is cut short, of another kind, or would run code"
        )
        raise ValueError(
            f"{reason} ({type(error).__name__}); expected only tensors and plain data"
        ) from None


def is_safetensors(path: Path) -> bool:
    """Whether a file is of safetensors, by its content: its name may be any.

    Only a file that is neither of safetensors nor of ``torch.save`` goes by its suffix.
    """
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # after the length of the header, which is JSON
        return True
    if start[:1] == b"\x80" or start[:2] == b"PK":  # a pickle or a zip file
        return False
    return path.suffix.lower() == ".safetensors"
