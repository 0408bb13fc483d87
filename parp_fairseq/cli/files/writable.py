"""Checks that a file can be written, before the work begins."""

import os
from pathlib import Path
from typing import Sequence


def require_writable(option: str, path: Path, suffixes: Sequence[str]) -> None:
    """Raise ValueError if ``path``, the value of ``option``, cannot be written."""
    if path.suffix.lower() not in suffixes:
        expected = " or ".join(suffixes)
        raise ValueError(f"{option} is {path}: expected a name that ends in {expected}")
    if path.is_dir():
        raise ValueError(f"{option} is {path}, which is a folder: expected the name of a file")
    if not path.parent.is_dir():
        raise ValueError(f"{option} is {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{option} is {path}: the folder {path.parent} cannot be written to")


def require_writable_folder(option: str, path: Path) -> None:
    """Raise ValueError if ``path``, the value of ``option``, cannot become a new folder."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"{option} is {path}, which is a file: expected the name of a folder")
    if path.is_dir() and any(path.iterdir()):
        raise ValueError(f"{option} is {path}, which is not empty: expected a new or empty folder")
    if not path.parent.is_dir():
        raise ValueError(f"{option} is {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{option} is {path}: the folder {path.parent} cannot be written to")
