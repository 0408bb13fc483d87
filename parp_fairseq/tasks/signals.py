"""SIGTERM: the run writes a checkpoint after the update at hand, and ends.

Slurm sends SIGTERM some time before it kills a job. fairseq ends a training when its time is up
(``optimization.stop_time_hours``), with a checkpoint; a run that was told to stop has no time left.
The process then ends as one that SIGTERM has ended, with status 143 in a shell, so that whoever
started it knows that the run is not finished. A second SIGTERM ends it at once.
"""

import atexit
import gc
import logging
import os
import signal
import sys
import threading
import weakref
from typing import Any

logger = logging.getLogger(__name__)

_DEADLINE_PASSED = 1e-9  # hours


class Stop:
    """Whether the run was told to stop.

    Ranks get the signal at different times, or not at all. Each adds its :attr:`requested` to what
    it logs about an update; fairseq sums that over all ranks; so all of them stop at one update.
    """

    def __init__(self):
        self.requested = False
        self.training = False  # from the first update on
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _Handler(self))

    def end(self, config: Any, update: int, end_of_epoch: bool) -> None:
        """Have fairseq write a checkpoint after this update, and end.

        It would validate first, which may take longer than there is time. So it does only where a
        validation is due after this update anyway, as the resumed run will not come back to it.
        """
        intervals = (  # fairseq validates before it saves, too
            config.dataset.validate_interval_updates,
            config.checkpoint.save_interval_updates,
        )
        is_due = end_of_epoch or any(n > 0 and update % n == 0 for n in intervals)
        config.optimization.stop_time_hours = _DEADLINE_PASSED
        if not is_due:
            config.dataset.disable_validation = True
        logger.warning(f"SIGTERM: the run ends at update {update}; start it again to go on")
        if not _ends_by_sigterm:
            _ends_by_sigterm.append(True)
            atexit.register(_end_by_sigterm)


_ends_by_sigterm = []


def was_told_to_stop() -> bool:
    """Whether a run of this process has ended on SIGTERM; the next of a sweep must not begin."""
    return bool(_ends_by_sigterm)


class _Handler:
    """Sets the flag of a run while it trains; otherwise ends the process, as is the default."""

    def __init__(self, stop: Stop):
        self._stop = weakref.ref(stop)

    def __call__(self, number, frame):
        gc.collect()  # a run that is over may be held by reference cycles
        stop = self._stop()
        if stop is None or not stop.training or stop.requested:
            _end_by_sigterm()
        else:
            stop.requested = True


def _end_by_sigterm() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
