"""Criteria and rules that measure, held to plain loops around the stock fairseq trainer."""

import math

import pytest
import torch
import torch.nn.functional as F
from fairseq_runs import PRECISIONS, finetune, make_trainer, stop_at, training_config
from test_checkpoints import assert_same
from test_criteria import lowest_by_sorting
from test_data_parallel import join, two_ranks
from test_training import OURS, STOCK, updates, weights
from torch import distributed

from parp_fairseq.pruning import Mask, prunable_parameters

UPDATES, INTERVAL, SPARSITY = 20, 4, 0.4
BF16 = PRECISIONS[1]
# Clipping that bites, micro-batches that are summed, and layers that are dropped.
SETTINGS = dict(
    clip_norm=0.5, update_freq="[2]", layerdrop=0.2, lr="[0.003]", prune_interval=INTERVAL,
    sparsity=SPARSITY, max_update=UPDATES,
)  # fmt: skip
CHOICES = {
    "wanda": dict(prune_criterion="wanda"),
    # Layer by layer: the gradients of this random encoder's queries and keys are tiny.
    "taylor": dict(prune_criterion="taylor", prune_pattern="layerwise"),
    "movement": dict(prune_criterion="movement"),
    "fisher": dict(prune_criterion="fisher", prune_pattern="layerwise"),
    "rigl": dict(prune_rule="rigl"),
}


class Recorder:
    """What a stock trainer's optimizer and linear layers are given, without our code."""

    def __init__(self, trainer, monkeypatch):
        self.params = prunable_parameters(trainer.get_model())
        self.optimizer, self.padding = trainer.optimizer, None
        self.inputs, self.gradients = {}, {}
        self.counts, self.mask, self.hides = True, None, False
        names = {id(p): name for name, p in self.params.items()}
        linear, step, train_step = F.linear, trainer.optimizer.step, trainer.task.train_step

        def recorded_linear(x, weight, bias=None):
            if id(weight) in names and self.counts:
                self.see(names[id(weight)], x.detach())
            return linear(x, weight, bias)

        def recorded_step(*args, **kwargs):
            self.before = {name: w.clone() for name, w in self.masters().items()}
            self.gradients = self.read_gradients()
            if self.mask is not None:
                for name, copy in self.trained().items():
                    if copy.grad is not None:
                        copy.grad *= self.mask[name]
            step(*args, **kwargs)

        def recorded_train_step(sample, *args, ignore_grad=False, **kwargs):
            self.counts = not ignore_grad
            try:
                return train_step(sample, *args, ignore_grad=ignore_grad, **kwargs)
            finally:
                self.counts = False
                if self.mask is not None and self.hides:
                    for name, param in self.params.items():
                        if param.grad is not None:
                            param.grad *= self.mask[name]

        monkeypatch.setattr(F, "linear", recorded_linear)
        trainer.optimizer.step, trainer.task.train_step = recorded_step, recorded_train_step
        for layer in trainer.get_model().w2v_encoder.w2v_model.encoder.layers:
            layer.register_forward_pre_hook(self.note_padding, with_kwargs=True)

    def note_padding(self, layer, args, kwargs):
        self.padding = kwargs["self_attn_padding_mask"]

    def see(self, name, x):
        frames = x.float().reshape(-1, x.shape[-1])
        if self.padding is not None:
            frames = frames[~self.padding.t().reshape(-1)]
        sums, count = self.inputs.get(name, (0, 0))
        self.inputs[name] = sums + frames.double().square().sum(0), count + len(frames)

    def norm(self, name):
        if name.endswith("bias"):
            return torch.ones(())
        sums, count = self.inputs[name]
        joined = torch.cat([sums, torch.tensor([count])])
        if distributed.is_initialized():
            distributed.all_reduce(joined)
        return (joined[:-1] / joined[-1]).sqrt().float()

    def trained(self):
        """What the optimizer trains: float32 copies, where there are any."""
        if not hasattr(self.optimizer, "fp32_params"):
            return self.params
        copies = dict(zip(map(id, self.optimizer.fp16_params), self.optimizer.fp32_params))
        return {name: copies[id(p)] for name, p in self.params.items()}

    def masters(self):
        return {name: copy.data for name, copy in self.trained().items()}

    def read_gradients(self):
        factor = 1
        if hasattr(self.optimizer, "fp32_params"):
            self.optimizer._sync_fp16_grads_to_fp32()
            factor = self.optimizer._multiply_factor
        grads = {name: copy.grad for name, copy in self.trained().items()}
        found = {name: None if g is None else g * factor for name, g in grads.items()}
        layers = {n.rpartition(".")[0] for n, g in found.items() if g is not None and g.any()}
        return {n: g for n, g in found.items() if n.rpartition(".")[0] in layers}

    def zero(self, mask):
        for tensors in (self.masters(), {n: p.data for n, p in self.params.items()}):
            for name, tensor in tensors.items():
                tensor[~mask[name]] = 0


class Reference:
    """Each criterion in a line; the state is what the line needs."""

    def __init__(self, choice, recorder):
        self.choice, self.at, self.kept = choice, recorder, {}

    def measure(self):
        at, kept = self.at, self.kept
        for name, gradient in at.gradients.items():
            product = at.before[name] * gradient
            if self.choice == "taylor":
                kept[name] = product.abs()
            elif self.choice == "movement":
                kept[name] = kept.get(name, 0) - product
            elif self.choice == "fisher":
                kept[name] = kept.get(name, 0) + product**2

    def ready(self):
        if self.choice == "rigl":
            return True
        known = self.at.inputs if self.choice == "wanda" else self.kept
        return all(name in known for name in self.at.params if name.endswith("weight"))

    def mask(self):
        now = self.at.masters()
        scores = self.kept
        if self.choice == "wanda":
            scores = {name: w.abs() * self.at.norm(name) for name, w in now.items()}
        scores = {name: scores[name] for name in now}
        if "prune_pattern" in CHOICES[self.choice]:
            masks = {n: lowest_by_sorting({n: s}, share_of(s)) for n, s in scores.items()}
            return Mask({name: mask[name] for name, mask in masks.items()})
        return lowest_by_sorting(scores, share_of(*now.values()))


class RiglReference(Reference):
    """Drop the smallest, grow by gradient, in two sorts of one long vector."""

    def __init__(self, choice, recorder):
        super().__init__(choice, recorder)
        self.current = self.first()

    def first(self):
        now = {name: w.abs() for name, w in self.at.masters().items()}
        mask = lowest_by_sorting(now, share_of(*now.values()))
        self.at.zero(mask)
        return mask

    def renew(self, update):
        now, gradients = self.at.masters(), self.at.gradients
        share = 0.15 * (1 + math.cos(math.pi * min(update / UPDATES / 0.75, 1)))
        names = list(now)
        magnitudes = torch.cat([now[n].abs().view(-1) for n in names]).double()
        kept = torch.cat([self.current[n].view(-1) for n in names])
        assert not magnitudes[~kept].any()  # what is pruned stays zero
        total = len(kept)
        stay = round((1 - (1 - SPARSITY) * (1 - share)) * total)
        survives = torch.ones(total, dtype=torch.bool)
        survives[magnitudes.argsort(stable=True)[:stay]] = False
        grows = torch.cat(
            [(gradients[n] if n in gradients else now[n]).abs().view(-1) for n in names]
        ).double()
        grows[survives] = math.inf
        chosen = torch.ones(total, dtype=torch.bool)
        chosen[grows.argsort(stable=True)[: round(SPARSITY * total)]] = False
        parts = chosen.split([now[n].numel() for n in names])
        self.current = Mask({n: p.view(now[n].shape) for n, p in zip(names, parts)})
        return self.current


def share_of(*tensors):
    return round(SPARSITY * sum(tensor.numel() for tensor in tensors))


def follow(choice, stock, count, monkeypatch):
    """Train a stock model under a mask that is renewed; returns the mask after each update."""
    recorder = Recorder(stock, monkeypatch)
    reference = (RiglReference if choice == "rigl" else Reference)(choice, recorder)
    masks, mask = [], reference.current if choice == "rigl" else None
    if choice == "rigl":
        recorder.mask, recorder.hides = mask, INTERVAL > 1
    for _ in updates(stock, count, update_freq=2):
        update = stock.get_num_updates()
        reference.measure()
        if choice == "rigl":
            recorder.zero(mask)
            mask = reference.renew(update) if update % INTERVAL == 0 else mask
            recorder.zero(mask)
            recorder.mask, recorder.hides = mask, (update + 1) % INTERVAL != 0
        elif reference.ready() and (mask is None or update % INTERVAL == 0):
            mask = reference.mask()
            recorder.zero(mask)
        masks.append(mask)
    monkeypatch.undo()
    return masks


def require_equal(choice, count, config, monkeypatch):
    """Train by the task and by the plain loop: equal masks and weights, to the bit.

    Args:
        config: makes the config of a run from options.
    """
    pruning = {key: SETTINGS[key] for key in ("sparsity", "prune_interval")}
    training = {key: value for key, value in SETTINGS.items() if key not in pruning}
    ours = make_trainer(config(**training, **pruning, **OURS, **CHOICES[choice]))
    found = [ours.task.pruner.mask for _ in updates(ours, count, update_freq=2)]
    stock = make_trainer(config(**training, **STOCK))
    expected = follow(choice, stock, count, monkeypatch)
    assert len({mask.digest() for mask in expected if mask is not None}) >= min(
        3, count // INTERVAL
    )
    for update, (mask, wanted) in enumerate(zip(found, expected), 1):
        same = mask == wanted
        assert same, f"update {update}"
    assert_same(weights(ours), weights(stock), "weights")


@pytest.mark.parametrize("choice", CHOICES)
def test_masks_equal_a_plain_loop(corpus, encoder, tmp_path, monkeypatch, choice):
    """With float32 masters, micro-batches, clipping and layers that are dropped."""

    def config(**options):
        return training_config(corpus, encoder, tmp_path, precision=BF16, **options)

    require_equal(choice, UPDATES, config, monkeypatch)


def measure_on_rank(rank, rendezvous, folder, data, encoder):
    import conftest  # noqa: F401  (registers the plugin in this process)

    def config(**options):
        options["layerdrop"] = 0  # each rank draws its own
        cfg = training_config(
            data, encoder, folder, load_checkpoint_on_all_dp_ranks=True, **options
        )
        join(cfg, rank, rendezvous)
        return cfg

    for choice in CHOICES:
        with pytest.MonkeyPatch.context() as monkeypatch:
            require_equal(choice, UPDATES, config, monkeypatch)


@pytest.mark.slow
def test_two_ranks_measure_alike(corpus, encoder, tmp_path):
    """In float32; each rank sees other batches, and the last may be empty on one of them."""
    two_ranks(measure_on_rank, tmp_path, corpus, encoder)


@pytest.mark.parametrize(
    "choice",
    [
        dict(prune_criterion="wanda", prune_rule="rigl", prune_pattern="layerwise"),
        dict(prune_criterion="movement"),
    ],
    ids=["inputs and a rule", "sums"],
)
def test_resume_is_exact(corpus, encoder, tmp_path, choice):
    """From a checkpoint between two prunes; what was measured is in it."""
    common = dict(max_update=6, prune_interval=2, **choice)
    cfg = training_config(corpus, encoder, tmp_path / "whole", save_interval_updates=3, **common)
    whole = finetune(cfg)
    stop_at(3, tmp_path / "whole", tmp_path / "resumed")
    again = finetune(training_config(corpus, encoder, tmp_path / "resumed", **common))
    assert_same(again["model"], whole["model"], "model")
    assert_same(again["model"]._metadata, whole["model"]._metadata, "metadata")
    measured = whole["model"]._metadata[""]["parp"]["pruner"]["measured"]
    assert measured["criterion"]


def test_snip_is_the_first_gradient_and_then_stays(corpus, encoder, tmp_path):
    cfg = training_config(
        corpus, encoder, tmp_path, prune_criterion="taylor", adjust="false", sparsity=0.3,
        prune_pattern="layerwise",
    )  # fmt: skip
    trainer = make_trainer(cfg)
    params = prunable_parameters(trainer.get_model())
    before = {name: param.detach().clone() for name, param in params.items()}
    step, scores = trainer.optimizer.step, {}

    def recorded_step():
        if not scores:
            scores.update({name: (before[name] * p.grad).abs() for name, p in params.items()})
        step()

    trainer.optimizer.step = recorded_step
    masks = [trainer.task.pruner.mask for _ in updates(trainer, 3)]
    expected = {n: lowest_by_sorting({n: s}, round(0.3 * s.numel()))[n] for n, s in scores.items()}
    assert all(mask == Mask(expected) for mask in masks)
    assert all(not param[~expected[name]].any() for name, param in params.items())
    assert "measured" not in trainer.task.pruner.state_dict()


def test_inputs_are_the_same_under_activation_checkpointing(corpus, encoder, tmp_path):
    """Where a layer runs twice, and its output projection is observed in the second run only."""
    masks = []
    for checkpointed in (False, True):
        cfg = training_config(
            corpus, encoder, tmp_path, prune_criterion="wanda", prune_interval=2,
            sparsity=0.3, checkpoint_activations=checkpointed, **OURS,
        )  # fmt: skip
        trainer = make_trainer(cfg)
        masks.append([trainer.task.pruner.mask for _ in updates(trainer, 2)])
    assert all(one == other for one, other in zip(*masks))


def hooks_of(model):
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())


def test_hooks_exist_only_where_inputs_are_asked_for(corpus, encoder, tmp_path):
    none, taylor, wanda = (
        make_trainer(training_config(corpus, encoder, tmp_path, prune_criterion=criterion))
        for criterion in ("magnitude", "taylor", "wanda")
    )
    assert hooks_of(none.get_model()) == hooks_of(taylor.get_model()) < hooks_of(wanda.get_model())
    assert "measured" not in none.task.pruner.state_dict()
    wanda.task.pruner.observer.stop()
    assert hooks_of(wanda.get_model()) == hooks_of(none.get_model())


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(prune_rule="rigl", max_update=0), "expected optimization.max_update above 0, found"),
        (
            dict(prune_criterion="wanda", freeze_finetune_updates=5),
            "expected model.freeze_finetune_updates=0, found 5",
        ),
        (
            dict(prune_criterion="taylor", adjust="false", prune_scope="feature_extractor"),
            "needs the gradient of feature_extractor.*model.feature_grad_mult is 0",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(corpus, encoder, tmp_path, changes, message):
    changes = {"feature_grad_mult": 0.0, **changes}
    with pytest.raises(ValueError, match=message):
        make_trainer(training_config(corpus, encoder, tmp_path, **changes))
