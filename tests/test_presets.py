"""A preset and an option that contradict it: an error that names both."""

from pathlib import Path

import pytest
import yaml
from fairseq_runs import make_trainer, training_config

from parp_fairseq.tasks.presets import METHODS, require_method

PRESETS = Path(__file__).parents[1] / "recipes" / "method"
DEFAULTS = dict(
    method=None, sparsity=0.5, initial_sparsity=None, adjust=True, mask_file=None,
    prune_criterion="magnitude", prune_rule="parp", learn_mask=False, score_init="rank",
    trainable=None,
)  # fmt: skip


def options(method, **changes):
    preset = yaml.safe_load((PRESETS / f"{method}.yaml").read_text())["task"]
    return {**DEFAULTS, **preset, **changes}


@pytest.mark.parametrize("method", METHODS)
def test_each_preset_agrees_with_itself(method):
    chosen = options(method)
    assert chosen["method"] == method
    require_method(chosen)


def test_there_is_a_row_for_each_preset():
    assert set(METHODS) == {path.stem for path in PRESETS.glob("*.yaml")}


@pytest.mark.parametrize(
    "method, changes, message",
    [
        (
            "dense",
            dict(sparsity=0.5),
            r"sparsity is 0\.5, but task\.method is dense .*needs 0",
        ),
        ("dense", dict(mask_file="m"), r"task\.mask_file is m, but task\.method is dense"),
        ("rp", dict(mask_file="m"), r"task\.mask_file is m, .*\+method=rp\), which needs null"),
        ("rp", dict(adjust=True), "task.adjust is true, .*rp.*needs false"),
        ("rp", dict(prune_criterion="magnitude"), "prune_criterion is magnitude, .*needs random"),
        ("mpi", dict(prune_criterion="random"), "prune_criterion is random, .*needs magnitude"),
        ("mpi", dict(mask_file="m"), "mask_file is m, .*mpi"),
        ("omp", dict(mask_file=None), "mask_file is null, .*omp.*needs a mask file"),
        ("imp", dict(adjust=True), "adjust is true, .*imp"),
        ("parp", dict(adjust=False), "adjust is false, .*parp.*needs true"),
        ("parp", dict(initial_sparsity=0.1), r"initial_sparsity is 0\.1, .*parp"),
        ("parp_p", dict(initial_sparsity=None), "initial_sparsity is null, .*parp_p"),
        ("parp_p", dict(adjust=False), "adjust is false, .*parp_p"),
        ("mpi", dict(learn_mask=True), "learn_mask is true, .*mpi.*needs false"),
        ("parp", dict(trainable="bias"), "trainable is bias, .*parp.*needs null"),
        ("s3_router", dict(learn_mask=False), "learn_mask is false, .*s3_router.*needs true"),
        ("s3_router", dict(score_init="magnitude"), "score_init is magnitude, .*needs rank or"),
        ("s3_router_p", dict(score_init="rank"), "score_init is rank, .*needs magnitude"),
        (
            "parp",
            dict(prune_criterion="wanda"),
            "prune_criterion is wanda, .*parp.*needs magnitude",
        ),
        ("parp", dict(prune_rule="rigl"), "prune_rule is rigl, .*parp.*needs parp"),
        ("wanda", dict(prune_criterion="taylor"), "prune_criterion is taylor, .*needs wanda"),
        ("taylor", dict(adjust=False), "adjust is false, .*taylor.*needs true"),
        ("snip", dict(adjust=True), "adjust is true, .*snip.*needs false"),
        ("movement", dict(prune_rule="mine"), "prune_rule is mine, .*movement.*needs parp"),
        ("fisher", dict(prune_criterion="random"), "prune_criterion is random, .*needs fisher"),
        ("rigl", dict(prune_rule="parp"), "prune_rule is parp, .*rigl.*needs rigl"),
        ("bitfit", dict(trainable="head"), "trainable is head, .*bitfit.*needs bias"),
        ("bitfit", dict(sparsity=0.5), r"sparsity is 0\.5, .*bitfit.*needs 0"),
    ],
)
def test_contradictions(method, changes, message):
    with pytest.raises(ValueError, match=message):
        require_method(options(method, **changes))


def test_an_unknown_method():
    with pytest.raises(ValueError, match=r"task\.method is 'lottery', expected null or one of"):
        require_method({**DEFAULTS, "method": "lottery"})


def test_the_task_refuses_them(corpus, encoder, tmp_path):
    with pytest.raises(ValueError, match=r"sparsity is 0\.5, but task\.method is dense"):
        make_trainer(training_config(corpus, encoder, tmp_path, method="dense"))
