"""model.freeze_share: the encoder stays as it was pre-trained for that share of the updates."""

import pytest
import torch
from fairseq_runs import finetune, load, make_trainer, training_config


def weights_of(state: dict, prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in state["model"].items() if k.startswith(prefix)}


@pytest.mark.parametrize("max_update, moves", [(4, True), (2, False)])
def test_the_encoder_moves_after_its_share_of_the_updates(
    corpus, encoder, tmp_path, max_update, moves
) -> None:
    # Half of four updates is frozen, then all of two.
    share = 0.5 if max_update == 4 else 1.0
    cfg = training_config(
        corpus, encoder, tmp_path, max_update=max_update, sparsity=0.0, freeze_share=share
    )
    trained = weights_of(finetune(cfg), "w2v_encoder.w2v_model.")
    before = load(encoder)["model"]
    same = [torch.equal(before[name], trained[name]) for name in trained if "fc1" in name]
    assert len(same) == 4
    assert all(same) is not moves and any(same) is not moves


def test_it_is_freeze_finetune_updates_by_another_measure(corpus, encoder, tmp_path) -> None:
    runs = [
        finetune(training_config(corpus, encoder, tmp_path / name, max_update=4, **frozen))
        for name, frozen in (
            ("share", {"freeze_share": 0.5}),
            ("updates", {"freeze_finetune_updates": 2}),
        )
    ]
    ours, stock = (weights_of(run, "") for run in runs)
    assert ours.keys() == stock.keys()
    assert all(torch.equal(ours[name], stock[name]) for name in stock)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_out_of_range_is_refused(corpus, encoder, tmp_path, share) -> None:
    cfg = training_config(corpus, encoder, tmp_path, freeze_share=f"{share}")
    with pytest.raises(ValueError, match=rf"model.freeze_share is {share}, expected a share"):
        make_trainer(cfg)
