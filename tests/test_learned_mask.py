"""A learned mask (S3-Router): frozen weights, trained scores, held to plain loops."""

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils, utils
from fairseq_runs import PRECISIONS, finetune, load, make_trainer, stop_at, training_config
from test_checkpoints import RANDOM, assert_same
from test_training import STOCK, pruned_modules, run

from parp_fairseq.pruning import (
    LearnedSubnetwork,
    Mask,
    Pruner,
    Schedule,
    initial_scores,
    magnitude_mask,
    parse_pattern,
    prunable_parameters,
)
from parp_fairseq.pruning.pattern import Layerwise

ROUTER = {"learn_mask": True, "prune_pattern": "layerwise", "prune_bias": "false", "sparsity": 0.3}
BF16 = PRECISIONS[1]


class StraightThrough(torch.autograd.Function):
    """W * m, where m keeps the highest |s|; the gradient ignores the choice of m."""

    @staticmethod
    def forward(ctx, scores, weight, mask):
        ctx.save_for_backward(scores, weight)
        return weight * mask

    @staticmethod
    def backward(ctx, gradient):
        scores, weight = ctx.saved_tensors
        return gradient * weight * scores.sign(), None, None


def lowest_pruned(scores, sparsity):
    """1 for all but the lowest |s|, by a stable sort."""
    order = scores.detach().abs().flatten().numpy().argsort(kind="stable")
    mask = torch.ones(scores.numel())
    mask[torch.from_numpy(order[: round(sparsity * len(order))])] = 0
    return mask.view(scores.shape)


class Scored(torch.nn.Module):
    """For torch.nn.utils.parametrize: the scores stand in the place of the weight."""

    def __init__(self, weight, scores, sparsity):
        super().__init__()
        self.weight, self.scores, self.sparsity = weight, scores, sparsity

    def right_inverse(self, weight):
        return self.scores

    def forward(self, scores):
        return StraightThrough.apply(scores, self.weight, lowest_pruned(scores, self.sparsity))


def covered(model):
    return {
        name: param
        for name, param in prunable_parameters(model, bias=False).items()
        if name.endswith("weight")
    }


def plain_loop(cfg, updates, update_freq, sparsity, clip, lr, betas=(0.9, 0.999), eps=1e-8):
    """Adam over scores and head, without our code or fairseq's optimizers."""
    stock = make_trainer(cfg)
    model, criterion = stock.get_model(), stock.get_criterion()
    frozen = {n: p.detach().clone() for n, p in model.named_parameters()}
    model.requires_grad_(False)
    initial, trained = initial_scores("rank", cfg.common.seed), []
    for module, parameter in pruned_modules(model):
        if parameter == "weight":
            name = next(n for n, m in model.named_modules() if m is module)
            canonical = f"{name.split('w2v_model.')[1]}.weight"
            weight = module.weight.detach().clone()
            scored = Scored(weight, initial(canonical, weight), sparsity)
            torch.nn.utils.parametrize.register_parametrization(module, "weight", scored)
            scores = module.parametrizations.weight.original.requires_grad_()
            trained.append((canonical, scores))
    model.w2v_encoder.proj.requires_grad_()
    trained += [(f"head {n}", p) for n, p in model.w2v_encoder.proj.named_parameters()]
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in trained}
    steps, epoch = {name: 0 for name, _ in trained}, 0
    done = 0
    while done < updates:
        epoch += 1
        batches = stock.get_train_iterator(epoch).next_epoch_itr(shuffle=True)
        stock.begin_epoch(epoch)
        while batches.has_next() and done < updates:
            group = [next(batches) for _ in range(update_freq) if batches.has_next()]
            utils.set_torch_seed(cfg.common.seed + done)
            model.train()
            size = 0
            for sample in group:
                loss, number, _ = criterion(model, sample)
                loss.backward()
                size += number
            gradients = [(n, p, p.grad) for n, p in trained if p.grad is not None]
            for _, _, gradient in gradients:
                gradient.mul_(1 / size)
            norm = torch.norm(torch.stack([torch.norm(g) for _, _, g in gradients]))
            scale = (clip / (norm + 1e-6)).clamp_(max=1)
            with torch.no_grad():
                for name, param, gradient in gradients:
                    gradient.mul_(scale)
                    steps[name] += 1
                    first, second = moments[name]
                    first.mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
                    second.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
                    corrections = [1 - beta ** steps[name] for beta in betas]
                    size_of_step = lr * corrections[1] ** 0.5 / corrections[0]
                    param.addcdiv_(first, second.sqrt().add_(eps), value=-size_of_step)
                    param.grad = None
            done += 1
    scores = {name: p.detach() for name, p in trained if not name.startswith("head ")}
    head = {name[5:]: p.detach() for name, p in trained if name.startswith("head ")}
    return scores, head, frozen


@pytest.mark.parametrize("checkpointed", [False, True], ids=["", "checkpoint_activations"])
def test_twenty_updates_equal_a_plain_loop(corpus, encoder, tmp_path, checkpointed):
    """Recomputing activations changes no bit: the loop keeps them."""
    options = dict(
        clip_norm=1.0, layerdrop=0.2, dropout=0.1, update_freq="[2]", apply_mask=None, lr="[0.01]",
    )  # fmt: skip
    trainer = make_trainer(
        training_config(
            corpus, encoder, tmp_path, checkpoint_activations=checkpointed, **ROUTER, **options
        )
    )
    run(trainer, 20, update_freq=2)
    stock = training_config(corpus, encoder, tmp_path, **{**STOCK, **options})
    scores, head, frozen = plain_loop(stock, 20, 2, 0.3, clip=1.0, lr=0.01, betas=(0.9, 0.999))

    subnetwork = trainer.task.pruner.subnetwork
    assert subnetwork.scores.keys() == scores.keys()
    initial = initial_scores("rank", 7)
    for name, score in scores.items():
        assert torch.equal(subnetwork.scores[name], score), name
        assert not torch.equal(score, initial(name, subnetwork.frozen[name])), "nothing was learned"
    masked = covered(trainer.get_model())
    for name, param in trainer.get_model().named_parameters():
        short = name.split("w2v_model.")[-1]
        if short in masked:
            assert torch.equal(param, frozen[name] * lowest_pruned(scores[short], 0.3)), name
            assert torch.equal(subnetwork.frozen[short], frozen[name]), name
        elif "proj." in name and "w2v_model" not in name:
            assert torch.equal(param, head[name.split("proj.")[1]]), name
        else:
            assert torch.equal(param, frozen[name]), name


def test_the_optimizer_holds_scores_and_head_alone(corpus, encoder, tmp_path):
    trainer = make_trainer(training_config(corpus, encoder, tmp_path, **ROUTER))
    run(trainer, 1)
    model = trainer.get_model()
    expected = set(map(id, covered(model).values())) | set(
        map(id, model.w2v_encoder.proj.parameters())
    )
    held = [p for group in trainer.optimizer.optimizer.param_groups for p in group["params"]]
    assert set(map(id, held)) == expected and len(held) == len(expected)


@pytest.mark.parametrize("trainable", ["bias", r"re:layers\.1\..*layer_norm", "head", "all"])
def test_what_else_trains_is_what_was_asked_for(corpus, encoder, tmp_path, trainable):
    options = dict(trainable=trainable, lr="[0.01]", apply_mask=None)
    cfg = training_config(corpus, encoder, tmp_path, **ROUTER, **options)
    trainer = make_trainer(cfg)
    before = {n: p.detach().clone() for n, p in trainer.get_model().named_parameters()}
    run(trainer, 2)
    masked = {f"w2v_encoder.w2v_model.{name}" for name in covered(trainer.get_model())}
    changed = {
        name
        for name, param in trainer.get_model().named_parameters()
        if name not in masked and not torch.equal(param, before[name])
    }
    head = {"w2v_encoder.proj.weight", "w2v_encoder.proj.bias"}
    wanted = {
        "bias": lambda n: n.endswith("bias") and "feature_extractor" not in n,
        "head": lambda n: False,
        "all": lambda n: "feature_extractor" not in n and "mask_emb" not in n,
    }.get(trainable, lambda n: "layers.1." in n and "layer_norm" in n)
    expected = {n for n in before if n not in masked and wanted(n)} | head

    # The key's bias moves no softmax: its gradient is zero but for rounding.
    def certain(names):
        return {name for name in names if not name.endswith("k_proj.bias")}

    assert certain(changed) == certain(expected)


def test_bitfit_trains_biases_and_head_alone(corpus, encoder, tmp_path):
    cfg = training_config(corpus, encoder, tmp_path, sparsity=0, trainable="bias")
    trainer = make_trainer(cfg)
    held = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    for name, param in trainer.get_model().named_parameters():
        trains = name.endswith("bias") and "feature_extractor" not in name
        assert (id(param) in held) == (trains or ".proj." in name.split("w2v_encoder")[1][:6]), name


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sparsity": 0}, r"task.sparsity is 0\.0 with task.learn_mask=true: expected a value"),
        ({"adjust": "false"}, "task.adjust is False with task.learn_mask=true: expected true"),
        ({"initial_sparsity": 0.1}, r"task.initial_sparsity is 0\.1 .*: expected null"),
        ({"mask_file": "a.safetensors"}, "task.mask_file is 'a.safetensors' .*: expected null"),
        ({"prune_criterion": "random"}, "task.prune_criterion is 'random' .*expected magnitude"),
        ({"prune_rule": "rigl"}, "task.prune_rule is 'rigl' .*expected parp: the mask follows"),
        ({"trainable": "biases"}, "'biases': expected all, head, bias or re:<regex>"),
        ({"trainable": "re:("}, "is no regular expression"),
        ({"trainable": "re:fc3"}, "names no parameter that can be trained"),
        ({"prune_scope": "all"}, "feature_grad_mult is 0"),
    ],
    ids=str,
)
def test_contradicting_options_are_refused(corpus, encoder, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(training_config(corpus, encoder, tmp_path, **{**ROUTER, **options}))


def test_a_moving_mask_over_weights_that_are_not_trainable_names_the_option(
    corpus, encoder, tmp_path
):
    with pytest.raises(ValueError, match=r"task\.trainable is bias"):
        make_trainer(training_config(corpus, encoder, tmp_path, trainable="bias"))


@pytest.mark.parametrize("pattern, sparsity", [("global", 0.4), ("layerwise", 0.4), ("2:4", 0.5)])
@pytest.mark.parametrize(
    "validated",
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=["validated", "not_validated"],
)
def test_every_checkpoint_is_the_subnetwork_of_the_encoder(
    corpus, encoder, tmp_path, pattern, sparsity, validated
):
    cfg = training_config(
        corpus, encoder, tmp_path, max_update=4, save_interval_updates=3, lr="[0.01]",
        **{**ROUTER, "prune_pattern": pattern, "sparsity": sparsity},
        disable_validation=not validated,
    )  # fmt: skip
    finetune(cfg)
    theta0, masks = covered(load(encoder)["model"]), []
    for file in sorted(tmp_path.glob("checkpoint*.pt")):
        state = load(file)["model"]
        assert not any("score" in key for key in state)
        weights, saved = covered(state), state._metadata[""]["parp"]["pruner"]
        masks.append(Mask.from_state_dict(saved["subnetwork"]))
        assert masks[-1] == Mask(
            parse_pattern(pattern)(
                {n: saved["scores"][n] for n in weights}, lambda n, s: s.abs(), sparsity
            )
        )
        for name, weight in weights.items():
            assert torch.equal(weight, theta0[name] * masks[-1][name]), name
    assert any(mask != masks[0] for mask in masks)


def test_stock_fairseq_reads_the_checkpoint(corpus, encoder, tmp_path):
    ours = finetune(training_config(corpus, encoder, tmp_path / "ours", max_update=2, **ROUTER))
    stock = make_trainer(training_config(corpus, encoder, tmp_path, **STOCK))
    stock.get_model().load_state_dict(ours["model"], strict=True)


@pytest.mark.parametrize("precision", [PRECISIONS[0], BF16, {"amp": True}], ids=str)
@pytest.mark.parametrize("stop", [3])
def test_resume_is_exact(corpus, encoder, tmp_path, precision, stop):
    options = {**RANDOM, **ROUTER, "max_update": 7, "lr": "[0.01]", "precision": precision}
    cfg = training_config(corpus, encoder, tmp_path / "whole", **options)
    cfg.checkpoint.save_interval_updates = stop
    whole = finetune(cfg)
    stop_at(stop, tmp_path / "whole", tmp_path / "resumed")
    cfg = training_config(corpus, encoder, tmp_path / "resumed", **options)
    cfg.checkpoint.save_interval_updates = stop
    again = finetune(cfg)
    assert_same(again["model"], whole["model"], "model")
    assert_same(again["model"]._metadata, whole["model"]._metadata, "metadata")
    assert_same(again["last_optimizer_state"], whole["last_optimizer_state"], "optimizer")


@pytest.mark.parametrize("precision", [PRECISIONS[0], BF16], ids=str)
def test_scores_start_from_what_was_loaded_and_a_resume_keeps_them(
    corpus, encoder, tmp_path, precision
):
    dense = dict(sparsity=0, max_update=2, lr="[0.01]")
    tuned = finetune(training_config(corpus, encoder, tmp_path / "dense", **dense))
    options = dict(
        ROUTER, score_init="magnitude", lr="[0.001]", precision=precision,
        finetune_from_model=tmp_path / "dense" / "checkpoint_last.pt", save_dir=tmp_path / "run",
    )  # fmt: skip
    weights = covered(tuned["model"])
    dtype = torch.bfloat16 if precision else torch.float32
    begun = make_trainer(training_config(corpus, encoder, **options))
    checkpoint_utils.load_checkpoint(begun.cfg.checkpoint, begun)
    begun.task._begin(begun.optimizer, begun.get_num_updates())
    for name, score in begun.task.pruner.subnetwork.scores.items():
        assert score.dtype == torch.float32
        assert torch.equal(score, weights[name].to(dtype).float()), name
    assert begun.task.pruner.mask == magnitude_mask(
        {n: w.to(dtype) for n, w in weights.items()}, 0.3, "layerwise"
    )

    stopped = finetune(training_config(corpus, encoder, max_update=2, **options))
    saved = stopped["model"]._metadata[""]["parp"]["pruner"]["scores"]
    assert any(not torch.equal(saved[n], weights[n].to(dtype).float()) for n in saved)
    again = make_trainer(training_config(corpus, encoder, **options))
    checkpoint_utils.load_checkpoint(again.cfg.checkpoint, again)
    again.task._begin(again.optimizer, again.get_num_updates())
    for name, score in again.task.pruner.subnetwork.scores.items():
        assert torch.equal(score, saved[name]), name
    for name, param in covered(again.get_model()).items():
        frozen, mask = again.task.pruner.subnetwork.frozen[name], again.task.pruner.mask[name]
        assert torch.equal(frozen, weights[name].to(dtype)), name
        assert torch.equal(param, frozen * mask), name


def test_masters_are_the_scores(corpus, encoder, tmp_path):
    """bfloat16 would round scores together: the mask is that of the float32 masters."""
    options = {**ROUTER, "precision": BF16, "lr": "[0.0001]"}
    trainer = make_trainer(training_config(corpus, encoder, tmp_path, **options))
    run(trainer, 3)
    subnetwork, pruner = trainer.task.pruner.subnetwork, trainer.task.pruner
    held = {p.data_ptr() for p in trainer.optimizer.fp32_params}
    assert all(s.dtype == torch.float32 for s in subnetwork.scores.values())
    assert {s.data_ptr() for s in subnetwork.scores.values()} <= held
    assert pruner.mask == magnitude_mask(subnetwork.scores, 0.3, "layerwise")
    rounded = {n: s.bfloat16() for n, s in subnetwork.scores.items()}
    assert pruner.mask != magnitude_mask(rounded, 0.3, "layerwise")
    for name, param in covered(trainer.get_model()).items():
        assert torch.equal(param, subnetwork.frozen[name] * pruner.mask[name]), name


def test_a_precision_without_float32_scores_is_refused(corpus, encoder, tmp_path):
    options = {**ROUTER, "precision": {"bf16": True, "memory_efficient_bf16": True}}
    message = "does not support common.memory_efficient_bf16=true: it keeps no float32 scores"
    with pytest.raises(ValueError, match=message):
        make_trainer(training_config(corpus, encoder, tmp_path, **options))
    half = torch.nn.Parameter(torch.randn(4, 4).half())
    pruner = Pruner(
        {"w": half}, Schedule(0.5, interval=1), initial_scores=initial_scores("rank", 1)
    )
    with pytest.raises(ValueError, match="w is float16 and the optimizer keeps no float32 copy"):
        pruner.start()
    assert not (half == 0).any() and not pruner.started


@pytest.mark.gpu
@pytest.mark.parametrize("switches", [{}, {"fp16_no_flatten_grads": True}], ids=str)
def test_fp16_on_a_gpu(corpus, encoder, tmp_path, switches):
    precision = {"fp16": True, **switches}
    options = {**ROUTER, "cpu": None, "lr": "[0.01]", "precision": precision}
    trainer = make_trainer(training_config(corpus, encoder, tmp_path, **options))
    run(trainer, 4)
    pruner = trainer.task.pruner
    frozen, scores = pruner.subnetwork.frozen, pruner.subnetwork.scores
    assert pruner.mask == magnitude_mask(scores, 0.3, "layerwise").beside(scores)
    assert pruner.mask != pruner.initial_mask
    for name, param in covered(trainer.get_model()).items():
        assert scores[name].dtype == torch.float32
        assert torch.equal(param, frozen[name] * pruner.mask[name].to(param.device)), name


def test_an_overflow_leaves_mask_and_scores_alone(corpus, encoder, tmp_path):
    trainer = make_trainer(
        training_config(corpus, encoder, tmp_path, precision={"amp": True}, **ROUTER)
    )
    trainer.optimizer._grad_scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    run(trainer, 2)
    task, backward, calls = trainer.task, trainer.optimizer.backward, []
    before = {n: s.clone() for n, s in task.pruner.subnetwork.scores.items()}
    mask = task.pruner.mask

    def overflow_first(loss):
        backward(loss)
        calls.append(1)
        if len(calls) == 1:
            next(iter(covered(trainer.get_model()).values())).grad.fill_(float("inf"))
        else:
            assert task.pruner.mask is mask
            scores = task.pruner.subnetwork.scores
            assert all(torch.equal(s, before[n]) for n, s in scores.items())
            for name, param in covered(trainer.get_model()).items():
                assert torch.equal(param, task.pruner.subnetwork.frozen[name] * mask[name])

    trainer.optimizer.backward = overflow_first
    run(trainer, 3)
    assert len(calls) == 2


def test_one_selection_an_update(corpus, encoder, tmp_path, monkeypatch):
    """Not one for each forward, nor for validation or a checkpoint."""
    trainer = make_trainer(
        training_config(corpus, encoder, tmp_path, update_freq="[2]", max_update=3, **ROUTER)
    )
    made, select = [], Layerwise.__call__
    monkeypatch.setattr(Layerwise, "__call__", lambda *a: made.append(1) or select(*a))
    run(trainer, 3, update_freq=2)
    trainer.get_model().eval()
    trainer.get_model().state_dict()
    trainer.get_model().train()
    assert len(made) == 4  # the first mask, and one after each update


# The algorithm alone, without fairseq ----------------------------------------------------------


def learner(weight, scores, sparsity=0.5, pattern="layerwise"):
    param = torch.nn.Parameter(weight.clone())
    pruner = Pruner(
        {"w": param}, Schedule(sparsity, interval=1), pattern=parse_pattern(pattern),
        initial_scores=lambda name, weight: scores.clone(),
    )  # fmt: skip
    pruner.start()
    return param, pruner


def test_scores_of_zero_never_move_and_ties_go_by_position():
    torch.manual_seed(0)
    weight = torch.randn(4, 4)
    scores = torch.tensor([0.0, 1.0, -1.0, 1.0] * 4).view(4, 4)
    param, pruner = learner(weight, scores)
    # The zeros and the first of the ties are pruned: stable, whatever their signs.
    order = scores.abs().flatten().argsort(stable=True)[:8]
    expected = torch.ones(16, dtype=torch.bool)
    expected[order] = False
    assert torch.equal(pruner.mask["w"].flatten(), expected)
    optimizer = torch.optim.SGD([param], lr=0.1, weight_decay=0)
    for update in range(1, 4):
        (param * torch.randn(4, 4)).sum().backward()
        with pruner.subnetwork.stepping():
            optimizer.step()
        pruner.prune(update)
        param.grad = None
    learned = pruner.subnetwork.scores["w"]
    assert torch.equal(learned == 0, scores == 0)
    assert not torch.equal(learned, scores)
    assert torch.equal(param, weight * pruner.mask["w"])


def test_train_eval_train_between_two_micro_batches_changes_nothing():
    torch.manual_seed(0)
    weight, scores = torch.randn(8, 8), torch.randn(8, 8)
    inputs = [torch.randn(8, 8) for _ in range(2)]

    def gradient(between):
        param, pruner = learner(weight, scores)
        for x in inputs:
            ((x @ param) ** 2).sum().backward()
            between(pruner)
        return param.grad, param.detach().clone()

    def switch(pruner):
        pruner.hide()
        pruner.hide()
        pruner.restore()
        pruner.restore()
        with pruner.subnetwork.hidden(magnitude_mask({"w": weight}, 0.2)):
            assert int((pruner.params["w"] == 0).sum()) == 13

    for ours, plain in zip(gradient(switch), gradient(lambda pruner: None)):
        assert torch.equal(ours, plain)
    mask = lowest_pruned(scores, 0.5)
    slope = weight * scores.sign()
    expected = sum(2 * x.T @ (x @ (weight * mask)) for x in inputs) * slope
    torch.testing.assert_close(gradient(switch)[0], expected)


@pytest.mark.parametrize("on_cpu", [True, False], ids=["numpy", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_writing_what_two_masks_tell_apart_is_writing_all(dtype, on_cpu, monkeypatch):
    """Bit for bit, also for -0.0 and NaN, no change, and a weight whose memory is transposed."""
    monkeypatch.setattr("parp_fairseq.pruning.bits.on_cpu", lambda tensor: on_cpu)
    torch.manual_seed(0)
    source = {"a": torch.randn(7, 5).to(dtype), "b": torch.randn(6, 4).to(dtype).t()}
    source["a"][0] = torch.tensor([-0.0, 0.0, float("nan"), -1, 1], dtype=dtype)
    shares = (0.0, 0.02, 0.5, 0.5, 0.98, 1.0)
    masks = [Mask({n: torch.rand(w.shape) >= share for n, w in source.items()}) for share in shares]
    for before in masks:
        held = {
            name: weight.clone(memory_format=torch.preserve_format)
            for name, weight in source.items()
        }
        before.apply_(held, source)
        for after in masks:
            ours = {name: weight.clone() for name, weight in held.items()}
            whole = {name: weight.clone() for name, weight in held.items()}
            after.replace_(before, ours, source)
            after.apply_(whole, source)
            integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[whole["a"].element_size()]
            for name, weight in whole.items():
                assert torch.equal(ours[name].view(integers), weight.view(integers))


def test_a_step_that_fails_leaves_the_network_masked():
    torch.manual_seed(0)
    weight = torch.randn(4, 4)
    param, pruner = learner(weight, torch.randn(4, 4))
    with pytest.raises(RuntimeError), pruner.subnetwork.stepping():
        assert torch.equal(param, pruner.subnetwork.scores["w"])
        raise RuntimeError
    assert torch.equal(param, weight * pruner.mask["w"])


@pytest.mark.parametrize("shape", [(64, 32), (32, 16, 3), (40,)])
def test_initial_scores(shape):
    torch.manual_seed(0)
    weight = torch.randn(*shape)
    weight.view(-1)[:8] = 0.5  # ties
    bound = 1 / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else shape[0])
    drawn, ranked = (initial_scores(kind, 3)("w", weight) for kind in ("random", "rank"))
    for scores in (drawn, ranked):
        assert scores.shape == weight.shape and scores.dtype == torch.float32
        assert scores.abs().max() <= bound
        assert 0.3 < (scores > 0).float().mean() < 0.7
    assert torch.equal(drawn.abs().flatten().sort().values, ranked.abs().flatten().sort().values)
    order = weight.abs().flatten().argsort(stable=True)
    assert torch.equal(ranked.abs().flatten().argsort(stable=True), order)
    assert torch.equal(ranked, initial_scores("rank", 3)("w", weight))
    assert not torch.equal(drawn, initial_scores("random", 4)("w", weight))
    assert not torch.equal(drawn, initial_scores("random", 3)("other", weight))
    assert torch.equal(initial_scores("magnitude", 3)("w", weight), weight)
    with pytest.raises(ValueError, match="'best': expected rank, magnitude or random"):
        initial_scores("best", 3)


def test_state_of_other_weights_is_refused_and_changes_nothing():
    weight = torch.randn(4, 4)
    param, pruner = learner(weight, torch.randn(4, 4))
    state = pruner.state_dict()
    other = torch.nn.Parameter(param.detach().clone())
    fresh = Pruner(
        {"w": other}, Schedule(0.5, interval=1), pattern=parse_pattern("layerwise"),
        initial_scores=initial_scores("rank", 1),
    )  # fmt: skip
    with pytest.raises(ValueError, match="holds no scores of these weights"):
        fresh.load({**state, "scores": {}})
    assert not fresh.subnetwork.frozen and torch.equal(other, param)
    fresh.load(state)
    assert torch.equal(fresh.subnetwork.frozen["w"], weight)
    assert isinstance(fresh.subnetwork, LearnedSubnetwork) and fresh.mask == pruner.mask
