"""Recovery: a run that was killed while fairseq copied a checkpoint goes on all the same.

fairseq writes one file of a save atomically, and copies it to ``checkpoint_last.pt`` byte by byte.
A kill in between leaves that one cut short, and a whole file of the same save beside it.
"""

import logging
import shutil
import zipfile
from pathlib import Path

from parp_fairseq.pruning.replacing import replacing

logger = logging.getLogger(__name__)


def mend_last_checkpoint(save_dir: Path) -> None:
    """Put the newest whole checkpoint in the place of a ``checkpoint_last.pt`` that is cut short.

    Raises:
        ValueError: there is no whole checkpoint; the message names the file that is cut short.
    """
    last = save_dir / "checkpoint_last.pt"
    if not last.exists() or zipfile.is_zipfile(last):
        return
    others = (path for path in save_dir.glob("checkpoint*.pt") if path != last)
    whole = sorted(filter(zipfile.is_zipfile, others), key=lambda path: path.stat().st_mtime_ns)
    if not whole:
        raise ValueError(
            f"{last} is cut short ({last.stat().st_size} bytes), and no whole checkpoint is beside "
            "it: remove it to begin anew"
        )
    logger.warning(f"{last} is cut short: going on from {whole[-1]}, the newest whole checkpoint")
    with replacing(last) as partial:
        shutil.copyfile(whole[-1], partial)
