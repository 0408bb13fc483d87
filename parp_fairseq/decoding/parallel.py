"""Workers: the utterances of a batch decoded by several processes, in the order they came in."""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from typing import Callable, Iterable, Iterator, List, Sequence, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .path import Path

Result = TypeVar("Result")

_search = None
"""In a worker, what it decodes with."""


class Workers:
    """Decodes batches of emissions.

    The processes are forked, so that lexicon and language model are in memory once. They start
    with this object, before fairseq starts its threads.

    Args:
        search: what decodes one emission.
        count: number of processes; with 1, this process decodes.
    """

    def __init__(self, search, count: int = 1):
        self.search = search
        self.pool = None
        if count > 1 and not search.uses_device:
            self.pool = forked(count, _adopt, search)

    def __del__(self):
        # Waits: if Python ends while the pool closes by itself, it prints a traceback now and then.
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def decode(self, batch: Sequence[Tensor], nbest: int = 1) -> List[List[Path]]:
        """The paths of each emission of ``batch``, in its order.

        A progress bar is shown on a terminal where a batch takes longer than a few seconds.
        """
        if self.pool is None or len(batch) == 1:
            results: Iterable[List[Path]] = (self.search(e, nbest) for e in batch)
        else:
            # The longest first, so that no process ends long after the others.
            order = sorted(range(len(batch)), key=lambda i: -len(batch[i]))
            futures = {i: self.pool.submit(_decode, batch[i].numpy(), nbest) for i in order}
            results = (futures[i].result() for i in range(len(batch)))
        return list(show_progress(results, len(batch), "decoding"))


def forked(count: int, initializer: Callable, *arguments) -> ProcessPoolExecutor:
    """A pool of ``count`` processes that have started; ``arguments`` are not pickled."""
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(count, context, _begin, (initializer, *arguments))
    pool.submit(int).result()  # the processes start with the first task
    return pool


def show_progress(results: Iterable[Result], total: int, what: str) -> Iterator[Result]:
    """``results``, with a progress bar on a terminal once they take more than five seconds."""
    return iter(tqdm(results, what, total, leave=False, unit="utterance", disable=None, delay=5))


def _begin(initializer: Callable, *arguments) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the pool
    torch.set_num_threads(1)  # threads of OpenMP do not survive a fork
    initializer(*arguments)


def _adopt(search) -> None:
    global _search
    _search = search


def _decode(log_probs: np.ndarray, nbest: int) -> List[Path]:
    return _search(torch.from_numpy(log_probs), nbest)
