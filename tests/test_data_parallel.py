"""Promise 7: all ranks agree. Two processes over gloo, as fairseq trains on two GPUs."""

from pathlib import Path

import pytest
import torch
from fairseq.distributed import utils as distributed_utils
from fairseq_runs import finetune, make_trainer, training_config
from programs import FORKS
from torch import distributed, multiprocessing

from parp_fairseq.pruning import Mask

UPDATES = 20
# Nothing random in the network: two processes draw other numbers than one does.
CERTAIN = dict(apply_mask=None, sparsity=0.5, prune_interval=10, lr="[0.001]", max_update=UPDATES)


def two_ranks(function, folder, *args) -> None:
    """Call ``function(rank, rendezvous, folder, *args)`` in two processes, to their ends."""
    multiprocessing.start_processes(
        leaving_together,
        (function, f"file://{folder}/rendezvous", folder, *args),
        nprocs=2,
        start_method=FORKS.get_start_method(),
    )


def leaving_together(rank, function, *args) -> None:
    """fairseq leaves its process group up, and gloo aborts some processes that end so."""
    function(rank, *args)
    distributed.barrier()
    distributed.destroy_process_group()


def join(cfg, rank, rendezvous) -> None:
    """What fairseq's launchers do to the config of a rank."""
    parallel = cfg.distributed_training
    parallel.distributed_world_size = 2
    parallel.distributed_rank = rank
    parallel.distributed_init_method = rendezvous
    parallel.distributed_backend = "gloo"
    parallel.distributed_no_spawn = True
    distributed_utils.distributed_init(cfg)


def train_rank(rank, rendezvous, folder, data, encoder):
    import conftest  # noqa: F401  (registers the plugin in this process)
    from test_training import run

    cfg = training_config(data, encoder, folder, load_checkpoint_on_all_dp_ranks=True, **CERTAIN)
    join(cfg, rank, rendezvous)
    trainer = make_trainer(cfg)
    run(trainer, UPDATES)
    report = {
        "mask": trainer.task.pruner.mask.state_dict(),
        "weights": dict(trainer.get_model().named_parameters()),
    }
    torch.save(report, Path(folder) / f"rank{rank}.pt")


def test_two_ranks_agree_and_equal_one_with_twice_update_freq(corpus, encoder, tmp_path):
    """With legacy_ddp: fairseq's pytorch_ddp wants GPUs."""
    two_ranks(train_rank, tmp_path, corpus, encoder)
    first, second = (
        torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)
    )
    assert Mask.from_state_dict(first["mask"]) == Mask.from_state_dict(second["mask"])
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name]), name

    from test_training import run

    alone = make_trainer(training_config(corpus, encoder, tmp_path, update_freq="[2]", **CERTAIN))
    run(alone, UPDATES, update_freq=2)
    # Gradients are summed in another order. Measured: weights differ by 1e-5, masks in no bit.
    for name, param in alone.get_model().named_parameters():
        torch.testing.assert_close(first["weights"][name], param.data, rtol=0, atol=1e-3)
    assert Mask.from_state_dict(first["mask"]).iou(alone.task.pruner.mask) > 0.99


# A learned mask, with micro-batches that are summed on each rank before the ranks exchange them.
LEARNED = dict(
    CERTAIN, learn_mask=True, prune_pattern="layerwise", prune_bias="false", sparsity=0.3,
    lr="[0.01]", max_update=6, update_freq="[2]",
)  # fmt: skip


def learn_rank(rank, rendezvous, folder, data, encoder):
    import conftest  # noqa: F401  (registers the plugin in this process)
    from test_training import run

    cfg = training_config(data, encoder, folder, load_checkpoint_on_all_dp_ranks=True, **LEARNED)
    join(cfg, rank, rendezvous)
    trainer = make_trainer(cfg)
    run(trainer, 6, update_freq=2)
    pruner = trainer.task.pruner
    report = {
        "mask": pruner.mask.state_dict(),
        "initial": pruner.initial_mask.state_dict(),
        "scores": pruner.subnetwork.scores,
        "weights": dict(trainer.get_model().named_parameters()),
    }
    torch.save(report, Path(folder) / f"rank{rank}.pt")


@pytest.mark.slow
def test_two_ranks_learn_one_mask(corpus, encoder, tmp_path):
    two_ranks(learn_rank, tmp_path, corpus, encoder)
    first, second = (
        torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)
    )
    masks = [Mask.from_state_dict(report["mask"]) for report in (first, second)]
    assert masks[0] == masks[1] and masks[0].digest() == masks[1].digest()
    assert masks[0] != Mask.from_state_dict(first["initial"])
    for kind in ("scores", "weights"):
        for name, value in first[kind].items():
            assert torch.equal(value, second[kind][name]), name


def prune_apart(rank, rendezvous, folder):
    """Two ranks whose weights have come apart."""
    import conftest  # noqa: F401

    from parp_fairseq.pruning import random_mask
    from parp_fairseq.pruning.agreement import require_agreement

    distributed.init_process_group("gloo", init_method=rendezvous, world_size=2, rank=rank)
    shapes = {"w": torch.zeros(100)}
    require_agreement(random_mask(shapes, 0.5, seed=1), torch.device("cpu"))
    try:
        require_agreement(random_mask(shapes, 0.5, seed=rank), torch.device("cpu"))
    except RuntimeError as error:
        (Path(folder) / f"rank{rank}.txt").write_text(str(error))


def test_a_mismatch_names_the_ranks(tmp_path):
    two_ranks(prune_apart, tmp_path)
    for rank in range(2):
        assert "ranks [0] against ranks [1]" in (tmp_path / f"rank{rank}.txt").read_text()


def load_on_one_rank(rank, rendezvous, folder, data, encoder):
    import conftest  # noqa: F401

    cfg = training_config(data, encoder, folder)
    join(cfg, rank, rendezvous)
    try:
        make_trainer(cfg)
    except ValueError as error:
        (Path(folder) / f"rank{rank}.txt").write_text(str(error))


def test_several_ranks_must_all_load_the_checkpoint(corpus, encoder, tmp_path):
    two_ranks(load_on_one_rank, tmp_path, corpus, encoder)
    for rank in range(2):
        message = (tmp_path / f"rank{rank}.txt").read_text()
        assert "needs checkpoint.load_checkpoint_on_all_dp_ranks=true" in message


def run_out_of_memory(rank, rendezvous, folder, data, encoder, when):
    """Rank 1 has no memory for one of its prunes."""
    import conftest  # noqa: F401
    from test_training import run

    cfg = training_config(data, encoder, folder, load_checkpoint_on_all_dp_ranks=True, **CERTAIN)
    cfg.task.prune_interval = 2
    join(cfg, rank, rendezvous)
    trainer = make_trainer(cfg)
    pruner = trainer.task.pruner

    def fail(*args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    if rank == 1:
        setattr(pruner, when, fail)
    try:
        run(trainer, 5)
    except RuntimeError as error:
        message = f"{error} at update {trainer.get_num_updates()}"
        (Path(folder) / f"{when}{rank}.txt").write_text(message)


@pytest.mark.parametrize(
    "when, other_rank, failing_rank",
    [
        ("start", "rank 1 stopped the run: CUDA no memory left", "no memory left"),
        (
            "prune",
            "pruning failed on ranks [1]: the run stops on all ranks at update 1",
            "this one has no memory left at update 1",
        ),
    ],
)
def test_a_rank_without_memory_to_prune_stops_all(
    corpus, encoder, tmp_path, when, other_rank, failing_rank
):
    two_ranks(run_out_of_memory, tmp_path, corpus, encoder, when)
    alone, failed = ((tmp_path / f"{when}{rank}.txt").read_text() for rank in range(2))
    assert alone.startswith(other_rank)
    assert failing_rank in failed
    assert "out of memory" not in failed  # fairseq would go on with the next batch


def begin_with_own_folders(rank, rendezvous, folder, data, encoder):
    """Rank 0 finds a checkpoint in its save_dir, rank 1 finds none in its own."""
    import conftest  # noqa: F401
    from fairseq import checkpoint_utils
    from test_training import run

    cfg = training_config(
        data, encoder, Path(folder) / f"own{rank}", load_checkpoint_on_all_dp_ranks=True, **CERTAIN
    )
    join(cfg, rank, rendezvous)
    trainer = make_trainer(cfg)
    checkpoint_utils.load_checkpoint(cfg.checkpoint, trainer)
    try:
        run(trainer, 1)
    except ValueError as error:
        (Path(folder) / f"rank{rank}.txt").write_text(str(error))


@pytest.mark.slow
def test_a_checkpoint_that_one_rank_does_not_see_stops_all(corpus, encoder, tmp_path):
    cfg = training_config(corpus, encoder, tmp_path / "own0", **{**CERTAIN, "max_update": 2})
    finetune(cfg)
    two_ranks(begin_with_own_folders, tmp_path, corpus, encoder)
    for rank in range(2):
        message = (tmp_path / f"rank{rank}.txt").read_text()
        assert "rank 0: update 2, resumed" in message
        assert "rank 1: update 0, begun anew" in message
        assert "checkpoint.save_dir must be a folder that all nodes share" in message


def refuse_on_one(rank, rendezvous, folder):
    import conftest  # noqa: F401

    from parp_fairseq.tasks.refusals import Refusal, refusals

    distributed.init_process_group("gloo", init_method=rendezvous, world_size=2, rank=rank)
    try:
        with refusals():
            if rank == 1:
                raise ValueError("task.data is bad here")
    except Refusal as error:
        (Path(folder) / f"rank{rank}.txt").write_text(str(error))


def test_a_refusal_on_one_rank_stops_all(tmp_path):
    two_ranks(refuse_on_one, tmp_path)
    messages = [(tmp_path / f"rank{rank}.txt").read_text() for rank in range(2)]
    assert messages == ["rank 1 stopped the run: task.data is bad here", "task.data is bad here"]
