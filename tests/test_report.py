"""parp report: what it says of a study is what lies there, and what is missing is named."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from parp_fairseq.cli import main as parp
from parp_fairseq.cli.report.figures import _LOOKS
from parp_fairseq.cli.report.runs import TITLES
from parp_fairseq.pruning import magnitude_mask

SHAPES = {
    f"encoder.layers.{layer}.{part}": (8, 10)
    for layer in range(2)
    for part in ("self_attn.k_proj.weight", "fc1.weight")
}
# method, sparsity, seed, the runs it takes, error rates on valid and test
RUNS = [
    ("dense", 0.0, 1, ["dense-0-seed1"], 51.0, 61.0),
    ("dense", 0.0, 2, ["dense-0-seed2"], 53.0, 64.5),
    ("imp", 0.3, 1, ["dense-0-seed1", "imp-0.3-seed1"], 55.0, 66.0),
    ("imp", 0.6, 1, ["dense-0-seed1", "imp-0.3-seed1", "imp-0.6-seed1"], 58.0, 70.0),
    ("parp", 0.3, 1, ["parp-0.3-seed1"], 50.0, 60.0),
    ("parp", 0.3, 2, ["parp-0.3-seed2"], 50.5, 62.0),
    ("parp", 0.6, 1, ["parp-0.6-seed1"], 49.0, 65.0),
    ("parp", 0.6, 2, ["parp-0.6-seed2"], 52.0, 66.0),
]


def mask_of(method: str, sparsity: float, seed: int):
    torch.manual_seed(seed + 10 * len(method))
    return magnitude_mask({name: torch.randn(shape) for name, shape in SHAPES.items()}, sparsity)


@pytest.fixture
def study(tmp_path) -> Path:
    """A folder as recipes/study/ leaves it, of runs that all took 100 updates."""
    runs = []
    for method, sparsity, seed, chain, valid, test in RUNS:
        name = chain[-1]
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        runs.append(
            {"name": name, "method": method, "sparsity": sparsity, "seed": seed, "chain": chain}
        )
        mask_of(method, sparsity, seed).save(folder / "mask.safetensors")
        (folder / "model.pt").touch()
        (folder / "train.log").touch()
        for split, rate in (("valid", valid), ("test", test)):
            (folder / f"{split}.txt").write_text(
                "H-0\t0\tA B\nP-0\t0\nH-1\t0\tA\nP-1\t0\n"
                f"Generate {split} with beam=5: WER: {rate:.2f}\n"
            )
        lines = []
        for update in (50, 50, 100):  # after a resume an update comes a second time
            stats = {"num_updates": str(update), "loss": "3.1"}
            if method != "dense":
                revived = f"{sparsity * update / 1000}"
                stats.update(sparsity=f"{sparsity}", revived=revived, mask_iou="0.9")
            lines.append(f"[2021-06-10][train_inner][INFO] - {json.dumps(stats)}\n")
        lines.append('[2021-06-10][train][INFO] - {"train_num_updates": "100"}\n')
        (folder / "hydra_train.log").write_text("".join(lines))
    plan = {"recipe": "mini", "labels": "ltr", "splits": ["valid", "test"], "overrides": []}
    (tmp_path / "plan.json").write_text(json.dumps({**plan, "runs": runs}))
    return tmp_path


def report(study: Path, capsys) -> str:
    assert parp(["report", str(study)]) == 0
    return capsys.readouterr().out


def table(study: Path, name: str):
    with (study / "report" / name).open() as file:
        return list(csv.DictReader(file))


def row_of(text: str, first: str):
    return next(
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(f"| {first} ")
    )


def test_means_and_spreads_are_those_of_the_seeds(study, capsys):
    assert "All 8 runs are finished" in report(study, capsys)
    for row in table(study, "cells.csv"):
        of_cell = [r for r in RUNS if (r[0], f"{r[1]}") == (row["method"], row["sparsity"])]
        assert int(row["seeds"]) == int(row["seeds_planned"]) == len(of_cell)
        for split, rates in (("valid", [r[4] for r in of_cell]), ("test", [r[5] for r in of_cell])):
            assert float(row[f"wer_{split}_mean"]) == pytest.approx(np.mean(rates), abs=1e-4)
            spread = row[f"wer_{split}_std"]
            if len(rates) > 1:
                assert float(spread) == pytest.approx(np.std(rates, ddof=1), abs=1e-4)
            else:
                assert spread == ""
    text = (study / "report" / "report.md").read_text()
    assert row_of(text, "dense") == ["dense", "62.8 ± 2.5", "", ""]  # the test split is first
    assert row_of(text, "PARP") == ["PARP", "", "61.0 ± 1.4", "65.5 ± 0.7"]
    assert row_of(text, "IMP") == ["IMP", "", "66.0", "70.0"]


def test_differences_are_between_runs_of_one_seed(study, capsys):
    report(study, capsys)
    _, text = (study / "report" / "report.md").read_text().split("Less that of the dense model")
    assert row_of(text, "PARP") == ["PARP", "-1.8 ± 1.1", "+2.8 ± 1.8"]  # -1, -2.5; +4, +1.5
    assert row_of(text, "IMP") == ["IMP", "+5.0", "+9.0"]


@pytest.mark.parametrize("kept", [{"dense"}, {"imp", "parp"}])
def test_no_differences_where_there_is_nothing_to_compare(study, kept, capsys):
    plan = json.loads((study / "plan.json").read_text())
    plan["runs"] = [run for run in plan["runs"] if run["method"] in kept]
    (study / "plan.json").write_text(json.dumps(plan))
    report(study, capsys)
    assert "Less that of the dense model" not in (study / "report" / "report.md").read_text()


def test_sparsity_is_measured_and_the_whole_chain_is_paid(study, capsys):
    mask_of("parp", 0.55, 1).save(study / "runs" / "parp-0.6-seed1" / "mask.safetensors")
    report(study, capsys)
    runs = {row["run"]: row for row in table(study, "runs.csv")}
    assert float(runs["parp-0.6-seed1"]["sparsity_measured"]) == 0.55  # and not the 0.6 asked for
    assert float(runs["imp-0.6-seed1"]["sparsity_measured"]) == 0.6
    taken = {name: (int(r["trainings"]), int(r["updates"])) for name, r in runs.items()}
    assert taken["parp-0.6-seed2"] == taken["dense-0-seed1"] == (1, 100)
    assert taken["imp-0.6-seed1"] == (3, 300)
    assert {row["utterances_test"] for row in runs.values()} == {"2"}
    assert "0.550000 to 0.600000" in (study / "report" / "report.md").read_text()


def test_agreement_of_masks(study, capsys):
    report(study, capsys)
    iou = {
        (r["sparsity"], r["method"], r["other"]): float(r["iou"]) for r in table(study, "iou.csv")
    }

    def flat(method, sparsity, seed):
        mask = mask_of(method, sparsity, seed)
        return np.concatenate([mask[name].numpy().ravel() for name in SHAPES])

    def reference(a, b):
        return (a & b).sum() / (a | b).sum()

    one, other = flat("parp", 0.6, 1), flat("parp", 0.6, 2)
    assert iou["0.6", "parp", "parp"] == pytest.approx(reference(one, other), abs=1e-6)
    same_seed = reference(one, flat("imp", 0.6, 1))
    assert iou["0.6", "imp", "parp"] == iou["0.6", "parp", "imp"]
    assert iou["0.6", "imp", "parp"] == pytest.approx(same_seed, abs=1e-6)
    assert ("0.6", "imp", "imp") not in iou  # one seed agrees with no other


def test_sparsity_of_layers_and_projections(study, capsys):
    report(study, capsys)
    found = {
        r["part"]: float(r["sparsity_measured"])
        for r in table(study, "layers.csv")
        if (r["method"], r["sparsity"]) == ("parp", "0.3")
    }
    masks = [mask_of("parp", 0.3, seed) for seed in (1, 2)]
    for part in ("0", "1", "k_proj", "fc1"):
        names = [name for name in SHAPES if f".{part}." in name]
        shares = [np.mean([~mask[name].numpy() for name in names]) for mask in masks]
        assert found.pop(part) == pytest.approx(np.mean(shares), abs=1e-6)
    assert not found


def test_revived_over_time(study, capsys):
    report(study, capsys)
    rows = [r for r in table(study, "pruning.csv") if r["run"] == "parp-0.6-seed1"]
    assert [(int(r["update"]), float(r["revived"])) for r in rows] == [(50, 0.03), (100, 0.06)]
    assert not [r for r in table(study, "pruning.csv") if r["run"].startswith("dense")]


def test_a_log_line_that_is_cut_short_is_passed_over(study, capsys):
    """As by a full disk; the run that goes on writes behind it."""
    log = study / "runs" / "parp-0.6-seed1" / "hydra_train.log"
    whole = log.read_text()
    log.write_text(f"{whole[:80]}[2021-06-10][fairseq.trainer][INFO] - Loaded\n{whole}")
    report(study, capsys)
    rows = [r for r in table(study, "pruning.csv") if r["run"] == "parp-0.6-seed1"]
    assert [int(r["update"]) for r in rows] == [50, 100]


def test_each_method_has_its_look():
    assert _LOOKS.keys() == TITLES.keys()


def test_pictures_are_those_that_the_text_shows(study, capsys):
    report(study, capsys)
    text = (study / "report" / "report.md").read_text()
    for name in ("error_rate", "iou", "layers", "revived"):
        assert f"]({name}.png)" in text
        assert (study / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_runs_that_are_not_finished_are_named_and_in_no_mean(study, capsys):
    runs = study / "runs"
    for name in ("parp-0.3-seed2", "imp-0.3-seed1", "parp-0.6-seed1"):
        (runs / name / "model.pt").unlink()
    (runs / "parp-0.3-seed2" / "train.log").write_text(
        "Traceback (most recent call last):\n  ...\nFloatingPointError: Minimum loss scale\n"
    )
    (runs / "parp-0.6-seed1" / "train.log").unlink()
    (runs / "dense-0-seed2" / "test.txt").write_text("H-0\t0\tA B\n")  # cut short

    said = report(study, capsys)
    text = (study / "report" / "report.md").read_text()
    for told in (
        "3 of 8 runs are finished",
        "- parp-0.3-seed2: failed: FloatingPointError: Minimum loss scale",
        "- imp-0.3-seed1: unfinished: 100 updates logged",
        "- imp-0.6-seed1: waits for imp-0.3-seed1",
        "- parp-0.6-seed1: not begun",
        "- dense-0-seed2: trained, but not scored on test",
    ):
        assert told in said
        assert told in text
    assert {row["run"] for row in table(study, "runs.csv")} == {
        "dense-0-seed1",
        "parp-0.3-seed1",
        "parp-0.6-seed2",
    }
    assert row_of(text, "dense")[1] == "61.0 (1 of 2 seeds)"
    assert row_of(text, "PARP")[2:] == ["60.0 (1 of 2 seeds)", "66.0 (1 of 2 seeds)"]
    assert row_of(text, "IMP")[2:] == ["missing", "missing"]
    _, text = text.split("Less that of the dense model")
    assert row_of(text, "PARP")[1:] == ["-1.0 (1 of 2 seeds)", "missing"]  # no dense of seed 2


def test_phones_have_a_phone_error_rate(study, capsys):
    plan = json.loads((study / "plan.json").read_text())
    (study / "plan.json").write_text(json.dumps({**plan, "labels": "phn"}))
    report(study, capsys)
    assert "## PER on test, %" in (study / "report" / "report.md").read_text()


def test_the_same_study_gives_the_same_bytes(study, capsys):
    report(study, capsys)
    first = {path.name: path.read_bytes() for path in (study / "report").iterdir()}
    report(study, capsys)
    assert {path.name: path.read_bytes() for path in (study / "report").iterdir()} == first


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda s: (s / "plan.json").unlink(), "plan.json does not exist: expected the folder of"),
        (lambda s: (s / "plan.json").write_text("{"), "plan.json is no plan of a study"),
        (
            lambda s: (s / "plan.json").write_text('{"recipe": 1}'),
            "plan.json is no plan of a study",
        ),
        (
            lambda s: [path.unlink() for path in s.glob("runs/*/model.pt")],
            "holds no finished run yet, of 8: dense-0-seed1: unfinished: 100 updates logged",
        ),
        (
            lambda s: (s / "runs/parp-0.3-seed1/mask.safetensors").write_text("x"),
            "mask file .*runs/parp-0.3-seed1/mask.safetensors",
        ),
    ],
)
def test_what_is_no_study_is_refused(study, damage, message, capsys):
    damage(study)
    with pytest.raises(SystemExit) as left:
        parp(["report", str(study)])
    assert left.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("parp: error: ")
    assert re.search(message, error)
    assert not (study / "report").exists()
