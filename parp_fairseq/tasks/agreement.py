"""Agreement: all ranks of a data-parallel run begin alike, or all of them stop."""

from typing import Optional

import torch
from fairseq.distributed import utils as distributed_utils
from torch import distributed

from parp_fairseq.pruning import Mask

from .refusals import Refusal


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
