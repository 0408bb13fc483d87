"""Promise 10 for options: what is mistaken is named, and nothing is written.

Masks and encoders are in test_bad_files.py, manifests and labels in test_bad_data.py, files that
would run code in test_payloads.py.
"""

import re
from pathlib import Path

import programs
import pytest
from fairseq_runs import finetune, make_trainer, training_config
from omegaconf import OmegaConf

FEATURES = "feature_extractor.conv_layers.0.0.weight"


def assert_refused(message: str, save_dir: Path, cfg) -> None:
    """``fairseq-train`` stops with ``message`` and leaves no file."""
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        finetune(cfg)
    assert not [path for path in save_dir.rglob("*") if path.is_file()]


OPTIONS = {
    "sparsity below 0": (dict(sparsity=-0.1), r"sparsity is -0\.1: expected 0 <= sparsity < 1"),
    "sparsity 1": (dict(sparsity=1), r"sparsity is 1\.0: expected 0 <= sparsity < 1"),
    "sparsity above 1": (dict(sparsity=1.5), r"sparsity is 1\.5: expected 0 <= sparsity < 1"),
    "sparsity nan": (dict(sparsity="nan"), "sparsity is nan: expected 0 <= sparsity < 1"),
    "initial sparsity above sparsity": (
        dict(initial_sparsity=0.9),
        r"initial_sparsity is 0\.9: expected at most sparsity, which is 0\.5",
    ),
    "initial sparsity below 0": (
        dict(initial_sparsity=-0.2),
        r"initial_sparsity is -0\.2: expected 0 <= initial_sparsity < 1",
    ),
    "initial sparsity nan": (
        dict(initial_sparsity="nan"),
        "initial_sparsity is nan: expected 0 <=",
    ),
    "a fixed mask that grows": (
        dict(initial_sparsity=0.1, adjust="false"),
        "initial_sparsity below sparsity needs adjust",
    ),
    "interval 0": (dict(prune_interval=0), "prune_interval is 0: expected at least 1"),
    "interval below 0": (dict(prune_interval=-5), "prune_interval is -5: expected at least 1"),
    "0 epochs": (dict(prune_interval_epochs=0), "prune_interval_epochs is 0: expected at least 1"),
    "-1 epochs": (dict(prune_interval_epochs=-1), "prune_interval_epochs is -1: expected at least"),
    "ramp of 0 updates": (
        dict(initial_sparsity=0.1, ramp_updates=0),
        "ramp_updates is 0: expected at least 1",
    ),
    "ramp without an end": (
        dict(initial_sparsity=0.1, max_update=0, max_epoch=3),
        r"ramp_updates is 0: expected at least 1 .*optimization\.max_update",
    ),
    "criterion": (
        dict(prune_criterion="tailor"),
        "task.prune_criterion: 'tailor' is not a registered criterion: expected one of magnitude, "
        "random, wanda, .* a module of your own .* registers with register_criterion",
    ),
    "rule": (
        dict(prune_rule="rigged"),
        "task.prune_rule: 'rigged' is not a registered rule: expected one of parp, rigl, or",
    ),
    "a rule without re-prunes": (
        dict(prune_rule="rigl", adjust="false"),
        "prune_rule is 'rigl' with task.adjust=false, which never re-prunes",
    ),
    "pattern": (
        dict(prune_pattern="3"),
        "unknown pattern '3': expected global, layerwise, ffn",
    ),
    "pattern 4:2": (dict(prune_pattern="4:2"), "unknown pattern '4:2'.* with 0 < N < M"),
    "pattern 2:4 at another sparsity": (
        dict(prune_pattern="2:4", sparsity=0.6),
        r"pattern 2:4 prunes 2 of every 4 weights: expected sparsity 0\.5, found 0\.6",
    ),
    "pattern 2:4 that grows": (
        dict(prune_pattern="2:4", initial_sparsity=0.1),
        r"pattern 2:4 has the same .*: expected no initial_sparsity, found 0\.1",
    ),
    "pattern 2:4 that does not divide": (
        dict(prune_pattern="2:4", prune_scope="feature_extractor"),
        rf"input dimension that is a multiple of 4: {FEATURES} has shape \(16, 1, 10\)",
    ),
    "pattern 2:4 of a vector": (
        dict(prune_pattern="2:4", prune_scope="re:layer_norm.weight"),
        r"needs an input dimension that is a multiple of 4: .*layer_norm.weight has shape \(16,\)",
    ),
    "scope": (dict(prune_scope="decoder"), "unknown scope 'decoder': expected transformer, feat"),
    "scope that is no regex": (dict(prune_scope="re:("), "'re:\\(' is not a regular expression"),
    "scope that matches nothing": (
        dict(prune_scope="re:decoder"),
        "scope 're:decoder' covers no parameter of this model, which has",
    ),
    "scope that this model lacks": (
        dict(prune_scope=r"re:encoder\.layers\.2\."),
        r"scope 're:encoder.*' covers no parameter of this model",
    ),
    "scope of biases without biases": (
        dict(prune_scope="re:bias$", prune_bias="false"),
        r"scope 're:bias\$' covers no parameter",
    ),
    "mask file that is missing": (
        dict(mask_file="nowhere.safetensors"),
        "mask file nowhere.safetensors does not exist",
    ),
    "sharded optimizer": (dict(zero_sharding="os"), "in shards.*found legacy_ddp and os"),
    "model": (
        dict(arch="wav2vec_ctc"),
        r"is 'wav2vec_ctc', .*: write model\._name=parp_wav2vec_ctc",
    ),
    "labels not given": (dict(labels=None), "task.labels is null"),
    "nothing left of a matrix": (
        dict(sparsity=0.999),
        r"sparsity 0\.999 prunes all weights of .*weight.*: .*task.prune_pattern=layerwise",
    ),
    "nothing left of a matrix, layerwise": (
        dict(sparsity=0.9999, prune_pattern="layerwise"),
        r"sparsity 0\.9999 prunes all weights of encoder\.layers\.0\..*weight",
    ),
}


@pytest.mark.parametrize("changes, message", OPTIONS.values(), ids=OPTIONS)
def test_options(corpus, encoder, tmp_path, changes, message):
    assert_refused(message, tmp_path, training_config(corpus, encoder, tmp_path, **changes))


def test_a_sparsity_that_does_not_grow_needs_no_ramp(corpus, encoder, tmp_path):
    cfg = training_config(corpus, encoder, tmp_path, initial_sparsity=0.5, max_update=0)
    assert make_trainer(cfg).task.pruner.schedule.sparsity_at(0) == 0.5


def test_options_are_told_before_files_are_read(tmp_path):
    cfg = training_config(tmp_path / "nowhere", tmp_path / "nowhere.pt", tmp_path, sparsity=2)
    assert_refused(r"sparsity is 2\.0", tmp_path, cfg)


def test_sharded_weights(corpus, encoder, tmp_path):
    cfg = training_config(corpus, encoder, tmp_path, ddp_backend="fully_sharded")
    with pytest.raises(ValueError, match=r"in shards.*found fully_sharded and none"):
        make_trainer(cfg)


@pytest.mark.parametrize("pattern", [name for name in OPTIONS if name.startswith("pattern")])
def test_patterns_are_told_before_training(corpus, encoder, tmp_path, pattern):
    changes, message = OPTIONS[pattern]
    with pytest.raises(ValueError, match=message):
        make_trainer(training_config(corpus, encoder, tmp_path, **changes))


CHOICES = {
    "ramp": (dict(sparsity_ramp="steep"), "--sparsity-ramp: .*'steep'.*linear"),
    "adjust": (dict(adjust="perhaps"), "--adjust: expected true or false, found 'perhaps'"),
    "sparsity": (dict(sparsity="half"), "--sparsity: invalid float value: 'half'"),
    "interval": (dict(prune_interval="2.5"), "--prune-interval: invalid int value: '2.5'"),
}


@pytest.mark.parametrize("changes, message", CHOICES.values(), ids=CHOICES)
def test_options_that_argparse_refuses(corpus, encoder, tmp_path, capsys, changes, message):
    with pytest.raises(SystemExit) as end:
        training_config(corpus, encoder, tmp_path, **changes)
    assert end.value.code == 2
    assert re.search(message, capsys.readouterr().err)


HYDRA = {
    "sparsity": (dict(sparsity="half"), r"'half'[^$]*sparsity"),
    "sparsity null": (dict(sparsity=None), r"(?i)None[^$]*sparsity"),
    "interval": (dict(prune_interval="often"), r"'often'[^$]*prune_interval"),
    "criterion": (dict(prune_criterion="tailor"), "'tailor' is not a registered criterion"),
    "ramp": (dict(sparsity_ramp="steep"), r"'?steep'?[^$]*linear"),
    "adjust": (dict(adjust="perhaps"), r"perhaps[^$]*adjust"),
    "pattern": (dict(prune_pattern=None), r"(?i)None[^$]*prune_pattern"),
}


@pytest.mark.parametrize("changes, message", HYDRA.values(), ids=HYDRA)
def test_options_from_a_recipe(corpus, encoder, tmp_path, changes, message):
    cfg = training_config(corpus, encoder, tmp_path)
    cfg.task = OmegaConf.create({**OmegaConf.to_container(cfg.task), **changes})
    assert_refused(message, tmp_path, cfg)


def test_a_recipe_through_the_real_program(corpus, encoder, tmp_path):
    recipes = Path(__file__).parents[1] / "recipes"
    done = programs.run(
        "fairseq_cli.hydra_train", "--config-dir", recipes, "--config-name", "mini",
        f"task.data={corpus}", f"model.w2v_path={encoder}", "common.cpu=true",
        f"hydra.run.dir={tmp_path}", "task.sparsity=half",
    )  # fmt: skip
    assert done.returncode != 0
    assert re.search(r"'half'[^$]*sparsity", done.stderr)
    assert not list(tmp_path.rglob("*.pt"))
