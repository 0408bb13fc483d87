"""ParpCallback under the Trainer of transformers: bit for bit what a plain loop does."""

import copy
import inspect
import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import prune

if find_spec("transformers") is None or find_spec("accelerate") is None:
    pytest.skip("the [hf] extra is not installed", allow_module_level=True)

import transformers
from trainer_runs import dataset_of, model_of, trainer_of
from transformers import TrainerCallback

from parp_fairseq.huggingface import ParpCallback
from parp_fairseq.pruning import Mask, prunable_parameters

SPARSITY, INTERVAL = 0.6, 5


# The reference: a model, AdamW, and torch.nn.utils.prune ----------------------------------------


def prunable(model):
    """(module, name) of each weight and bias of attention and feed-forward layers."""
    for path, module in model.named_modules():
        if type(module).__name__ == "XLNetRelativeAttention":
            yield from ((module, name) for name in "qkvor")
        elif isinstance(module, nn.Linear) and re.search(r"\.layers?\.\d", path):
            yield module, "weight"
            if module.bias is not None:
                yield module, "bias"


def prune_with_torch(model, sparsity=SPARSITY):
    pairs = list(prunable(model))
    prune.global_unstructured(pairs, prune.L1Unstructured, amount=sparsity)
    for module, name in pairs:
        prune.remove(module, name)


def subnetwork(model):
    model = copy.deepcopy(model)
    prune_with_torch(model)
    return model


def batch_of(examples):
    return {key: torch.stack([example[key] for example in examples]) for key in examples[0]}


def optimizer_of(model, lr=3e-3, decay=0.01):
    plain = {name for name, _ in model.named_parameters() if re.search(r"bias|[nN]orm", name)}
    groups = [
        [p for name, p in model.named_parameters() if name not in plain],
        [p for name, p in model.named_parameters() if name in plain],
    ]
    return torch.optim.AdamW(
        [{"params": groups[0], "weight_decay": decay}, {"params": groups[1], "weight_decay": 0.0}],
        lr=lr,
    )


def plain_loop(kind, updates, precision, after_update):
    """Two batches of four an update, gradients clipped to 1."""
    model, data = model_of(kind), dataset_of(kind)
    optimizer = optimizer_of(model)
    parameters = list(model.parameters())  # torch's pruning changes their order
    # Such a model normalizes its loss by itself, says the Trainer, and does not divide it.
    scaled = any(
        p.kind == p.VAR_KEYWORD for p in inspect.signature(model.forward).parameters.values()
    )
    prune_with_torch(model)
    for update in range(updates):
        start = 8 * update % len(data)
        batches = [batch_of(data[start : start + 4]), batch_of(data[start + 4 : start + 8])]
        items = sum(int((batch["labels"] != -100).sum()) for batch in batches)
        model.train()
        for batch in batches:
            with torch.autocast("cpu", precision, enabled=precision is not None):
                extra = {"num_items_in_batch": torch.tensor(items)} if scaled else {}
                loss = model(**batch, **extra).loss
            (loss if scaled else loss / 2).float().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (update + 1) % INTERVAL == 0:
            prune_with_torch(model)
        after_update(update + 1, model)
    return model


@pytest.mark.parametrize(
    ("kind", "bf16"),
    [("bert", True), ("xlnet", False), ("wav2vec2", False), ("whisper", False), ("bert", False)],
)
def test_thirty_steps_equal_a_plain_loop(kind, bf16, tmp_path):
    precision = torch.bfloat16 if bf16 else None
    subnetworks, logits, seen = {}, {}, {}
    valid = batch_of(dataset_of(kind, 12, seed=2))

    def look(update, model):
        if update % 8 == 0 or update == 30:  # between two re-prunes, too
            network = subnetworks[update] = subnetwork(model).eval()
            with torch.no_grad(), torch.autocast("cpu", precision, enabled=bf16):
                logits[update] = network(**valid).logits.float()

    plain_loop(kind, 30, precision, look)

    def compute_metrics(predictions):
        found = predictions.predictions
        seen[trainer.state.global_step] = torch.from_numpy(
            found[0] if isinstance(found, tuple) else found
        )
        # The best is not the last.
        return {"score": float(trainer.state.global_step == 16)}

    callback = ParpCallback(SPARSITY, prune_interval=INTERVAL)
    trainer = trainer_of(
        kind, tmp_path, callback, gradient_accumulation_steps=2, max_grad_norm=1.0, bf16=bf16,
        weight_decay=0.01, optim="adamw_torch", eval_strategy="steps", eval_steps=8,
        save_strategy="steps", save_steps=8, load_best_model_at_end=True,
        metric_for_best_model="score",
    )  # fmt: skip
    trainer.compute_metrics = compute_metrics
    trainer.train()

    assert sorted(seen) == sorted(subnetworks) == [8, 16, 24, 30]
    for update, network in subnetworks.items():
        assert torch.equal(seen[update], logits[update]), update
        folder = tmp_path / f"checkpoint-{update}"
        loaded = type(network).from_pretrained(folder)
        expected = network.state_dict()
        assert loaded.state_dict().keys() == expected.keys()
        for name, value in loaded.state_dict().items():
            assert torch.equal(value, expected[name]), (update, name)
        mask = Mask.from_state_dict(saved_state(folder)["pruner"]["subnetwork"])
        assert mask == Mask.of_zeros(prunable_parameters(loaded))
        assert mask.num_pruned == round(SPARSITY * mask.num_weights)
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, subnetworks[16].state_dict()[name]), name
    assert callback.mask == Mask.of_zeros(prunable_parameters(subnetworks[16]))
    assert "train" not in vars(trainer.model) and not trainer.model._state_dict_hooks
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logs) == 6
    for entry in logs:
        assert entry["sparsity"] == pytest.approx(SPARSITY, abs=1e-3)
        assert 0 < entry["mask_iou"] < 1 and 0 < entry["revived"] < 1


def saved_state(checkpoint):
    state = torch.load(checkpoint / "optimizer.pt", weights_only=True)
    return state["param_groups"][0]["parp"]


def test_a_fixed_mask_equals_pruning_by_torch(tmp_path):
    """torch computes weight_orig * mask, so gradients are masked before they are clipped."""
    model, data = model_of("bert"), dataset_of("bert")
    pairs = list(prunable(model))
    prune.global_unstructured(pairs, prune.L1Unstructured, amount=SPARSITY)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for update in range(8):
        start = 4 * update % len(data)
        model(**batch_of(data[start : start + 4])).loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()
    for module, name in pairs:
        prune.remove(module, name)

    callback = ParpCallback(SPARSITY, adjust=False)
    trainer = trainer_of(
        "bert", tmp_path, callback, max_steps=8, max_grad_norm=0.1, optim="adamw_torch"
    )
    trainer.train()
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert callback.mask == Mask.of_zeros(prunable_parameters(model))


def test_a_criterion_measures_the_gradients_that_the_optimizer_gets(tmp_path):
    """SNIP: the first mask is that of |w g| in the first update, and stays."""
    model = model_of("bert")
    batch = batch_of(dataset_of("bert")[:4])
    model(**batch).loss.backward()
    params = prunable_parameters(model, bias=False)
    callback = ParpCallback(
        SPARSITY,
        prune_criterion="taylor",
        adjust=False,
        prune_pattern="layerwise",
        prune_bias=False,
    )
    trainer = trainer_of("bert", tmp_path, callback, max_steps=3, max_grad_norm=0)
    trainer.train()
    assert list(callback.mask) == list(params)
    for name, param in params.items():
        scores = (param * param.grad).abs().detach()
        threshold = scores.flatten().sort().values[round(SPARSITY * scores.numel())]
        assert torch.equal(callback.mask[name], scores >= threshold), name


# Resume -----------------------------------------------------------------------------------------

METHODS = {
    "parp": dict(prune_interval=4),
    "parp_p by epochs": dict(
        prune_interval_epochs=1, initial_sparsity=0.2, sparsity_ramp="cubic", ramp_updates=9
    ),
    "fixed": dict(adjust=False, prune_criterion="random"),
    "rigl": dict(prune_rule="rigl", prune_interval=3, prune_pattern="layerwise"),
    "movement": dict(prune_criterion="movement", prune_interval=3, prune_bias=False),
    "learned": dict(learn_mask=True, trainable="re:LayerNorm"),
}


class Killed(Exception):
    pass


class KillAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Killed


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_ends_in_the_same_bits(method, tmp_path):
    def trainer(folder, *others):
        return trainer_of(
            "bert", folder, ParpCallback(SPARSITY, **METHODS[method]), *others, certain=False,
            max_steps=12, save_strategy="steps", save_steps=7, eval_strategy="steps", eval_steps=7,
            logging_steps=1, train_sampling_strategy="random",
        )  # fmt: skip

    whole = trainer(tmp_path / "whole")
    whole.train()
    with pytest.raises(Killed):
        trainer(tmp_path / "killed", KillAt(9)).train()
    # The folder may have moved.
    folder = (tmp_path / "killed" / "checkpoint-7").rename(tmp_path / "elsewhere")
    resumed = trainer(tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(folder))
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[name]), name
    for one in (whole, resumed):
        one.timeless = [
            {
                key: value
                for key, value in entry.items()
                if "per_second" not in key and "time" not in key
            }
            for entry in one.state.log_history[:-1]
        ]
    assert resumed.timeless == whole.timeless
    last = [
        load_file(tmp_path / f / "checkpoint-12/model.safetensors") for f in ("whole", "resumed")
    ]
    assert all(torch.equal(value, last[1][name]) for name, value in last[0].items())
    saved = [saved_state(tmp_path / f / "checkpoint-12")["pruner"] for f in ("whole", "resumed")]
    for name, hidden in saved[0]["hidden"].items():
        assert torch.equal(hidden, saved[1]["hidden"][name]), name
    assert Mask.from_state_dict(saved[0]["mask"]) == Mask.from_state_dict(saved[1]["mask"])


def test_a_learned_mask_leaves_the_weights_alone(tmp_path):
    before = {n: p.detach().clone() for n, p in model_of("bert").named_parameters()}
    callback = ParpCallback(SPARSITY, learn_mask=True)
    trainer = trainer_of("bert", tmp_path, callback, max_steps=4, learning_rate=0.03)
    trainer.train()
    scored = {id(p): n for n, p in prunable_parameters(trainer.model).items()}
    for name, param in trainer.model.named_parameters():
        if id(param) in scored:
            assert torch.equal(param, before[name] * callback.mask[scored[id(param)]]), name
        else:  # the head trains, the rest of the encoder does not
            assert torch.equal(param, before[name]) == name.startswith("bert."), name
    assert callback.mask.num_pruned == round(SPARSITY * callback.mask.num_weights)
    assert 0 < callback.pruner.mask_iou < 1
    # Gradients are those of the weights again.
    model = trainer.model.train()
    twin = model_of("bert")
    twin.load_state_dict(model.state_dict())
    batch = batch_of(dataset_of("bert", 4))
    for network in (model, twin.train()):
        network.zero_grad()
        network(**batch).loss.backward()
    weights = (network.bert.encoder.layer[0].output.dense.weight for network in (model, twin))
    assert torch.equal(*(weight.grad for weight in weights))


def test_another_run_is_not_resumed(tmp_path):
    options = dict(max_steps=2, save_strategy="steps", save_steps=1)
    trainer_of("bert", tmp_path, ParpCallback(SPARSITY), **options).train()
    resume = dict(resume_from_checkpoint=True)
    for callback, message in (
        (ParpCallback(0.5), r"^sparsity is 0\.5, but the run to be resumed has 0\.6: give back"),
        (ParpCallback(0), "^sparsity is 0"),
        (ParpCallback(SPARSITY, prune_bias=False), "^prune_bias is False, but .* True"),
        (ParpCallback(SPARSITY, prune_scope="transformer"), "prune_scope is 'transformer'.*'bert'"),
    ):
        with pytest.raises(ValueError, match=message):
            trainer_of("bert", tmp_path, callback, **{**options, "max_steps": 4}).train(**resume)
    dense = tmp_path / "dense"
    trainer_of("bert", dense, **options).train()
    with pytest.raises(ValueError, match=r"holds no state of ParpCallback: .*from_pretrained"):
        trainer_of("bert", dense, ParpCallback(), **{**options, "max_steps": 4}).train(**resume)


# The Trainer alone ------------------------------------------------------------------------------


def test_sparsity_zero_is_the_trainer_alone(tmp_path):
    options = dict(
        certain=False, max_steps=6, save_strategy="steps", save_steps=3, eval_strategy="steps",
        eval_steps=2, logging_steps=1, learning_rate=1e-3,
    )  # fmt: skip
    alone = trainer_of("wav2vec2", tmp_path / "alone", **options)
    alone.train()
    with_callback = trainer_of("wav2vec2", tmp_path / "zero", ParpCallback(0), **options)
    with_callback.train()
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
        for step in (3, 6):
            files = [tmp_path / run / f"checkpoint-{step}" / name for run in ("alone", "zero")]
            assert files[0].read_bytes() == files[1].read_bytes(), name
    keys = [[sorted(entry) for entry in run.state.log_history] for run in (alone, with_callback)]
    assert keys[0] == keys[1]


def test_before_training_nothing_changes_and_afterwards_the_model_is_sparse(tmp_path):
    callback = ParpCallback(SPARSITY, prune_interval=2)
    trainer = trainer_of("bert", tmp_path, callback, max_steps=3)
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.evaluate()
    trainer.save_model()
    for name, value in load_file(tmp_path / "model.safetensors").items():
        assert torch.equal(value, before[name])
    assert callback.mask is None
    trainer.train()
    assert callback.mask == Mask.of_zeros(prunable_parameters(trainer.model))
    trainer.save_model()
    trainer.model.train()
    saved = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(value, saved[n]) for n, value in trainer.model.state_dict().items())
    trainer.train()  # once more, from there
    assert callback.mask.num_pruned == round(SPARSITY * callback.mask.num_weights)


def test_an_interrupted_training_leaves_a_subnetwork_and_can_begin_anew(tmp_path):
    callback = ParpCallback(SPARSITY, prune_interval=2)
    trainer = trainer_of("bert", tmp_path, callback, kill := KillAt(3), max_steps=5)
    with pytest.raises(Killed):
        trainer.train()
    trainer.save_model()
    trainer.evaluate()
    kept = Mask.of_zeros(prunable_parameters(load_file(tmp_path / "model.safetensors")))
    assert kept == Mask.of_zeros(prunable_parameters(trainer.model))
    assert kept.num_pruned == round(SPARSITY * kept.num_weights)
    kill.step = None
    trainer.train()
    assert callback.mask == Mask.of_zeros(prunable_parameters(trainer.model))


def test_a_model_that_is_made_anew_for_each_training(tmp_path):
    callback = ParpCallback(SPARSITY, prune_interval=2)
    trainer = transformers.Trainer(
        model_init=lambda: model_of("distilbert"),
        args=trainer_of("distilbert", tmp_path, max_steps=3).args,
        train_dataset=dataset_of("distilbert"),
        callbacks=[callback],
    )
    trainer.train()
    first = trainer.model.state_dict()
    trainer.train()
    assert all(torch.equal(value, first[n]) for n, value in trainer.model.state_dict().items())
    assert callback.mask == Mask.of_zeros(prunable_parameters(trainer.model))


# Scopes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    ["bert", "xlnet", "roberta", "distilbert", "wav2vec2", "hubert", "wavlm", "whisper"],
)
@pytest.mark.filterwarnings("error")
def test_the_scope_of_an_architecture(kind):
    """Attention and feed-forward matrices; no embeddings, no pooler, no head."""
    model = model_of(kind)
    expected = [
        id(getattr(module, name))
        for module, name in prunable(model)
        if (module, name) not in outside_attention(model)
    ]
    found = prunable_parameters(model, kind)
    assert [id(param) for param in found.values()] == expected
    by_default = {name: id(param) for name, param in prunable_parameters(model).items()}
    assert by_default == {name: id(param) for name, param in found.items()}
    # Without a head, and in a file, the same weights have the same names.
    assert list(prunable_parameters(model.base_model)) == list(found)
    assert list(prunable_parameters(dict(model.named_parameters()), kind)) == list(found)
    without_bias = prunable_parameters(model, kind, bias=False)
    assert list(without_bias) == [name for name in found if not name.endswith(".bias")]


def outside_attention(model):
    """WavLM has a matrix for the gates of its relative positions."""
    return [
        (module, name)
        for path, module in model.named_modules()
        if path.endswith("gru_rel_pos_linear")
        for name in ("weight", "bias")
    ]


def test_masks_fit_fairseq_and_transformers():
    """wav2vec 2.0, HuBERT and WavLM have the canonical names of fairseq's encoders."""
    names = [list(prunable_parameters(model_of(k), "all")) for k in ("wav2vec2", "hubert", "wavlm")]
    assert names[0] == names[1] == names[2]
    assert "encoder.layers.1.self_attn.k_proj.weight" in names[0]
    assert "encoder.layers.0.fc2.bias" in names[0]
    assert "feature_extractor.conv_layers.1.0.weight" in names[0]
    assert "post_extract_proj.weight" in names[0]


def test_tied_parameters_are_saved_pruned_under_each_name(tmp_path):
    """The second layer is the first one, as in ALBERT."""
    model = model_of("bert")
    model.bert.encoder.layer[1] = model.bert.encoder.layer[0]
    trainer = trainer_of("bert", tmp_path, ParpCallback(0.5), model=model, max_steps=1)
    states = []

    class Look(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            states.append(model.state_dict())

    trainer.add_callback(Look())
    trainer.train()
    for name, value in states[0].items():
        if ".layer.0." in name:
            twin = states[0][name.replace(".layer.0.", ".layer.1.")]
            assert torch.equal(value, twin) and value.data_ptr() == twin.data_ptr(), name
    assert (states[0]["bert.encoder.layer.1.output.dense.weight"] == 0).float().mean() > 0.3


# Bad use ----------------------------------------------------------------------------------------


def test_options_are_those_of_the_task():
    from parp_fairseq.tasks.options import PRUNING_OPTIONS, ParpConfig

    ours = inspect.signature(ParpCallback).parameters
    assert list(ours) == [name for name in PRUNING_OPTIONS if name != "method"]
    for name, parameter in ours.items():
        default = ParpConfig.__dataclass_fields__[name].default
        if name != "prune_scope":  # the architecture decides
            assert parameter.default == default, name
        assert f"        {name}: " in ParpCallback.__doc__, name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(sparsity=1), "sparsity is 1.0: expected 0 <= sparsity < 1"),
        (dict(sparsity="half"), "sparsity is 'half'"),
        (dict(initial_sparsity=0.7), "initial_sparsity is 0.7: expected at most sparsity"),
        (dict(sparsity_ramp="steep"), "sparsity_ramp is 'steep': expected linear or cubic"),
        (dict(prune_interval=0), "prune_interval is 0: expected at least 1"),
        (dict(score_init="zero"), "score_init is 'zero'"),
        (dict(learn_mask=True, adjust=False), "adjust is False with learn_mask=true"),
    ],
)
def test_an_option_out_of_range_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        ParpCallback(**options)


def test_what_does_not_fit_the_model_is_named_by_the_constructor(tmp_path):
    other = tmp_path / "other.safetensors"
    distilbert = prunable_parameters(model_of("distilbert"))
    Mask((name, torch.rand(w.shape) > 0.5) for name, w in distilbert.items()).save(other)
    for options, message in (
        (dict(prune_scope="re:nothing"), r"scope 're:nothing' covers no parameter of this model"),
        (dict(prune_scope="xlnet"), "scope 'xlnet' covers no parameter .*made for XLNet"),
        (dict(prune_scope="gpt2"), "unknown scope 'gpt2': expected transformer, all or re:.*bert"),
        (dict(prune_scope="feature_extractor"), "unknown scope 'feature_extractor'"),
        (dict(mask_file=str(other)), r"mask file .*other.safetensors: the mask covers other param"),
        (dict(prune_pattern="3:2"), "unknown pattern '3:2'"),
        (dict(prune_criterion="l2"), "prune_criterion: .*'l2'"),
        (dict(prune_criterion="wanda"), "prune_criterion wanda .* measures the inputs of layers"),
        (dict(trainable="re:nothing"), "trainable is 're:nothing', which names no parameter"),
    ):
        with pytest.raises(ValueError, match=message):
            trainer_of("bert", tmp_path, ParpCallback(**options))
    gpt2 = transformers.GPT2ForSequenceClassification(
        transformers.GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2, n_positions=8)
    )
    with pytest.raises(ValueError, match="the model_type 'gpt2', for which there is no scope"):
        trainer_of("bert", tmp_path, ParpCallback(), model=gpt2)
    trainer_of("bert", tmp_path, ParpCallback(prune_scope="re:mlp"), model=gpt2)


def test_what_does_not_fit_the_run_is_named_before_the_first_step(tmp_path):
    def refused(message, callback, model=None, **changes):
        model = model or model_of("bert")
        before = copy.deepcopy(model.state_dict())
        trainer = trainer_of("bert", tmp_path, callback, model=model, **changes)
        with pytest.raises(ValueError, match=message):
            trainer.train()
        assert all(torch.equal(before[n], value) for n, value in model.state_dict().items())

    ramp = ParpCallback(0.5, initial_sparsity=0.1, ramp_updates=40)
    refused("ramp_updates is 40: expected at most max_steps, which is 30", ramp)
    elsewhere = torch.optim.AdamW(model_of("bert").parameters())
    message = (
        r"the optimizer \(AdamW\) holds none of the 24 parameters that are to be pruned, such as "
    )
    refused(message + "encoder", ParpCallback(), optimizers=(elsewhere, None))
    model = model_of("bert")
    model.bert.encoder.layer[0].requires_grad_(False)
    refused(r"prune_scope=bert covers 12 of 24 .*\(requires_grad is False\)", ParpCallback(), model)
    model = model_of("bert")
    half = torch.optim.AdamW(model.bert.encoder.layer[1].parameters())
    refused(r"12 of 24 .*\(not in the optimizer\)", ParpCallback(), model, optimizers=(half, None))

    class ScheduleFree(torch.optim.SGD):
        def train(self): ...

        def eval(self): ...

    model = model_of("bert")
    refused(
        "does not support the optimizer ScheduleFree",
        ParpCallback(),
        model,
        optimizers=(ScheduleFree(model.parameters(), lr=0.1), None),
    )


@pytest.mark.parametrize(
    ("option", "value", "name"), [("deepspeed", {}, "DeepSpeed"), ("fsdp", True, "FSDP")]
)
def test_shards_are_refused(option, value, name, tmp_path):
    trainer = trainer_of("bert", tmp_path)
    setattr(trainer.args, option, value or {"zero_optimization": {"stage": 2}})
    with pytest.raises(ValueError, match=f"does not support {name}.*expected a single process"):
        ParpCallback().on_init_end(
            trainer.args, trainer.state, trainer.control, model=trainer.model
        )


def test_the_logs_are_in_the_checkpoint(tmp_path):
    options = dict(max_steps=4, save_strategy="steps", save_steps=4, logging_steps=2)
    trainer_of("bert", tmp_path, ParpCallback(prune_interval=1), **options).train()
    state = json.loads(Path(tmp_path / "checkpoint-4" / "trainer_state.json").read_text())
    assert [set(entry) & {"sparsity", "mask_iou", "revived"} for entry in state["log_history"]] == [
        {"sparsity", "mask_iou", "revived"}
    ] * 2
