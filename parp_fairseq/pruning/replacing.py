"""Files that appear whole or not at all: written under another name, then moved into place."""

import os
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
        raise OSError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)
