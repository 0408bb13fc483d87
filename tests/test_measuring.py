"""Criteria and rules that measure, held to plain loops around the stock fairseq trainer."""

import math

import pytest
import torch
import torch.nn.functional as F
from fairseq_runs import PRECISIONS, make_trainer, training_config
from test_checkpoints import assert_same
from test_criteria import lowest_by_sorting
from test_training import OURS, STOCK, updates, weights

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
    "taylor": dict(prune_criterion="taylor"),
    "movement": dict(prune_criterion="movement"),
    "fisher": dict(prune_criterion="fisher"),
    "rigl": dict(prune_rule="rigl"),
}


class Recorder:
    """What a stock trainer's optimizer and linear layers are given, without our code."""

    def __init__(self, trainer, monkeypatch):
        self.params = prunable_parameters(trainer.get_model())
        self.optimizer, self.padding = trainer.optimizer, None
        self.inputs, self.seen, self.gradients = {}, {}, {}
        names = {id(p): name for name, p in self.params.items()}
        linear, step = F.linear, trainer.optimizer.step

        def recorded_linear(x, weight, bias=None):
            if id(weight) in names and torch.is_grad_enabled():
                self.see(names[id(weight)], x.detach())
            return linear(x, weight, bias)

        def recorded_step(*args, **kwargs):
            self.before = {name: w.clone() for name, w in self.masters().items()}
            self.gradients = self.read_gradients()
            step(*args, **kwargs)

        monkeypatch.setattr(F, "linear", recorded_linear)
        trainer.optimizer.step = recorded_step
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
        return (sums / count).sqrt().float()

    def masters(self):
        """The weights of the optimizer: float32 copies, where there are any."""
        if not hasattr(self.optimizer, "fp32_params"):
            return {name: p.data for name, p in self.params.items()}
        copies = dict(zip(map(id, self.optimizer.fp16_params), self.optimizer.fp32_params))
        return {name: copies[id(p)].data for name, p in self.params.items()}

    def read_gradients(self):
        if not hasattr(self.optimizer, "fp32_params"):
            found = {name: p.grad for name, p in self.params.items()}
        else:
            self.optimizer._sync_fp16_grads_to_fp32()
            copies = dict(zip(map(id, self.optimizer.fp16_params), self.optimizer.fp32_params))
            factor = self.optimizer._multiply_factor
            found = {name: copies[id(p)].grad * factor for name, p in self.params.items()}
        layers = {n.rpartition(".")[0] for n, g in found.items() if g is not None and g.any()}
        return {n: g.clone() for n, g in found.items() if n.rpartition(".")[0] in layers}

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
        return lowest_by_sorting(scores, round(SPARSITY * sum(w.numel() for w in now.values())))


class RiglReference(Reference):
    """Drop the smallest, grow by gradient, in two sorts of one long vector."""

    def __init__(self, choice, recorder):
        super().__init__(choice, recorder)
        self.current = self.first()

    def first(self):
        now = {name: w.abs() for name, w in self.at.masters().items()}
        mask = lowest_by_sorting(now, round(SPARSITY * sum(w.numel() for w in now.values())))
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


def follow(choice, ours, stock, monkeypatch):
    """Train both; returns the masks of ours and those of the reference, update by update."""
    recorder = Recorder(stock, monkeypatch)
    reference = (RiglReference if choice == "rigl" else Reference)(choice, recorder)
    expected, mask = [], reference.first() if choice == "rigl" else None
    for _ in updates(stock, UPDATES, update_freq=2):
        update = stock.get_num_updates()
        reference.measure()
        if choice == "rigl":
            recorder.zero(mask)
            if update % INTERVAL == 0:
                mask = reference.renew(update)
                recorder.zero(mask)
        elif reference.ready() and (mask is None or update % INTERVAL == 0):
            mask = reference.mask()
            recorder.zero(mask)
        expected.append(mask)
    monkeypatch.undo()
    found = []
    for _ in updates(ours, UPDATES, update_freq=2):
        found.append(ours.task.pruner.mask)
    return found, expected


def check(choice, make, monkeypatch):
    """Masks and weights equal those of the reference, to the bit."""
    ours, stock = (make(**one) for one in ({**OURS, **CHOICES[choice]}, STOCK))
    found, expected = follow(choice, ours, stock, monkeypatch)
    assert len({mask.digest() for mask in expected if mask is not None}) > 2
    for update, (mask, wanted) in enumerate(zip(found, expected), 1):
        assert mask == wanted, f"update {update}"
    if choice != "rigl":  # whose moments differ: its optimizer never sees a pruned gradient
        assert_same(weights(ours), weights(stock), "weights")


@pytest.mark.parametrize("precision", [{}, BF16], ids=["float32", "float32 masters"])
@pytest.mark.parametrize("choice", CHOICES)
def test_masks_equal_a_plain_loop(corpus, encoder, tmp_path, monkeypatch, choice, precision):
    def make(**options):
        if "task" in options:
            options = {k: v for k, v in {**SETTINGS, **options}.items() if k not in PRUNING}
        else:
            options = {**SETTINGS, **options}
        return make_trainer(
            training_config(corpus, encoder, tmp_path, precision=precision, **options)
        )

    check(choice, make, monkeypatch)


PRUNING = {"prune_interval", "sparsity"}
