"""Agreement: all ranks of a data-parallel run have the same mask, or all of them stop."""

from contextlib import contextmanager
from typing import Any, Dict, Iterator, List

import torch
from torch import distributed

from .mask import Mask


def require_agreement(mask: Mask, device: torch.device, group: Any = None) -> None:
    """Compare a digest of the mask over all ranks.

    Args:
        mask: of this rank.
        device: one from which the ranks can exchange tensors.
        group: the ranks, as a process group of ``torch.distributed``; by default all of them.

    Raises:
        RuntimeError: masks differ; the message names the ranks that have each.
    """
    if not distributed.is_initialized():
        return
    ranks: Dict[int, List[int]] = {}
    for rank, digest in enumerate(_gather(mask.digest(), device, group)):
        ranks.setdefault(digest, []).append(rank)
    if len(ranks) > 1:
        parties = " against ".join(f"ranks {who}" for who in ranks.values())
        raise RuntimeError(
            f"the ranks prune different weights ({parties}) because their weights differ: "
            "check how gradients are averaged (in fairseq, distributed_training.ddp_backend) and "
            "the hardware"
        )


@contextmanager
def failing_together(device: torch.device, group: Any = None) -> Iterator[None]:
    """Let an error inside the block stop all ranks, for the others would wait for this one forever.

    fairseq goes on with the next batch where memory runs out on one of several ranks; with this
    rank unpruned, it must not. In a single process errors pass unchanged.

    Raises:
        RuntimeError: the block failed on another rank, or for lack of memory on this one.
    """
    if not distributed.is_initialized():
        yield
        return
    error = None
    try:
        yield
    except Exception as caught:
        error = caught
    ranks = enumerate(_gather(int(error is None), device, group))
    failed = [rank for rank, succeeded in ranks if not succeeded]
    if error is not None and "out of memory" not in str(error):
        raise error
    if failed:
        # Without the words by which fairseq recognises an error that it may ignore.
        raise RuntimeError(
            f"pruning failed on ranks {failed}: the run stops on all ranks"
            + ("; this one has no memory left" if error is not None else "")
        ) from error


def _gather(number: int, device: torch.device, group: Any) -> List[int]:
    """The number of each rank."""
    mine = torch.tensor([number], dtype=torch.int64, device=device)
    gathered = [torch.empty_like(mine) for _ in range(distributed.get_world_size(group))]
    distributed.all_gather(gathered, mine, group=group)
    return torch.cat(gathered).tolist()
