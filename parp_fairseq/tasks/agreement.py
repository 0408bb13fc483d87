"""Agreement: all ranks of a data-parallel run have the same mask, or all of them stop."""

from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional

import torch
from fairseq.distributed import utils as distributed_utils
from torch import distributed

from parp_fairseq.pruning import Mask

from .refusals import Refusal


def require_agreement(mask: Mask, device: torch.device) -> None:
    """Compare a digest of the mask over all ranks.

    Args:
        mask: of this rank.
        device: one from which the ranks can exchange tensors.

    Raises:
        RuntimeError: masks differ; the message names the ranks that have each.
    """
    if not distributed.is_initialized():
        return
    ranks: Dict[int, List[int]] = {}
    for rank, digest in enumerate(_gather(mask.digest(), device)):
        ranks.setdefault(digest, []).append(rank)
    if len(ranks) > 1:
        parties = " against ".join(f"ranks {who}" for who in ranks.values())
        raise RuntimeError(
            f"the ranks prune different weights ({parties}) because their weights differ: "
            "check distributed_training.ddp_backend and the hardware"
        )


@contextmanager
def failing_together(device: torch.device) -> Iterator[None]:
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
    failed = [rank for rank, ok in enumerate(_gather(int(error is None), device)) if not ok]
    if error is not None and "out of memory" not in str(error):
        raise error
    if failed:
        # Without the words by which fairseq recognises an error that it may ignore.
        raise RuntimeError(
            f"pruning failed on ranks {failed}: the run stops on all ranks"
            + ("; this one has no memory left" if error is not None else "")
        ) from error


def _gather(number: int, device: torch.device) -> List[int]:
    """The number of each rank."""
    group = distributed_utils.get_data_parallel_group()
    mine = torch.tensor([number], dtype=torch.int64, device=device)
    return distributed_utils.all_gather(mine, group, return_tensor=True).view(-1).tolist()


def sum_over_ranks(tensor: torch.Tensor) -> None:
    """Sum a tensor over all ranks, in place."""
    distributed_utils.all_reduce(tensor, distributed_utils.get_data_parallel_group())


def require_same_start(updates: int, resumed: bool, mask: Optional[Mask]) -> None:
    """Compare over all ranks how they begin: every path of the first update comes here.

    Raises:
        Refusal: they differ, on all ranks; the message names what each rank has.
    """
    if not distributed.is_initialized():
        return
    mine = (updates, resumed, mask and mask.digest())
    starts = [None] * distributed.get_world_size()
    distributed.all_gather_object(starts, mine)
    if len(set(starts)) == 1:
        return
    told = "; ".join(
        f"rank {rank}: update {done}, {'resumed' if goes_on else 'begun anew'}, mask {digest}"
        for rank, (done, goes_on, digest) in enumerate(starts)
    )
    raise Refusal(
        f"the ranks do not begin alike ({told}): checkpoint.save_dir must be a folder that all "
        "nodes share, and model.w2v_path the same file"
    )
