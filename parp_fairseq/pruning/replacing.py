"""Files and folders that appear whole or not at all: written elsewhere, then moved into place."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``. What is written there becomes ``path`` in one step.

    Raises:
        OSError: the file cannot be written. The message names it, and ``path`` is unchanged.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} cannot be written: it is a folder")
    # A long name would be too long for the file system with these additions.
    partial = path.with_name(f".{path.name[:50]}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``, which becomes ``path`` in one step.

    Raises:
        OSError: the folder cannot be written, or ``path`` exists and is not an empty folder.
    """
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file: expected the name of a folder")
    if path.is_dir() and any(path.iterdir()):
        raise FileExistsError(f"{path} is not empty: expected a new or an empty folder")
    partial = path.with_name(f".{path.name[:50]}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
