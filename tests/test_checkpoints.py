"""Promises 2, 4 and 9 for checkpoints: sparse whenever written, resumed exactly, loaded safely."""

import argparse
import os
import pickle
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq_runs import (
    finetune,
    load,
    make_trainer,
    stop_at,
    training_config,
    transcribe,
    write_encoder,
)

from parp_fairseq.cli.files.checkpoint import read
from parp_fairseq.pruning import magnitude_mask, prunable_parameters

METHODS = {
    "parp": {"prune_interval": 4},
    "parp_p": {"initial_sparsity": 0.1, "ramp_updates": 9, "prune_interval": 4},
    "epochs": {"prune_interval_epochs": 1},
    "fixed": {"adjust": "false"},
    "random": {"adjust": "false", "prune_criterion": "random"},
    "dense": {"sparsity": 0},
}
# A run with all that is drawn at random while training.
RANDOM = {
    "max_update": 14,
    "layerdrop": 0.2,
    "dropout": 0.1,
    "mask_channel_prob": 0.3,
    "mask_channel_length": 2,
    "disable_validation": False,
}


def count_zeros(state):
    params = prunable_parameters(state)
    return sum(int((p == 0).sum()) for p in params.values()), sum(
        p.numel() for p in params.values()
    )


def finetune_and_keep(cfg, updates):
    """Run to the end, keeping a checkpoint of every ``updates`` updates."""
    cfg.checkpoint.save_interval_updates = updates
    return finetune(cfg)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize(
    "validated",
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=["validated", "not_validated"],
)
def test_every_checkpoint_is_sparse(corpus, encoder, tmp_path, method, validated):
    options = {"sparsity": 0.45, **method}
    cfg = training_config(
        corpus, encoder, tmp_path, max_update=10, disable_validation=not validated, **options
    )
    finetune_and_keep(cfg, 3)
    files = sorted(tmp_path.glob("checkpoint*.pt"))
    assert {"checkpoint_last.pt", "checkpoint_1_3.pt"} <= {file.name for file in files}
    for file in files:
        zeros, total = count_zeros(load(file)["model"])
        dense_zeros = zeros if options["sparsity"] == 0 else round(0.45 * total)
        assert zeros == dense_zeros, file.name


def test_a_checkpoint_between_two_prunes_is_the_subnetwork_of_its_weights(
    corpus, encoder, tmp_path
):
    trainer = make_trainer(training_config(corpus, encoder, tmp_path, prune_interval=100))
    from test_training import run

    run(trainer, 3)
    params = {n: p.detach().clone() for n, p in prunable_parameters(trainer.get_model()).items()}
    saved = prunable_parameters(trainer.model.state_dict())
    mask = magnitude_mask(params, 0.5)
    for name, param in params.items():
        assert torch.equal(saved[name], param.masked_fill(~mask[name], 0))
    unchanged = prunable_parameters(trainer.get_model())
    assert all(torch.equal(unchanged[name], param) for name, param in params.items())


def test_stock_fairseq_reads_our_checkpoint(corpus, encoder, tmp_path):
    ours = finetune(training_config(corpus, encoder, tmp_path / "ours", max_update=5))
    stock = make_trainer(
        training_config(corpus, encoder, tmp_path, task="audio_finetuning", arch="wav2vec_ctc")
    )
    stock.get_model().load_state_dict(ours["model"], strict=True)


def test_evaluation_keeps_nothing_that_only_training_needs(corpus, encoder, tmp_path):
    finetune(training_config(corpus, encoder, tmp_path, max_update=1))
    file = tmp_path / "checkpoint_last.pt"
    [model], _, _ = checkpoint_utils.load_model_ensemble_and_task([str(file)])
    assert load(file)["model"]._metadata[""]["parp"]["masters"] is not None
    assert model.resumable is None


slow = pytest.mark.slow


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("stop", [pytest.param(3, marks=slow), 4, pytest.param(7, marks=slow)])
def test_resume_is_exact(corpus, encoder, tmp_path, method, stop):
    """A run that stops after an update, inside an epoch, and goes on."""
    options = {**RANDOM, **method}
    whole_cfg = training_config(corpus, encoder, tmp_path / "whole", **options)
    whole = finetune_and_keep(whole_cfg, stop)

    stop_at(stop, tmp_path / "whole", tmp_path / "resumed")
    resumed_cfg = training_config(corpus, encoder, tmp_path / "resumed", **options)
    again = finetune_and_keep(resumed_cfg, stop)

    assert_same_run(again, whole)


@pytest.mark.parametrize(
    "method, update_freq",
    [
        pytest.param(
            options,
            frequency,
            id=f"{name}-{frequency}",
            marks=[slow] * (frequency == 1 or name in ("dense", "random")),
        )
        for name, options in METHODS.items()
        for frequency in (1, 2)
    ],
)
def test_resume_at_the_end_of_an_epoch_is_exact(corpus, encoder, tmp_path, method, update_freq):
    options = {**RANDOM, **method, "update_freq": f"[{update_freq}]", "no_epoch_checkpoints": None}
    whole = finetune(training_config(corpus, encoder, tmp_path / "whole", **options))
    folder = tmp_path / "resumed"
    stopped = finetune(training_config(corpus, encoder, folder, max_epoch=1, **options))
    assert stopped["extra_state"]["train_iterator"]["epoch"] == 2
    assert_same_run(finetune(training_config(corpus, encoder, folder, **options)), whole)


def assert_same_run(again, whole):
    assert again["optimizer_history"][-1]["num_updates"] == RANDOM["max_update"]
    assert_same(again["model"], whole["model"], "model")
    assert_same(again["model"]._metadata, whole["model"]._metadata, "metadata")
    assert_same(again["last_optimizer_state"], whole["last_optimizer_state"], "optimizer")
    assert again["extra_state"]["best"] == whole["extra_state"]["best"]


def assert_same(a, b, where):
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for index, (x, y) in enumerate(zip(a, b)):
            assert_same(x, y, f"{where}[{index}]")
    elif torch.is_tensor(a):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def test_finetuning_from_a_checkpoint_prunes_what_it_loaded(corpus, encoder, tmp_path):
    source = finetune(
        training_config(corpus, encoder, tmp_path / "dense", sparsity=0, max_update=9)
    )
    cfg = training_config(
        corpus, encoder, tmp_path / "pruned", adjust="false", max_update=1,
        finetune_from_model=tmp_path / "dense" / "checkpoint_last.pt",
    )  # fmt: skip
    pruned = prunable_parameters(finetune(cfg)["model"])
    mask = magnitude_mask(prunable_parameters(source["model"]), 0.5)
    assert all(torch.equal(param == 0, ~mask[name]) for name, param in pruned.items())


@pytest.mark.parametrize(
    "before, after, message",
    [
        (
            {},
            {"sparsity": 0.6},
            r"task.sparsity is 0\.6, but the run to be resumed has 0\.5",
        ),
        ({"sparsity": 0}, {"sparsity": 0.5}, r"task.sparsity is 0\.5, .* has 0\.0"),
        ({}, {"adjust": "false"}, "task.adjust is False, .* has True"),
        ({}, {"prune_interval": 9}, "task.prune_interval is 9, .* has 50"),
        ({"prune_pattern": "layerwise"}, {}, "task.prune_pattern is 'global', .* has 'layerwise'"),
        (  # by default the ramp is half as long as the run
            {"initial_sparsity": 0.1},
            {"initial_sparsity": 0.1},
            "task.ramp_updates is 2, .* has 1",
        ),
    ],
)
def test_resuming_with_other_options_names_them(corpus, encoder, tmp_path, before, after, message):
    finetune(training_config(corpus, encoder, tmp_path, max_update=2, **before))
    with pytest.raises(ValueError, match=message):
        finetune(training_config(corpus, encoder, tmp_path, max_update=4, **after))
    assert not (tmp_path / "crash.pt").exists()
    anew = finetune(
        training_config(corpus, encoder, tmp_path, max_update=4, reset_optimizer=True, **after)
    )
    assert anew["optimizer_history"][-1]["num_updates"] == 4


@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
@pytest.mark.parametrize("form", ["cfg", "args"])
def test_published_forms_are_read(corpus, tmp_path, form, large):
    """wav2vec 2.0 and XLSR-53 were published with an argparse.Namespace under ``args``."""
    path = write_encoder(tmp_path / "encoder.pt", large=large)
    state = load(path)
    if form == "args":
        cfg = state.pop("cfg")
        flat = {**cfg["task"], **cfg["model"]}
        flat.update(arch="wav2vec2", task="audio_pretraining", criterion="wav2vec")
        flat.update(optimizer="adam", lr_scheduler="polynomial_decay")
        del flat["_name"]
        state["args"] = argparse.Namespace(**flat)
        torch.save(state, path)
    checkpoint = finetune(
        training_config(
            corpus, path, tmp_path, max_update=3, normalize=large, mask_channel_prob=0.3,
            mask_channel_length=2,
        )
    )  # fmt: skip
    zeros, total = count_zeros(checkpoint["model"])
    assert zeros == round(0.5 * total)


def test_reading_by_the_command_line_leaves_what_is_allowed_as_it_was(encoder):
    allowed = torch.serialization.get_safe_globals()
    assert argparse.Namespace in allowed  # by models/safe_loading
    read(encoder)
    assert set(torch.serialization.get_safe_globals()) == set(allowed)


def test_a_mask_of_the_pretrained_network_fits_the_finetuned(corpus, encoder, tmp_path):
    pretrained = prunable_parameters(load(encoder)["model"])
    finetuned = finetune(training_config(corpus, encoder, tmp_path, sparsity=0, max_update=2))
    params = prunable_parameters(finetuned["model"])
    mask = magnitude_mask(pretrained, 0.5)
    mask.apply_(params)
    assert sum(int((p == 0).sum()) for p in params.values()) >= mask.num_pruned


class Payload:
    """A pickle that makes a folder when it is loaded the unsafe way."""

    def __init__(self, folder: Path):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("place", ["args", "cfg", "model", "task_state"])
def test_a_payload_in_a_checkpoint_is_refused_and_does_not_run(corpus, encoder, tmp_path, place):
    state = load(encoder)
    state[place] = {"payload": Payload(tmp_path / "ran")}
    torch.save(state, tmp_path / "encoder.pt")
    with pytest.raises(ValueError, match=r"encoder\.pt: that file is refused"):
        make_trainer(training_config(corpus, tmp_path / "encoder.pt", tmp_path))
    torch.save(state, tmp_path / "checkpoint_last.pt")
    with pytest.raises(Exception, match="Weights only load failed"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "checkpoint_last.pt"))
    with pytest.raises(Exception, match="Weights only load failed"):
        transcribe(corpus, tmp_path / "checkpoint_last.pt", tmp_path / "out")
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists(), "the payload is a live one"


def test_the_project_never_loads_unsafely():
    sources = Path(__file__).parents[1]
    unsafe = "weights_only=" + "False"
    for folder in ("parp_fairseq", "manifests", "benchmarks", "tests"):
        for file in (sources / folder).rglob("*.py"):
            assert unsafe not in file.read_text(), file
