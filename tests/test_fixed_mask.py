"""A fixed mask holds whatever an optimizer remembers; a moving one needs weights that train."""

import logging

import pytest
import torch
from fairseq_runs import finetune, make_trainer, training_config
from test_training import run, weights

from parp_fairseq.pruning import Mask, magnitude_mask, prunable_parameters, random_mask

BF16 = {"bf16": True, "fp16_no_flatten_grads": True}
EXTRACTOR = "feature_extractor.conv_layers.0.0.weight"


@pytest.mark.parametrize("precision", [{}, BF16], ids=["float32", "bf16"])
def test_moments_of_an_earlier_run_bring_no_pruned_weight_back(
    corpus, encoder, tmp_path, precision
):
    """Adam moves a weight by its moments, although its gradient is zero."""
    common = dict(lr="[0.01]", precision=precision)
    stock = make_trainer(
        training_config(
            corpus, encoder, tmp_path, task="audio_finetuning", arch="wav2vec_ctc", **common
        )
    )
    run(stock, 2)
    trainer = make_trainer(training_config(corpus, encoder, tmp_path, adjust="false", **common))
    trainer.optimizer.load_state_dict(stock.optimizer.state_dict())
    run(trainer, 3)
    mask = trainer.task.pruner.mask
    for name, param in prunable_parameters(trainer.get_model()).items():
        assert not param[~mask[name]].any(), name
    for name, master in trainer.task.pruner.subnetwork.weights.items():
        assert not master[~mask[name]].any(), name
    params = {n: p.detach().clone() for n, p in prunable_parameters(trainer.get_model()).items()}
    saved = prunable_parameters(trainer.model.state_dict())
    assert all(torch.equal(saved[name], param) for name, param in params.items())


def test_a_moving_mask_over_frozen_parameters_is_refused(corpus, encoder, tmp_path):
    cfg = training_config(corpus, encoder, tmp_path, prune_scope="all")
    message = (
        rf"prune_scope=all covers \d+ of \d+ parameters that are not trained, such as {EXTRACTOR} "
        r"\(model.feature_grad_mult is 0\): .*task\.adjust=false"
    )
    with pytest.raises(ValueError, match=message):
        make_trainer(cfg)
    cfg = training_config(corpus, encoder, tmp_path, freeze_finetune_updates=30, max_update=30)
    with pytest.raises(ValueError, match=r"24 of 24 .*freeze_finetune_updates is 30"):
        make_trainer(cfg)


def test_a_frozen_layer_is_named(corpus, encoder, tmp_path, monkeypatch):
    from fairseq.models.wav2vec import Wav2Vec2Model

    init = Wav2Vec2Model.__init__

    def freezing(self, cfg):
        init(self, cfg)
        self.encoder.layers[1].fc2.requires_grad_(False)

    monkeypatch.setattr(Wav2Vec2Model, "__init__", freezing)
    message = r"covers 2 of 24 .*encoder\.layers\.1\.fc2\.weight \(requires_grad is False\)"
    with pytest.raises(ValueError, match=message):
        make_trainer(training_config(corpus, encoder, tmp_path))


def test_a_fixed_mask_over_frozen_parameters_is_a_warning(corpus, encoder, tmp_path, caplog):
    cfg = training_config(
        corpus, encoder, tmp_path, prune_scope="feature_extractor", adjust="false"
    )
    with caplog.at_level(logging.WARNING, "parp_fairseq"):
        trainer = make_trainer(cfg)
    assert "parameters that are not trained, such as feature_extractor" in caplog.text
    run(trainer, 2)
    params = prunable_parameters(trainer.get_model(), "feature_extractor")
    zeros = sum(int((param == 0).sum()) for param in params.values())
    assert zeros == trainer.task.pruner.mask.num_pruned > 0


@pytest.mark.parametrize("changes", [{"feature_grad_mult": 0.1}, {"sparsity": 0}], ids=str)
def test_parameters_that_train_or_are_not_pruned_are_no_error(corpus, encoder, tmp_path, changes):
    make_trainer(training_config(corpus, encoder, tmp_path, prune_scope="all", **changes))


def test_a_mask_file_is_compared_by_its_content_on_resume(corpus, encoder, tmp_path):
    params = prunable_parameters(torch.load(encoder, weights_only=True)["model"])
    first, other = random_mask(params, 0.5, seed=1), random_mask(params, 0.5, seed=2)
    here, moved = tmp_path / "mask.safetensors", tmp_path / "moved" / "renamed.safetensors"
    moved.parent.mkdir()
    first.save(here)
    common = dict(save_dir=tmp_path / "run", adjust="false", disable_validation=True)
    finetune(training_config(corpus, encoder, mask_file=here, max_update=2, **common))
    here.rename(moved)
    state = finetune(training_config(corpus, encoder, mask_file=moved, max_update=3, **common))
    saved = state["model"]._metadata[""]["parp"]["pruner"]
    assert Mask.from_state_dict(saved["mask"]) == first
    other.save(moved)
    cfg = training_config(corpus, encoder, mask_file=moved, max_update=4, **common)
    with pytest.raises(ValueError, match=r"the mask \(task\.mask_file\) is not that of the run"):
        finetune(cfg)


def test_a_checkpoint_is_masked_one_weight_at_a_time(corpus, encoder, tmp_path, monkeypatch):
    """What leaves the device is one weight and its mask, and everything saved lies on the CPU."""
    trainer = make_trainer(training_config(corpus, encoder, tmp_path, prune_interval=100))
    run(trainer, 2)
    model, moves = trainer.get_model(), []
    expected = magnitude_mask(prunable_parameters(model), 0.5)
    fill = torch.Tensor.masked_fill

    def counting(tensor, pruned, value):
        moves.append((tensor.device.type, pruned.device.type))
        return fill(tensor, pruned, value)

    monkeypatch.setattr(torch.Tensor, "masked_fill", counting)
    whole = weights(trainer)
    saved = prunable_parameters(model.state_dict())
    assert set(moves) == {("cpu", "cpu")}
    assert len(moves) == len(expected)
    assert all(torch.equal(saved[name] == 0, ~expected[name]) for name in expected)
    assert all(torch.equal(weight, whole[name]) for name, weight in weights(trainer).items())


@pytest.mark.gpu
def test_a_save_needs_little_memory_of_a_gpu(corpus, tmp_path):
    from fairseq_runs import write_encoder

    large = write_encoder(
        tmp_path / "large.pt", encoder_layers=8, encoder_embed_dim=512,
        encoder_ffn_embed_dim=2048, encoder_attention_heads=8,
    )  # fmt: skip
    trainer = make_trainer(training_config(corpus, large, tmp_path, cpu=None, prune_interval=100))
    run(trainer, 2)
    model = trainer.get_model()
    total = sum(p.numel() for p in prunable_parameters(model).values()) * 4
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    state = model.state_dict()
    assert torch.cuda.max_memory_allocated() - before < 0.5 * total
    assert all(not tensor.is_cuda for tensor in prunable_parameters(state).values())
