"""Files of ``torch.save``, read without running anything that they carry."""

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch


def load_plain(path: Path) -> Any:
    """What ``torch.save`` wrote to ``path``: tensors, which stay in the file, and plain data.

    Raises:
        ValueError: anything else, above all a pickle that would run code; it says why, and leaves
            it to the caller to name the file.
    """
    zipped = zipfile.is_zipfile(path)  # the older form of file cannot be mapped
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of pickles that it goes on to refuse
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except PermissionError:
        raise
    except Exception as error:  # torch raises many kinds for a file that it cannot or will not read
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = (
            f"loading it would run code, for it asks for {wanted[1]}"
            if wanted
            else "it is cut short, of another kind, or would run code"
        )
        raise ValueError(
            f"{reason} ({type(error).__name__}); expected tensors and plain data alone"
        ) from None
