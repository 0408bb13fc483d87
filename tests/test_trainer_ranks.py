"""ParpCallback in two processes: DistributedDataParallel over gloo, bfloat16."""

import os
import socket
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

if find_spec("transformers") is None or find_spec("accelerate") is None:
    pytest.skip("the [hf] extra is not installed", allow_module_level=True)


def train_rank(rank, port, folder):
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1",
    )  # fmt: skip
    import conftest  # noqa: F401
    from trainer_runs import trainer_of

    from parp_fairseq.huggingface import ParpCallback

    def train(name, **how):
        callback = ParpCallback(0.6, prune_interval=2)
        trainer = trainer_of(
            "bert", Path(folder) / name, callback, certain=False, max_steps=6, bf16=True,
            save_strategy="steps", save_steps=3, ddp_backend="gloo",
            gradient_accumulation_steps=2, train_sampling_strategy="random",
        )  # fmt: skip
        trainer.train(**how)
        assert distributed.get_world_size() == 2
        return {"mask": callback.mask.state_dict(), "model": trainer.model.state_dict()}

    whole = train("whole")
    resumed = train("resumed", resume_from_checkpoint=f"{folder}/whole/checkpoint-3")
    torch.save({"whole": whole, "resumed": resumed}, Path(folder) / f"rank{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_same_mask_and_resume_to_the_same_bits(tmp_path):
    from parp_fairseq.pruning import Mask, prunable_parameters

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(train_rank, (port, str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    expected = ranks[0]["whole"]
    mask = Mask.from_state_dict(expected["mask"])
    assert mask == Mask.of_zeros(prunable_parameters(expected["model"]))
    assert mask.num_pruned == round(0.6 * mask.num_weights)
    for found in (ranks[1]["whole"], ranks[0]["resumed"], ranks[1]["resumed"]):
        assert Mask.from_state_dict(found["mask"]) == mask
        for name, value in found["model"].items():
            assert torch.equal(value, expected["model"][name]), name
