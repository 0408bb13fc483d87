"""Promises 1 and 5, and PARP itself, held to plain loops around the stock fairseq trainer."""

import inspect

import numpy as np
import pytest
import torch
from fairseq import options
from fairseq.data import iterators
from fairseq.data.data_utils import compute_mask_indices
from fairseq.logging import metrics
from fairseq_cli import train
from fairseq_runs import PRECISIONS, finetune, forget_last_run, make_trainer, training_config
from torch.nn.utils import prune

from parp_fairseq.pruning import Mask, Schedule, magnitude_mask, prunable_parameters, random_mask

# Where fairseq itself does not seed its masking, two stock runs differ and nothing equals them.
STOCK_MASKING_FOLLOWS_THE_SEED = "seed" not in inspect.signature(compute_mask_indices).parameters
STOCK = dict(task="audio_finetuning", arch="wav2vec_ctc", apply_mask=STOCK_MASKING_FOLLOWS_THE_SEED)
OURS = dict(apply_mask=STOCK_MASKING_FOLLOWS_THE_SEED)
PROJECTIONS = (
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.q_proj",
    "self_attn.out_proj",
    "fc1",
    "fc2",
)


def updates(trainer, count, update_freq=1):
    """Run ``count`` updates of fairseq's trainer, one yield of the loss each."""
    epoch = 0
    while True:
        epoch += 1
        iterator = trainer.get_train_iterator(epoch)
        trainer.begin_epoch(epoch)
        batches = iterator.next_epoch_itr(shuffle=True)
        for samples in iterators.GroupedIterator(batches, update_freq):
            if trainer.get_num_updates() == count:
                return
            yield trainer.train_step(samples)["loss"]


def run(trainer, count, **kwargs):
    return list(updates(trainer, count, **kwargs))


@pytest.mark.parametrize(
    "where", ["parp_fairseq.tasks.pruning_task.master_weights", "parp_fairseq.pruning.Mask.apply_"]
)
def test_a_first_prune_that_runs_out_of_memory_is_made_up_for(
    corpus, encoder, tmp_path, monkeypatch, where
):
    """fairseq leaves out the batch, and goes on with the next."""

    def short_of_memory(*_):
        raise RuntimeError("CUDA out of memory")

    trainer = make_trainer(training_config(corpus, encoder, tmp_path, adjust="false"))
    params = prunable_parameters(trainer.get_model())
    expected = magnitude_mask(params, 0.5)
    batches = trainer.get_train_iterator(1).next_epoch_itr()
    trainer.begin_epoch(1)
    with monkeypatch.context() as during:
        during.setattr(where, short_of_memory)
        assert trainer.train_step([next(batches)]) is None
    trainer.train_step([next(batches)])
    assert trainer.get_num_updates() == 1
    assert trainer.task.pruner.mask == expected
    assert all(not param[~expected[name]].any() for name, param in params.items())


def pruned_modules(model):
    """(module, parameter name) of what PARP prunes, in the model's order, without our code."""
    return [
        (module, parameter)
        for name, module in model.named_modules()
        if ".layers." in name and name.endswith(PROJECTIONS)
        for parameter in ("weight", "bias")
    ]


def plain_parp_step(model, sparsity):
    """Prune by magnitude with torch's own tool, and let the weights go on from there."""
    modules = pruned_modules(model)
    prune.global_unstructured(modules, prune.L1Unstructured, amount=sparsity)
    for module, parameter in modules:
        prune.remove(module, parameter)


def same_bits(ours, reference):
    """Equal weights by name; torch's pruning writes -0.0 where ours writes 0.0."""
    assert ours.keys() == reference.keys()
    different = [name for name in ours if not torch.equal(ours[name], reference[name])]
    assert not different


def weights(trainer):
    return {name: param.detach().clone() for name, param in trainer.get_model().named_parameters()}


@pytest.mark.parametrize("update_freq", [1, 2])
def test_parp_equals_a_plain_loop(corpus, encoder, tmp_path, update_freq):
    options = dict(clip_norm=1.0, layerdrop=0.2, dropout=0.1, update_freq=f"[{update_freq}]")
    ours = make_trainer(
        training_config(
            corpus, encoder, tmp_path, sparsity=0.4, prune_interval=7, **OURS, **options
        )
    )
    our_losses = run(ours, 30, update_freq=update_freq)

    stock = make_trainer(training_config(corpus, encoder, tmp_path, **STOCK, **options))
    plain_parp_step(stock.get_model(), 0.4)
    losses = []
    for loss in updates(stock, 30, update_freq=update_freq):
        losses.append(loss)
        if len(losses) % 7 == 0:
            plain_parp_step(stock.get_model(), 0.4)

    assert our_losses == losses
    same_bits(weights(ours), weights(stock))


def test_parp_p_equals_a_plain_loop(corpus, encoder, tmp_path):
    ours = make_trainer(
        training_config(
            corpus, encoder, tmp_path, sparsity=0.6, initial_sparsity=0.2, ramp_updates=20,
            prune_interval=5, **OURS,
        )
    )  # fmt: skip
    run(ours, 30)

    stock = make_trainer(training_config(corpus, encoder, tmp_path, **STOCK))
    plain_parp_step(stock.get_model(), 0.2)
    for _ in updates(stock, 30):
        done = stock.get_num_updates()
        if done % 5 == 0:
            plain_parp_step(stock.get_model(), 0.2 + 0.4 * min(1, done / 20))
    same_bits(weights(ours), weights(stock))


@pytest.mark.parametrize("criterion", ["magnitude", "random"])
def test_a_fixed_mask_equals_custom_from_mask(corpus, encoder, tmp_path, criterion):
    ours = make_trainer(
        training_config(
            corpus,
            encoder,
            tmp_path,
            sparsity=0.5,
            adjust="false",
            prune_criterion=criterion,
            **OURS,
        )
    )
    our_losses = run(ours, 30)

    stock = make_trainer(training_config(corpus, encoder, tmp_path, **STOCK))
    model = stock.get_model()
    params = prunable_parameters(model)
    mask = (
        magnitude_mask(params, 0.5)
        if criterion == "magnitude"
        else random_mask(params, 0.5, seed=7)
    )
    by_parameter = {id(param): mask[name] for name, param in params.items()}
    modules = pruned_modules(model)
    for module, parameter in modules:
        prune.custom_from_mask(module, parameter, by_parameter[id(getattr(module, parameter))])

    def compute_masked_weights(*_):
        # Attention reads the weights of its projections without calling them, past torch's hook.
        for module, _ in modules:
            for hook in module._forward_pre_hooks.values():
                hook(module, None)

    model.register_forward_pre_hook(compute_masked_weights)
    losses = run(stock, 30)
    compute_masked_weights()
    for module, parameter in modules:
        prune.remove(module, parameter)

    assert our_losses == losses
    same_bits(weights(ours), weights(stock))


def test_clipping_ignores_the_gradients_of_a_fixed_mask(corpus, encoder, tmp_path):
    cfg = training_config(
        corpus,
        encoder,
        tmp_path,
        sparsity=0.9,
        adjust="false",
        optimizer="sgd",
        clip_norm=1e-4,
        lr="[1]",
    )
    trainer = make_trainer(cfg)
    run(trainer, 1)
    before = weights(trainer)
    run(trainer, 2)
    # Plain gradient descent with learning rate 1 moves the weights by the clipped gradient.
    step = torch.stack([(after - before[name]).norm() for name, after in weights(trainer).items()])
    assert step.norm().item() == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
def test_sparsity_0_is_stock_fairseq(corpus, encoder, tmp_path, precision):
    common = dict(max_update=12, dropout=0.1, layerdrop=0.2, clip_norm=1.0, precision=precision)
    ours = finetune(
        training_config(corpus, encoder, tmp_path / "ours", sparsity=0, **OURS, **common)
    )
    stock = finetune(training_config(corpus, encoder, tmp_path / "stock", **STOCK, **common))
    same_bits(ours["model"], stock["model"])
    our_moments = ours["last_optimizer_state"]["state"]
    for index, moments in stock["last_optimizer_state"]["state"].items():
        assert torch.equal(our_moments[index]["exp_avg_sq"], moments["exp_avg_sq"])


def test_masking_follows_the_seed(corpus, encoder, tmp_path):
    def trained(seed):
        cfg = training_config(
            corpus, encoder, tmp_path, seed=seed, mask_channel_prob=0.3, mask_channel_length=4
        )
        trainer = make_trainer(cfg)
        run(trainer, 3)
        return weights(trainer)

    first = trained(seed=1)
    same_bits(first, trained(seed=1))
    other = trained(seed=2)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    "method",
    [
        {},
        {"initial_sparsity": 0.1, "ramp_updates": 30},
        {"prune_pattern": "layerwise"},
        {"prune_scope": "all", "feature_grad_mult": 1.0},
        {"adjust": "false"},
    ],
    ids=["parp", "parp_p", "layerwise", "all", "fixed"],
)
def test_eval_is_the_subnetwork_and_train_brings_everything_back(corpus, encoder, tmp_path, method):
    cfg = training_config(corpus, encoder, tmp_path, sparsity=0.37, prune_interval=4, **method)
    trainer = make_trainer(cfg)
    run(trainer, 6)  # between two re-prunes
    model = trainer.get_model()
    whole = weights(trainer)
    params = prunable_parameters(model, method.get("prune_scope", "transformer"))
    total = sum(param.numel() for param in params.values())
    pattern = method.get("prune_pattern", "global")
    if "adjust" not in method:
        expected = magnitude_mask(params, 0.37, pattern)
        # Zeroed weights have moved on since the last prune.
        assert sum(int(param.eq(0).sum()) for param in params.values()) < 0.1 * total
    else:
        expected = trainer.task.pruner.mask

    model.eval()
    for name, param in params.items():
        assert torch.equal(param == 0, ~expected[name]), name
    pruned = sum(int(param.eq(0).sum()) for param in params.values())
    if pattern == "global":
        assert pruned == round(0.37 * total)
    model.eval()  # a second time must not take the subnetwork for the whole
    model.train()
    same_bits(weights(trainer), whole)


def test_validation_sees_the_subnetwork(corpus, encoder, tmp_path, monkeypatch):
    cfg = training_config(
        corpus, encoder, tmp_path, sparsity=0.5, prune_interval=4, max_update=6,
        disable_validation=False,
    )  # fmt: skip
    zeros = []
    from parp_fairseq.models.parp_wav2vec_ctc import ParpWav2VecCtc

    forward = ParpWav2VecCtc.forward

    def counting(self, **kwargs):
        if not self.training:
            zeros.append(sum(int((p == 0).sum()) for p in prunable_parameters(self).values()))
        return forward(self, **kwargs)

    monkeypatch.setattr(ParpWav2VecCtc, "forward", counting)
    checkpoint = finetune(cfg)
    total = sum(p.numel() for p in prunable_parameters(checkpoint["model"]).values())
    assert zeros
    assert set(zeros) == {round(0.5 * total)}


def test_epochs_between_prunes(corpus, encoder, tmp_path):
    cfg = training_config(corpus, encoder, tmp_path, sparsity=0.5, prune_interval_epochs=2)
    trainer = make_trainer(cfg)
    pruned_at = []
    pruner = trainer.task.pruner
    zero = pruner._zero
    pruner._zero = lambda mask: (
        pruned_at.append((trainer.task.epoch, trainer.get_num_updates())),
        zero(mask),
    )
    run(trainer, 60)
    epochs = [epoch for epoch, _ in pruned_at]
    assert epochs == list(range(1, epochs[-1] + 1, 2))
    assert len(epochs) > 2


def test_the_log_tells_of_each_prune_and_of_the_end(corpus, encoder, tmp_path, caplog):
    caplog.set_level("INFO", logger="parp_fairseq")
    cfg = training_config(
        corpus, encoder, tmp_path, sparsity=0.6, initial_sparsity=0.2, ramp_updates=8,
        prune_interval=4, max_update=10,
    )  # fmt: skip
    trainer = make_trainer(cfg)
    run(trainer, 10)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("prun")]
    assert [line.partition("at update ")[2].partition(":")[0] for line in lines] == [
        "0", "4", "8", "10",
    ]  # fmt: skip
    assert "target sparsity 0.4000, sparsity 0.4000" in lines[1]
    assert "2 re-prunes took" in lines[3]
    meters = metrics.get_meters("train")
    assert meters["sparsity"].avg == pytest.approx(trainer.task.pruner.mask.sparsity)
    assert 0 < meters["mask_iou"].avg < 1
    assert meters["prune_seconds"].avg == trainer.task.training.log.seconds[-1]


def test_schedules():
    linear = Schedule(0.8, initial_sparsity=0.2, ramp_updates=100, interval=10)
    cubic = Schedule(0.8, initial_sparsity=0.2, ramp="cubic", ramp_updates=100, interval=10)
    assert [linear.sparsity_at(u) for u in (0, 50, 100, 900)] == pytest.approx([0.2, 0.5, 0.8, 0.8])
    assert cubic.sparsity_at(50) == pytest.approx(0.8 - 0.6 * 0.5**3)
    assert linear.sparsity_at(100) == cubic.sparsity_at(100) == 0.8
    assert [u for u in range(1, 31) if linear.due_after_update(u)] == [10, 20, 30]


@pytest.mark.parametrize("counts", [{"interval": 10}, {"epochs": 3}], ids=str)
def test_a_ramp_ends_with_a_prune(counts):
    """What follows trains at the target, also where the interval does not divide the ramp."""
    schedule = Schedule(0.8, initial_sparsity=0.2, ramp_updates=25, **counts)
    due = [update for update in range(1, 36) if schedule.due_after_update(update)]
    assert due == ([10, 20, 25, 30] if "interval" in counts else [25])
    assert not Schedule(0.8, ramp_updates=25, epochs=3).due_after_update(25)


def test_by_default_the_second_half_trains_at_the_target(corpus, encoder, tmp_path):
    cfg = training_config(
        corpus, encoder, tmp_path, initial_sparsity=0.1, prune_interval=3, max_update=9
    )
    trainer = make_trainer(cfg)
    pruner, pruned_to = trainer.task.pruner, {}
    zero = pruner._zero
    pruner._zero = lambda mask: (
        pruned_to.update({trainer.get_num_updates(): mask.sparsity}),
        zero(mask),
    )
    run(trainer, 9)
    targets = {0: 0.1, 3 - 1: 0.1 + 0.4 * 3 / 5, 5 - 1: 0.5, 6 - 1: 0.5, 9 - 1: 0.5}
    assert pruned_to == pytest.approx(targets, abs=1e-3)


def test_a_ramp_that_outlasts_the_run_is_refused(corpus, encoder, tmp_path):
    message = (
        r"task\.ramp_updates is 31: expected at most optimization\.max_update, which is 30, or the "
        r"run ends before it reaches sparsity 0\.5"
    )
    with pytest.raises(ValueError, match=message):
        make_trainer(
            training_config(corpus, encoder, tmp_path, initial_sparsity=0.1, ramp_updates=31)
        )
    make_trainer(training_config(corpus, encoder, tmp_path, initial_sparsity=0.1, ramp_updates=30))


def test_a_run_that_ends_early_says_what_it_did(corpus, encoder, tmp_path, caplog):
    """It stops for patience (or for time) in the middle of its ramp."""
    forget_last_run()
    cfg = training_config(
        corpus, encoder, tmp_path, initial_sparsity=0.1, prune_interval=2, lr="[1e-9]", patience=1,
        disable_validation=None, validate_interval_updates=3, save_interval_updates=3,
    )  # fmt: skip
    with caplog.at_level("INFO", "parp_fairseq"):
        train.main(cfg)
    said = [r.getMessage() for r in caplog.records if r.name.endswith("prune_log")]
    assert said[-2].startswith("pruning until update 6: 3 re-prunes took")
    assert said[-1] == (
        "the checkpoint of update 6 is pruned to sparsity 0.5000, at which the network has not "
        "been trained yet: the last prune was to 0.2600, and the sparsity grows until update 15"
    )


def test_a_mask_file_of_another_sparsity_is_refused(corpus, encoder, tmp_path):
    params = prunable_parameters(torch.load(encoder, weights_only=True)["model"])
    magnitude_mask(params, 0.3).save(tmp_path / "mask.safetensors")
    with pytest.raises(ValueError, match=r"the mask's own sparsity is 0\.3"):
        make_trainer(
            training_config(corpus, encoder, tmp_path, mask_file=tmp_path / "mask.safetensors")
        )


@pytest.mark.parametrize("adjust", ["true", "false"])
def test_training_starts_from_the_mask_file(corpus, encoder, tmp_path, adjust):
    params = prunable_parameters(torch.load(encoder, weights_only=True)["model"])
    mask = random_mask(params, 0.5, seed=99)
    authors = {f"w2v_encoder.w2v_model.{name}_mask": keep.float() for name, keep in mask.items()}
    mask.save(tmp_path / "ours.safetensors")
    torch.save(authors, tmp_path / "authors.pt")

    def trained(file):
        cfg = training_config(
            corpus, encoder, tmp_path, mask_file=tmp_path / file, adjust=adjust, prune_interval=100
        )
        trainer = make_trainer(cfg)
        run(trainer, 5)
        assert trainer.task.pruner.mask == mask
        return weights(trainer)

    same_bits(trained("ours.safetensors"), trained("authors.pt"))


def test_argparse_flags_say_what_they_mean():
    arguments = ["data", "--task", "parp", "--arch", "parp_wav2vec_ctc", "--labels", "ltr"]

    def parse(*more):
        return options.parse_args_and_arch(options.get_training_parser(), [*arguments, *more])

    assert (parse().adjust, parse().prune_bias) == (True, True)
    assert parse("--adjust", "false").adjust is False
    assert parse("--adjust", "true", "--prune-bias", "False").prune_bias is False
    with pytest.raises(SystemExit):
        parse("--adjust", "perhaps")


def test_numpy_and_torch_agree_on_the_mask():
    """A reference without torch: sort the magnitudes with NumPy."""
    weights = {"a": torch.randn(40, 3), "b": torch.randn(17)}
    joined = np.concatenate([w.numpy().ravel() for w in weights.values()])
    keep = np.ones(joined.size, bool)
    keep[np.argsort(np.abs(joined), kind="stable")[: round(0.45 * joined.size)]] = False
    reference = Mask(
        {"a": torch.from_numpy(keep[:120]).view(40, 3), "b": torch.from_numpy(keep[120:])}
    )
    assert magnitude_mask(weights, 0.45) == reference
