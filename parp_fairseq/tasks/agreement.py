"""Agreement: all ranks of a data-parallel run have the same mask, or the run stops."""

from typing import Dict, List

import torch
from fairseq.distributed import utils as distributed_utils
from torch import distributed

from parp_fairseq.pruning import Mask


def require_agreement(mask: Mask, device: torch.device) -> None:
    """Compare a digest of the mask over all ranks; ``device`` is one that they can exchange from.

    Raises:
        RuntimeError: masks differ; the message names the ranks that have each.
    """
    if not distributed.is_initialized():
        return
    group = distributed_utils.get_data_parallel_group()
    mine = torch.tensor([mask.digest()], dtype=torch.int64, device=device)
    all_of_them = distributed_utils.all_gather(mine, group, return_tensor=True)
    ranks: Dict[int, List[int]] = {}
    for rank, digest in enumerate(all_of_them.view(-1).tolist()):
        ranks.setdefault(digest, []).append(rank)
    if len(ranks) > 1:
        parties = " against ".join(f"ranks {who}" for who in ranks.values())
        raise RuntimeError(
            f"the ranks prune different weights ({parties}): their weights have come apart; "
            "check distributed_training.ddp_backend and the hardware"
        )
