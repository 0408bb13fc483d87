"""fairseq's threads that prefetch batches end before the interpreter does.

They are daemon threads that run torch. Where Python ends while one of them is at work, it unwinds
the thread inside C++ code that does not expect it, and the process dies with "terminate called
without an active exception" and status 134 instead of its own, after a refusal and at the end of a
training alike.
"""

import atexit
import queue
import threading
import time
from contextlib import suppress

from fairseq.data.iterators import BackgroundConsumer

_SECONDS = 30  # that a thread gets to finish the batch at hand


def end_prefetching() -> None:
    """Stop all prefetching threads and wait for them."""
    threads = [t for t in threading.enumerate() if isinstance(t, BackgroundConsumer)]
    for thread in threads:
        thread._max_len = 0  # the thread looks at it after each batch
    deadline = time.monotonic() + _SECONDS
    for thread in threads:
        while thread.is_alive() and time.monotonic() < deadline:
            with suppress(queue.Empty):
                thread._queue.get(timeout=0.1)  # it may wait for room in a full queue


atexit.register(end_prefetching)
