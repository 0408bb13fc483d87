"""parp report: what it says of a study is what lies there, and what is missing is named."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy.stats import ttest_1samp

from parp_fairseq.cli import main as parp
from parp_fairseq.cli.report.figures import _LOOKS, _draw_by_method, _labels_of, draw_layers
from parp_fairseq.cli.report.masks import MasksAtSparsity
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


# Of 100 words, the number of wrong ones is the error rate in percent.
WORDS = ["AB"] * 100
OPTIONS = {
    "dense": {"sparsity": 0.0},
    "imp": {"adjust": False, "mask_file": "initial_mask.safetensors"},
    "parp": {},
}


def config_of(method: str, sparsity: float, seed: int) -> dict:
    task = {"sparsity": sparsity, "adjust": True, "initial_sparsity": None, "mask_file": None}
    task |= {"prune_criterion": "magnitude", "data": f"/data/{seed}", **OPTIONS[method]}
    task["method"] = method
    common = {"seed": seed, "log_format": "json"}
    logging = {"handlers": {"file": {"filename": f"/runs/{method}-{sparsity}-{seed}/x.log"}}}
    return {
        "_name": None,
        "job_logging_cfg": logging,
        "common": common,
        "task": task,
        "optimization": {"lr": [0.1]},
        "optimizer": {"lr": [0.1]},
    }


def write_config(run: Path, config: dict) -> None:
    """As fairseq does when a training starts."""
    with (run / "hydra_train.log").open("a") as log:
        text = str(config).replace("'magnitude'", "magnitude")  # an enumeration
        log.write(f"[2021-06-10][fairseq_cli.train][INFO] - {text}\n")


def write_score(run: Path, split: str, rate: float, utterances: int = 2) -> None:
    """As fairseq-generate does; with one decimal, the rate is that of the words."""
    wrong, lines = round(10 * rate), []
    for number in range(utterances):
        reference = WORDS * (10 // utterances)
        heard = [
            "XB" if n < wrong - len(reference) * number else "AB" for n in range(len(reference))
        ]
        lines += [f"T-{number}\t{' '.join(reference)}", f"H-{number}\t-1.0\tA B |"]
        lines += [f"D-{number}\t-1.0\t{' '.join(heard)}", f"P-{number}\t-1.0"]
    lines.append(f"Generate {split} with beam=5: WER: {rate}")
    (run / f"{split}.txt").write_text("\n".join(lines) + "\n")


def mask_of(method: str, sparsity: float, seed: int):
    torch.manual_seed(seed + 10 * len(method))
    return magnitude_mask({name: torch.randn(shape) for name, shape in SHAPES.items()}, sparsity)


@pytest.fixture
def study(tmp_path) -> Path:
    return make_study(tmp_path)


@pytest.fixture(scope="module")
def reported(tmp_path_factory) -> Path:
    """A study with its report, for tests that change neither: pictures take a second."""
    folder = make_study(tmp_path_factory.mktemp("reported"))
    assert parp(["report", str(folder)]) == 0
    return folder


def make_study(tmp_path: Path) -> Path:
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
            write_score(folder, split, rate)
        write_config(folder, config_of(method, sparsity, seed))
        lines = []
        for update in (0, 50, 50, 100):  # after a resume an update comes a second time
            stats = {"num_updates": str(update), "nll_loss": f"{3 - update / 100}", "loss": "9"}
            stats["wall"] = f"{update * seed}"
            if update:
                lines.append(f"[2021-06-10][train_inner][INFO] - {json.dumps(stats)}\n")
            if method != "dense":
                lines.append(
                    "[2021-06-10][parp_fairseq.tasks.parp][INFO] - pruned 96 of 320 weights at "
                    f"update {update}: target sparsity {sparsity:.4f}, sparsity {sparsity:.4f}, "
                    f"mask_iou 0.9000, revived {sparsity * update / 1000:.4f}, 0.285 s\n"
                )
        stats = {"valid_num_updates": "100", "valid_wer": "51.5"}
        lines.append(f"[2021-06-10][valid][INFO] - {json.dumps(stats)}\n")
        lines.append('[2021-06-10][train][INFO] - {"train_num_updates": "100"}\n')
        with (folder / "hydra_train.log").open("a") as log:
            log.write("".join(lines))
    plan = {"recipe": "mini", "labels": "ltr", "splits": ["valid", "test"], "overrides": []}
    (tmp_path / "plan.json").write_text(json.dumps({**plan, "runs": runs}))
    return tmp_path


def test_a_decoder_has_its_own_rates_and_intervals(tmp_path, capsys):
    """As for the greedy decoder; speakers are those of the split."""
    study = make_study(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    for file, lines in {
        "test.tsv": ["/audio", "a.flac\t1", "b.flac\t1"],
        "speakers.tsv": ["path\tspeaker", "a.flac\tann", "b.flac\tbob"],
    }.items():
        (data / file).write_text("\n".join(lines) + "\n")
    for run in (study / "runs").iterdir():
        method, sparsity, seed = run.name.split("-")
        write_score(run, "test+lm", 40.0 if method == "dense" else 30.0)
        config = config_of(method, float(sparsity), int(seed.removeprefix("seed")))
        config["task"]["data"] = str(data)
        log = run / "hydra_train.log"
        rest = [line for line in log.read_text().splitlines(keepends=True) if "] - {'" not in line]
        log.write_text("".join(rest))
        write_config(run, config)
    plan = json.loads((study / "plan.json").read_text())
    (study / "plan.json").write_text(json.dumps({**plan, "splits": ["test+lm", "test"]}))
    assert parp(["report", str(study)]) == 0
    text = (study / "report" / "report.md").read_text()
    section = text[text.index("## WER on test, decoded with lm, %") :].split("\n## ")[0]
    assert row_of(section, "PARP")[1:] == ["", "30.0 ± 0.0", "30.0 ± 0.0"]
    differences = section.split("with 95 % intervals")[1]
    # All errors are in the utterance of one of the two speakers.
    assert row_of(differences, "PARP")[1] == "-10.0 [-20.0, +0.0]"
    assert text.index("## WER on test, %") < text.index("decoded with lm")
    with (study / "report" / "intervals.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test+lm"]
    assert {row["method"] for row in rows} == {"imp", "parp"}
    assert {row["speakers"] for row in rows} == {"2"}


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


def test_differences_are_between_runs_of_one_seed(reported):
    _, text = (reported / "report" / "report.md").read_text().split("Difference to dense", 1)
    assert row_of(text, "PARP") == ["PARP", "-1.8 ± 1.1", "+2.8 ± 1.8"]  # -1, -2.5; +4, +1.5
    assert row_of(text, "IMP") == ["IMP", "+5.0", "+9.0"]


@pytest.mark.parametrize("kept", [{"dense"}, {"imp", "parp"}])
def test_no_differences_where_there_is_nothing_to_compare(study, kept, capsys):
    plan = json.loads((study / "plan.json").read_text())
    plan["runs"] = [run for run in plan["runs"] if run["method"] in kept]
    (study / "plan.json").write_text(json.dumps(plan))
    report(study, capsys)
    assert "Difference to dense" not in (study / "report" / "report.md").read_text()


def test_the_whole_chain_is_paid(reported):
    runs = {row["run"]: row for row in table(reported, "runs.csv")}
    assert float(runs["imp-0.6-seed1"]["sparsity_measured"]) == 0.6
    taken = {name: (int(r["trainings"]), int(r["updates"])) for name, r in runs.items()}
    assert taken["parp-0.6-seed2"] == taken["dense-0-seed1"] == (1, 100)
    assert taken["imp-0.6-seed1"] == (3, 300)
    assert float(runs["imp-0.6-seed1"]["seconds"]) == 300
    assert float(runs["parp-0.6-seed2"]["seconds"]) == 200
    assert {row["utterances_test"] for row in runs.values()} == {"2"}


@pytest.mark.parametrize(
    "option, found, message",
    [
        ("common.seed", 7, "planned seed 1, and it was trained with 7"),
        ("task.sparsity", 0.3, "planned sparsity 0.6, and it was trained with 0.3"),
        ("task.sparsity", 0.0, "planned sparsity 0.6, and it was trained with 0.0"),
        ("task.adjust", False, "planned method parp, and it was trained with mpi"),
        ("task.initial_sparsity", 0.1, "planned method parp, and it was trained with parp_p"),
    ],
)
def test_a_run_that_is_not_what_was_planned_stops_the_report(study, option, found, message, capsys):
    config = config_of("parp", 0.6, 1)
    group, name = option.split(".")
    config[group][name] = found
    write_config(study / "runs" / "parp-0.6-seed1", config)
    with pytest.raises(SystemExit):
        parp(["report", str(study)])
    assert f"parp-0.6-seed1: the study {message}" in capsys.readouterr().err
    assert not (study / "report").exists()


def test_a_model_that_is_less_sparse_than_planned_stops_the_report(study, capsys):
    mask_of("parp", 0.55, 1).save(study / "runs" / "parp-0.6-seed1" / "mask.safetensors")
    with pytest.raises(SystemExit):
        parp(["report", str(study)])
    error = capsys.readouterr().err
    assert "parp-0.6-seed1: the study planned sparsity 0.6, and its model has 0.55" in error


def test_runs_of_other_settings_are_not_averaged(study, capsys):
    config = config_of("parp", 0.6, 2)
    config["optimization"]["lr"] = [0.2]
    write_config(study / "runs" / "parp-0.6-seed2", config)
    with pytest.raises(SystemExit):
        parp(["report", str(study)])
    error = capsys.readouterr().err
    assert "parp-0.6-seed2 cannot be averaged: optimization.lr is [0.1] and [0.2]" in error


def test_an_option_that_refers_to_another_has_its_value(study, capsys):
    def log(sparsity, seed, backend, of_model):
        config = config_of("parp", sparsity, seed)
        config["optimization"]["backend"] = backend
        config["model"] = {"backend": of_model}
        write_config(study / "runs" / f"parp-{sparsity}-seed{seed}", config)

    refers = "${optimization.backend}"
    for sparsity, seed, of_model in ((0.3, 1, "a"), (0.3, 2, "a"), (0.6, 1, refers), (0.6, 2, "a")):
        log(sparsity, seed, "a", of_model)
    report(study, capsys)
    log(0.6, 2, "b", refers)
    with pytest.raises(SystemExit):
        parp(["report", str(study)])
    assert "model.backend is a and b" in capsys.readouterr().err


def test_settings_that_differ_between_methods_are_noted(study, capsys):
    report(study, capsys)
    assert "also differ" not in (study / "report" / "report.md").read_text()
    for seed in (1, 2):
        config = config_of("dense", 0.0, seed)
        config["model"] = {"freeze_finetune_updates": 583}
        config["optimization"]["lr"] = [0.4]
        config["optimizer"] = {"lr": [0.4]}
        config["lr_scheduler"] = {"lr": [0.8]}
        write_config(study / "runs" / f"dense-0-seed{seed}", config)
    report(study, capsys)
    text = (study / "report" / "report.md").read_text()
    assert "also differ in `model.freeze_finetune_updates`: dense 583, IMP None, PARP None" in text
    assert "`optimization.lr`: dense [0.4], IMP [0.1], PARP [0.1]" in text
    # A copy is not told twice, another value is.
    assert "optimizer.lr" not in text
    assert "`lr_scheduler.lr`: dense [0.8]" in text


def test_other_utterances_are_in_no_mean(study, capsys):
    write_score(study / "runs" / "parp-0.6-seed2", "test", 12.0, utterances=1)
    said = report(study, capsys)
    assert "parp-0.6-seed2: scored on 1 utterances of test, the other runs on 2" in said
    text = (study / "report" / "report.md").read_text()
    assert row_of(text, "PARP")[3] == "65.0 (1 of 2 seeds)"


def test_not_a_number_is_said_to_be_none(study, capsys):
    path = study / "runs" / "parp-0.6-seed2" / "test.txt"
    path.write_text(path.read_text().replace("WER: 66.0", "WER: nan"))
    with (path.parent / "hydra_train.log").open("a") as log:
        stats = {"num_updates": "120", "loss": "nan", "nll_loss": "nan"}
        log.write(f"[2021-06-10][train_inner][INFO] - {json.dumps(stats)}\n")
    report(study, capsys)
    text = (study / "report" / "report.md").read_text()
    assert row_of(text, "PARP")[3] == "NaN (1 of 2 seeds)"
    assert "the WER of parp-0.6-seed2 on test is NaN" in text
    assert "the training loss of parp-0.6-seed2 is NaN from update 120" in text
    cells = {(r["method"], r["sparsity"]): r for r in table(study, "cells.csv")}
    assert cells["parp", "0.6"]["wer_test_mean"] == cells["parp", "0.6"]["wer_test_std"] == "nan"


def test_tables_for_programs_hold_numbers(study, capsys):
    with (study / "runs" / "parp-0.6-seed2" / "hydra_train.log").open("a") as log:
        log.write('[2021-06-10][train][INFO] - {"train_num_updates": "12000"}\n')
    report(study, capsys)
    texts = {"run", "method", "other", "part"}
    for path in (study / "report").glob("*.csv"):
        rows = table(study, path.name)
        assert rows or path.name == "intervals.csv"
        for row in rows:
            [float(value) for name, value in row.items() if name not in texts and value]
    cells = {(r["method"], r["sparsity"]): r for r in table(study, "cells.csv")}
    assert cells["parp", "0.6"]["updates"] == "6050"


def test_character_error_rates_are_those_of_jiwer(reported):
    jiwer = pytest.importorskip("jiwer")
    runs = {row["run"]: row for row in table(reported, "runs.csv")}
    for name in ("dense-0-seed2", "parp-0.6-seed1"):
        lines = (reported / "runs" / name / "test.txt").read_text().splitlines()
        said = [line.split("\t")[1] for line in lines if line.startswith("T-")]
        heard = [line.split("\t")[2] for line in lines if line.startswith("D-")]
        assert float(runs[name]["cer_test"]) == pytest.approx(
            100 * jiwer.cer(said, heard), abs=1e-4
        )
    assert "## CER on test, %" in (reported / "report" / "report.md").read_text()


def score_by_speakers(study: Path, shift: float = 0.0) -> None:
    """Five speakers with two utterances each; ``shift`` is added to all error rates."""
    data = study / "data"
    data.mkdir()
    speaker_of = {f"{number}.wav": f"s{number // 2}" for number in range(10)}
    for split in ("valid", "test"):
        (data / f"{split}.tsv").write_text("/audio\n" + "".join(f"{p}\t9\n" for p in speaker_of))
    rows = "".join(f"{path}\t{speaker}\n" for path, speaker in speaker_of.items())
    (data / "speakers.tsv").write_text(f"path\tspeaker\n{rows}")
    for method, sparsity, seed, chain, valid, test in RUNS:
        folder = study / "runs" / chain[-1]
        config = config_of(method, sparsity, seed)
        config["task"]["data"] = str(data)
        write_config(folder, config)
        write_score(folder, "valid", valid + shift, utterances=10)
        write_score(folder, "test", test + shift, utterances=10)


def test_intervals_are_those_of_drawn_speakers(study, capsys):
    score_by_speakers(study)
    report(study, capsys)

    # Of ten utterances of 100 words each, the first ones are wrong: see write_score.
    def wrong(rate: float):
        return np.clip(10 * rate - 100 * np.arange(10), 0, 100).reshape(5, 2).sum(1)

    # PARP at 0.6 against dense, seeds 1 and 2.
    differences = (wrong(65.0) - wrong(61.0) + wrong(66.0) - wrong(64.5)) / 2
    generator = np.random.default_rng(7)
    draws = [differences[generator.integers(0, 5, 5)].sum() / 10 for _ in range(20_000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    (row,) = [
        r
        for r in table(study, "intervals.csv")
        if [r[k] for k in ("method", "sparsity", "split", "measure")]
        == ["parp", "0.6", "test", "wer"]
    ]
    assert float(row["difference"]) == pytest.approx(2.75)
    assert (float(row["low"]), float(row["high"])) == pytest.approx((low, high), abs=0.3)
    assert (row["seeds"], row["speakers"]) == ("2", "5")
    text = (study / "report" / "report.md").read_text()
    assert f"+2.8 [{low:+.1f}, {high:+.1f}]" in text
    assert (study / "report" / "difference.png").exists()
    # Over the seeds: 65.0 - 61.0 and 66.0 - 64.5.
    ends = ttest_1samp([4.0, 1.5], 0).confidence_interval(0.95)
    of_seeds = (float(row["seeds_low"]), float(row["seeds_high"]))
    assert of_seeds == pytest.approx(ends, abs=1e-3)
    _, of_seeds = text.split("intervals over the seeds, by Student's t", 1)
    assert row_of(of_seeds, "PARP")[-1] == "+2.8 [{:+.1f}, {:+.1f}]".format(*ends)


def test_one_seed_has_no_interval_over_seeds(study, capsys):
    score_by_speakers(study)
    report(study, capsys)
    rows = table(study, "intervals.csv")
    alone = [row for row in rows if row["seeds"] == "1"]
    assert alone and not any(row["seeds_low"] or row["seeds_high"] for row in alone)
    assert all(row["seeds_low"] for row in rows if row["seeds"] != "1")


def test_without_speakers_there_are_no_intervals(reported):
    text = (reported / "report" / "report.md").read_text()
    assert "There are no intervals: the speakers of test are not known" in text
    assert table(reported, "intervals.csv") == []


def test_overlap_of_seeds_and_learning(reported):
    (pair,) = [r for r in table(reported, "iou_seeds.csv") if r["sparsity"] == "0.6"]
    assert (pair["method"], pair["seed"], pair["other_seed"]) == ("parp", "1", "2")
    ious = {(r["sparsity"], r["method"], r["other"]): r["iou"] for r in table(reported, "iou.csv")}
    assert pair["iou"] == ious["0.6", "parp", "parp"]
    curve = [r for r in table(reported, "learning.csv") if r["run"] == "parp-0.6-seed1"]
    assert [(r["update"], r["loss"], r["valid_error_rate"]) for r in curve] == [
        ("50", "2.5", ""),
        ("100", "2.0", "51.5"),
    ]


def test_what_whole_models_cost(study, capsys):
    for folder in (study / "runs").iterdir():
        facts = {"parameters": 2_000_000, "nonzero": 1_500_000}
        facts |= {"multiply_adds": 3_000_000_000, "nonzero_multiply_adds": 2_500_000_000}
        (folder / "facts.json").write_text(json.dumps(facts))
    report(study, capsys)
    text = (study / "report" / "report.md").read_text()
    _, text = text.split("## Each method and sparsity")
    assert row_of(text, "dense")[-3:] == ["1.7 to 3.3", "1.500", "2.500"]
    assert table(study, "cells.csv")[0]["nonzero"] == "1500000"


@pytest.mark.parametrize("kind, magic", [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_pictures_of_other_formats(study, kind, magic):
    assert parp(["report", str(study), "--format", kind]) == 0
    text = (study / "report" / "report.md").read_text()
    assert f"](error_rate.{kind})" in text
    assert (study / "report" / f"error_rate.{kind}").read_bytes().startswith(magic)
    assert not list((study / "report").glob("*.png"))


def test_latex(study):
    assert parp(["report", str(study), "--format", "latex"]) == 0
    text = (study / "report" / "report.tex").read_text()
    assert re.search(r"PARP +& +& +61.0 \$\\pm\$ 1.4 +& +65.5 \$\\pm\$ 0.7 \\\\", text)
    assert "\\includegraphics[width=\\columnwidth]{error_rate.pdf}" in text
    assert (study / "report" / "error_rate.pdf").exists()
    assert not re.search(r"(?<!\\)[%_#]", re.sub(r"^%.*|\{\w+\.pdf\}", "", text, flags=re.M))


def test_one_damaged_run_is_listed_and_the_others_reported(study, capsys):
    (study / "runs/parp-0.3-seed1/mask.safetensors").write_text("x")
    (study / "runs/dense-0-seed2/hydra_train.log").unlink()
    said = report(study, capsys)
    assert "6 of 8 runs are in the report" in said
    assert re.search(
        r"- parp-0.3-seed1: damaged: mask file .*parp-0.3-seed1/mask.safetensors", said
    )
    assert re.search(r"- dense-0-seed2: damaged: .*hydra_train.log", said)


@pytest.mark.parametrize("count", [1, 20, 40])
def test_a_study_of_any_number_of_sparsities_is_reported(study, count, capsys):
    plan = json.loads((study / "plan.json").read_text())
    template = study / "runs" / "parp-0.6-seed1"
    plan["runs"] = [run for run in plan["runs"] if run["method"] == "dense"]
    for number in range(1, count + 1):
        sparsity = number / (count + 1)
        name = f"parp-{sparsity}-seed1"
        folder = study / "runs" / name
        shutil.copytree(template, folder)
        write_config(folder, config_of("parp", sparsity, 1))
        mask_of("parp", sparsity, 1).save(folder / "mask.safetensors")
        plan["runs"].append(
            {"name": name, "method": "parp", "sparsity": sparsity, "seed": 1, "chain": [name]}
        )
    (study / "plan.json").write_text(json.dumps(plan))
    assert "runs are finished" in report(study, capsys)
    assert len(table(study, "cells.csv")) == count + 1
    # A table for people stays narrow.
    text = (study / "report" / "report.md").read_text()
    assert max(map(len, text.splitlines())) < 500


def test_agreement_of_masks(reported):
    iou = {
        (r["sparsity"], r["method"], r["other"]): float(r["iou"])
        for r in table(reported, "iou.csv")
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


def test_sparsity_of_layers_and_projections(reported):
    found = {
        r["part"]: float(r["sparsity_measured"])
        for r in table(reported, "layers.csv")
        if (r["method"], r["sparsity"]) == ("parp", "0.3")
    }
    masks = [mask_of("parp", 0.3, seed) for seed in (1, 2)]
    for part in ("0", "1", "k_proj", "fc1"):
        names = [name for name in SHAPES if f".{part}." in name]
        shares = [np.mean([~mask[name].numpy() for name in names]) for mask in masks]
        assert found.pop(part) == pytest.approx(np.mean(shares), abs=1e-6)
    assert not found


def test_masks_without_projections_are_drawn(tmp_path):
    """Such as those of a study of the feature extractor."""
    at = MasksAtSparsity(0.5, ["parp"], [[None]], {"parp": {}}, {"parp": {"other": [0.5]}})
    draw_layers(tmp_path / "layers.png", at)
    assert (tmp_path / "layers.png").stat().st_size > 1000


def test_revived_over_time(reported):
    rows = [r for r in table(reported, "pruning.csv") if r["run"] == "parp-0.6-seed1"]
    found = [(int(r["update"]), float(r["revived"])) for r in rows]
    assert found == [(0, 0.0), (50, 0.03), (100, 0.06)]
    assert not [r for r in table(reported, "pruning.csv") if r["run"].startswith("dense")]


def test_a_log_line_that_is_cut_short_is_passed_over(study, capsys):
    """As by a full disk; the run that goes on writes behind it."""
    log = study / "runs" / "parp-0.6-seed1" / "hydra_train.log"
    whole = log.read_text()
    log.write_text(f"{whole[:80]}[2021-06-10][fairseq.trainer][INFO] - Loaded\n{whole}")
    report(study, capsys)
    rows = [r for r in table(study, "pruning.csv") if r["run"] == "parp-0.6-seed1"]
    assert [int(r["update"]) for r in rows] == [0, 50, 100]


def test_each_method_has_its_look():
    assert _LOOKS.keys() == TITLES.keys()
    assert len(set(_LOOKS.values())) == len(_LOOKS)


@pytest.mark.parametrize("number, rotation", [(3, 0), (8, 30)])
def test_names_of_many_methods_are_slanted(number, rotation):
    axes = Figure().subplots()
    _draw_by_method(axes, dict.fromkeys(list(TITLES)[-number:], (1.0, 0.5, 1.5)))
    assert [label.get_rotation() for label in axes.get_xticklabels()] == [rotation] * number


def test_labels_of_sparsities_do_not_touch():
    assert _labels_of([0, 0.05, 0.1, 0.5, 0.7, 0.9]) == ["0", "", "0.1", "0.5", "0.7", "0.9"]
    assert _labels_of([0.88, 0.9, 0.97, 1]) == ["0.88", "0.9", "0.97", "1"]


def test_pictures_are_those_that_the_text_shows(reported):
    text = (reported / "report" / "report.md").read_text()
    for name in ("error_rate", "learning", "iou", "layers", "revived"):
        assert f"]({name}.png)" in text
        assert (reported / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


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
        "3 of 8 runs are in the report",
        "- parp-0.3-seed2: failed: FloatingPointError: Minimum loss scale",
        "- imp-0.3-seed1: unfinished: 100 updates logged",
        "- imp-0.6-seed1: waits for imp-0.3-seed1",
        "- parp-0.6-seed1: not started",
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
    _, text = text.split("Difference to dense", 1)
    assert row_of(text, "PARP")[1:] == ["-1.0 (1 of 2 seeds)", "missing"]  # no dense of seed 2


def test_phones_have_a_phone_error_rate(study, capsys):
    plan = json.loads((study / "plan.json").read_text())
    (study / "plan.json").write_text(json.dumps({**plan, "labels": "phn"}))
    report(study, capsys)
    assert "## PER on test, %" in (study / "report" / "report.md").read_text()
    for name in ("runs.csv", "cells.csv"):  # the characters of phones mean nothing
        assert not [header for header in table(study, name)[0] if header.startswith("cer")]


def test_the_same_study_gives_the_same_bytes(study, capsys):
    report(study, capsys)
    first = {path.name: path.read_bytes() for path in (study / "report").iterdir()}
    report(study, capsys)
    assert {path.name: path.read_bytes() for path in (study / "report").iterdir()} == first


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda s: (s / "plan.json").unlink(), "plan.json does not exist: expected the folder of"),
        (lambda s: (s / "plan.json").write_text("{"), "plan.json is not the plan of a study"),
        (
            lambda s: (s / "plan.json").write_text('{"recipe": 1}'),
            "plan.json is not the plan of a study",
        ),
        (
            lambda s: [path.unlink() for path in s.glob("runs/*/model.pt")],
            "has no finished run yet, of 8: dense-0-seed1: unfinished: 100 updates logged",
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
