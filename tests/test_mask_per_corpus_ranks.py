"""task.mask_per_corpus on two ranks, which take the batches of an update from one corpus."""

from pathlib import Path

import pytest
import torch
from fairseq_runs import make_trainer
from test_data_parallel import join, two_ranks
from test_mask_per_corpus import CORPORA, batches, config, data  # noqa: F401  (a fixture)

from parp_fairseq.pruning import Mask

UPDATES = 12
CERTAIN = dict(
    sparsity=0.5,
    prune_pattern="layerwise",
    prune_interval=3,
    prune_criterion="taylor",
    lr="[0.001]",
    max_update=UPDATES,
)


def trained(cfg, update_freq):
    """The corpus of each update, the masks and the weights after ``UPDATES`` updates."""
    trainer = make_trainer(cfg)
    turns = []
    for samples in batches(trainer, UPDATES, update_freq):
        trainer.train_step(samples)
        turns.append([sample["corpus"] for sample in samples])
    pruners = trainer.task.pruner.pruners
    return {
        "turns": turns,
        "masks": {corpus: pruner.mask.state_dict() for corpus, pruner in pruners.items()},
        "weights": dict(trainer.get_model().named_parameters()),
    }


def train_rank(rank, rendezvous, folder, data, encoder):  # noqa: F811
    import conftest  # noqa: F401  (registers the plugin in this process)

    cfg = config(
        data, encoder, folder, load_checkpoint_on_all_dp_ranks=True, update_freq="[2]", **CERTAIN
    )
    join(cfg, rank, rendezvous)
    torch.save(trained(cfg, 2), Path(folder) / f"rank{rank}.pt")


@pytest.mark.slow
def test_two_ranks_agree_and_equal_one_with_twice_update_freq(data, encoder, tmp_path):  # noqa: F811
    two_ranks(train_rank, tmp_path, data, encoder)
    first, second = (
        torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)
    )
    alone = trained(config(data, encoder, tmp_path, update_freq="[4]", **CERTAIN), 4)

    # An update is of one corpus, the same on both ranks, and both have their turn.
    assert first["turns"] == second["turns"]
    assert [turn[0] for turn in first["turns"]] == [turn[0] for turn in alone["turns"]]
    assert all(len(set(turn)) == 1 for turn in first["turns"])
    assert {turn[0] for turn in first["turns"]} == set(CORPORA)

    masks = {
        name: {corpus: Mask.from_state_dict(state) for corpus, state in of["masks"].items()}
        for name, of in (("first", first), ("second", second), ("alone", alone))
    }
    assert masks["first"] == masks["second"]
    assert masks["first"]["es"] != masks["first"]["fr"]
    for corpus in CORPORA:
        assert masks["first"][corpus].iou(masks["alone"][corpus]) > 0.99
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name]), name
        # Gradients are summed in another order.
        torch.testing.assert_close(weight, alone["weights"][name].data, rtol=0, atol=1e-3)
