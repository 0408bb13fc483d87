"""Configs that composing.py makes are those of Hydra."""

import fairseq.dataclass.utils
from composing import compose, hydra_compose, remember_configs
from fairseq import options
from fairseq_runs import parse, training_config

LINES = [
    {},
    {"sparsity": "nan", "prune_interval": 7, "adjust": "false", "lr": "[0.1,0.2]", "max_update": 2},
    {"prune_scope": r"re:(a|b)\.c{2}$ 'q'", "mask_file": "a b=c,d.pt", "adam_betas": "(0.5,0.6)"},
    {"optimizer": "sgd", "momentum": 0.9},
    {"arch": "wav2vec_ctc", "task": "audio_finetuning"},
]


def configs(tmp_path, monkeypatch, how):
    monkeypatch.setattr(fairseq.dataclass.utils, "compose", how)
    found = [training_config(tmp_path, tmp_path / "e.pt", tmp_path / "s", **one) for one in LINES]
    line = [str(tmp_path), "--task", "parp", "--path", "x.pt", "--beam", "3"]
    found.append(parse(options.get_generation_parser(default_task="parp"), line))
    return list(map(str, found))  # nan is not equal to itself


def test_configs_are_those_of_hydra(tmp_path, monkeypatch):
    expected = configs(tmp_path, monkeypatch, hydra_compose)
    for _ in range(2):  # composed, and remembered
        assert configs(tmp_path, monkeypatch, compose) == expected


def test_what_one_test_changes_no_other_sees(tmp_path):
    remember_configs()
    first = training_config(tmp_path, None, tmp_path)
    first.task.sparsity, first.optimization.lr = 0.9, [7.0]
    again = training_config(tmp_path, None, tmp_path)
    assert (again.task.sparsity, again.optimization.lr) == (0.5, [0.003])
