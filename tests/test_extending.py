"""docs/extending.md: its package, outside the checkout, in training, evaluation and studies."""

import json
import re
import subprocess
from argparse import Namespace
from pathlib import Path

import programs
import pytest
import torch
import yaml
from fairseq import utils
from fairseq_runs import finetune, make_trainer, training_config, transcribe
from test_checkpoints import assert_same
from test_report import config_of, make_study, write_config
from test_training import updates

from parp_fairseq.cli import main as parp
from parp_fairseq.pruning import build_rule, prunable_parameters

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
STUDY = Path(__file__).parents[1] / "recipes" / "study" / "Snakefile"


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """The package that the page writes, imported as fairseq imports a user dir."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (block,) = re.findall(r"^```bash\n(mkdir my_pruning.*?)^```$", PAGE, re.M | re.S)
    subprocess.run(["bash", "-euc", block], cwd=folder, check=True)
    utils.import_user_module(Namespace(user_dir=str(folder / "my_pruning")))
    return folder / "my_pruning"


def test_the_example_is_short(package):
    assert len((package / "__init__.py").read_text().splitlines()) < 40
    assert type(build_rule("sticky")).__module__ == "my_pruning"


@pytest.fixture(scope="module")
def trained(package, corpus, encoder, tmp_path_factory) -> Path:
    """A training by the rule, with its checkpoints."""
    folder = tmp_path_factory.mktemp("sticky")
    cfg = training_config(corpus, encoder, folder, max_update=6, save_interval_updates=3, **STICKY)
    finetune(cfg)
    return folder


STICKY = dict(
    prune_rule="sticky", prune_criterion="adam_fisher", prune_interval=2, sparsity=0.4,
    prune_pattern="layerwise",
)  # fmt: skip


def test_the_masks_are_those_of_the_rule(package, corpus, encoder, tmp_path):
    """The criterion makes the first mask, at the second update: then Adam has a state."""
    trainer = make_trainer(training_config(corpus, encoder, tmp_path, **{**STICKY, "lr": "[0.01]"}))
    params, mask = prunable_parameters(trainer.get_model()), None
    step = trainer.optimizer.step
    before = {}

    def recorded_step():
        states = trainer.optimizer.optimizer.state
        before.update(
            {n: states[p]["exp_avg_sq"].clone() for n, p in params.items() if p in states}
        )
        step()
        after = {name: param.detach().clone() for name, param in params.items()}
        before["weights"] = after

    trainer.optimizer.step = recorded_step
    for _ in updates(trainer, 6):
        update, now = trainer.get_num_updates(), before["weights"]
        found = trainer.task.pruner.mask
        if update == 1:
            assert found is None
            continue
        if update == 2:
            scores = {name: w.square() * before[name] for name, w in now.items()}
        elif update % 2 == 0:
            scores = {name: w.abs() * (1 + 0.2 * mask[name]) for name, w in now.items()}
        if update % 2 == 0:
            mask = {}
            for name, score in scores.items():
                keep = torch.ones(score.numel(), dtype=torch.bool)
                keep[score.view(-1).argsort(stable=True)[: round(0.4 * len(keep))]] = False
                mask[name] = keep.view(score.shape)
        assert all(torch.equal(found[name], mask[name]) for name in mask), update


def test_it_resumes_exactly(trained, corpus, encoder, tmp_path):
    kept = next(trained.glob("checkpoint_*_3.pt"))
    (tmp_path / "checkpoint_last.pt").write_bytes(kept.read_bytes())
    again = finetune(training_config(corpus, encoder, tmp_path, max_update=6, **STICKY))
    whole = torch.load(trained / "checkpoint_last.pt", weights_only=True)
    assert_same(again["model"], whole["model"], "model")
    assert_same(again["model"]._metadata, whole["model"]._metadata, "metadata")


def test_evaluation_does_not_need_the_package(trained, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("parp_fairseq.pruning.registry._RULES", {})
    monkeypatch.setattr("parp_fairseq.pruning.registry._CRITERIA", {})
    lines = transcribe(corpus, trained / "checkpoint_last.pt", tmp_path / "scored")
    assert sum(line.startswith("H-") for line in lines) == 13


def test_a_study_plans_it(package, tmp_path):
    pytest.importorskip("snakemake", reason="Snakemake needs Python 3.11")
    (block,) = re.findall(r"^cat > sticky.yaml <<EOF\n(.*?)^EOF$", PAGE, re.M | re.S)
    study = yaml.safe_load(block.replace("$PWD", str(package.parent)))
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train.tsv", "train.ltr", "dev_other.tsv", "dev_other.ltr", "dict.ltr.txt"):
        (data / name).touch()
    (tmp_path / "encoder.pt").touch()
    study.update(encoder=str(tmp_path / "encoder.pt"), data=str(data))
    (tmp_path / "sticky.yaml").write_text(yaml.safe_dump(study))
    line = ["-s", STUDY, "--configfile", tmp_path / "sticky.yaml", "-d", tmp_path / "out"]
    done = programs.run("snakemake", *line, "-n", "-p")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert re.search(r"train +3\n", said)
    (command,) = re.findall(r"^ +fairseq-hydra-train.*sticky.*$(?:\n.*\\$)*", said, re.M) or [said]
    assert "++task.prune_rule=" in command and f"common.user_dir={package}" in command


def test_its_report_has_a_row(tmp_path, capsys):
    make_study(tmp_path)
    plan = json.loads((tmp_path / "plan.json").read_text())
    for run in plan["runs"]:
        if run["method"] == "parp":
            run["method"] = "sticky"
            config = config_of("parp", run["sparsity"], run["seed"])
            config["task"]["prune_rule"] = "sticky"
            write_config(tmp_path / "runs" / run["name"], config)
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(SystemExit):
        parp(["report", str(tmp_path)])
    assert "method 'sticky', expected one of" in capsys.readouterr().err
    (tmp_path / "plan.json").write_text(json.dumps({**plan, "own_methods": ["sticky"]}))
    assert parp(["report", str(tmp_path)]) == 0
    assert re.search(r"^\| sticky +\|", (tmp_path / "report" / "report.md").read_text(), re.M)
