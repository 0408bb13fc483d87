"""recipes/study/: a study from nothing to its report, and killed on the way; the real programs."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from parp_fairseq.pruning import Mask

pytest.importorskip("snakemake", reason="Snakemake needs Python 3.11")
psutil = pytest.importorskip("psutil")  # comes with Snakemake

STUDY = Path(__file__).parents[1] / "recipes" / "study"
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
SMALL = {
    "recipe": "mini",
    "encoder": "{repository}/manifests/mini/encoder.pt",
    "data": "data",
    "prepare": "python {repository}/manifests/mini.py {repository}/manifests/mini {data}",
    "sparsities": [0.5],
    "imp_rounds": [0.3, 0.5],
    "seeds": [1],
    "splits": ["test"],
    "overrides": [
        "optimization.max_update=12",
        "task.prune_interval=2",
        "common.log_interval=2",
        "checkpoint.save_interval_updates=4",
        "dataset.disable_validation=true",
        "dataset.num_workers=0",
        "dataset.max_tokens=160000",
    ],
}
LIBRISPEECH = [
    f"librispeech_{hours}_{size}" for hours in ("10m", "1h", "10h") for size in ("base", "large")
]


def command(folder: Path, study: dict, *options):
    folder.mkdir(exist_ok=True)
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(study))
    return [SNAKEMAKE, "-s", STUDY / "Snakefile", "--configfile", file, "-d", folder, *options]


def snakemake(folder: Path, study: dict, *options) -> str:
    done = subprocess.run(
        [*map(str, command(folder, study, *options))],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + "".join(
        f"\n== {log}\n{log.read_text()[-2000:]}" for log in folder.rglob("*.log")
    )
    return done.stdout


def table(folder: Path, name: str = "runs.csv"):
    with (folder / "report" / name).open() as file:
        return {row["run"]: row for row in csv.DictReader(file)}


def starts(run: Path) -> int:
    return (run / "hydra_train.log").read_text().count("num. shared model params")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    snakemake(folder, SMALL, "-j", 2)
    return folder


def test_all_methods_from_nothing_to_a_report(undisturbed):
    runs = table(undisturbed)
    taken = {row["method"]: (int(row["trainings"]), int(row["updates"])) for row in runs.values()}
    assert taken == {
        "dense": (1, 12),
        "rp": (1, 12),
        "mpi": (1, 12),
        "omp": (2, 24),
        "imp": (3, 36),
        "parp": (1, 12),
        "parp_p": (1, 12),
    }
    for row in runs.values():
        assert float(row["sparsity_measured"]) == float(row["sparsity"])
        assert int(row["utterances_test"]) == 49
        assert float(row["wer_test"]) > 0
    # What is shared ran once: the dense model and IMP's first round serve others too.
    trained = sorted((undisturbed / "runs").iterdir())
    assert len(trained) == 8
    assert [starts(run) for run in trained] == [1] * 8
    assert not list(undisturbed.rglob("checkpoint*"))
    round1, round2, final = (
        Mask.load(undisturbed / "runs" / name)
        for name in (
            "imp-0.3-seed1/mask.safetensors",
            "imp-0.5-seed1/initial_mask.safetensors",
            "imp-0.5-seed1/mask.safetensors",
        )
    )
    assert round1.sparsity == pytest.approx(0.3, abs=1e-6)
    assert round2 == final
    assert round2.num_revived(round1) == 0
    text = (undisturbed / "report" / "report.md").read_text()
    assert "All 7 runs are finished" in text


def test_nothing_is_left_to_do(undisturbed):
    assert "Nothing to be done" in snakemake(undisturbed, SMALL, "-n")


def test_a_study_of_fewer_runs_is_reported_anew(undisturbed):
    planned = snakemake(undisturbed, {**SMALL, "methods": ["dense", "parp"]}, "-n")
    assert re.findall(r"rule (\w+):", planned) == ["report", "all"]


def test_killed_and_started_again_it_ends_in_the_same_report(undisturbed, tmp_path):
    """Killed with all that it started, while a training that others wait for is under way."""
    study = {**SMALL, "methods": ["omp", "parp"]}
    runs = tmp_path / "runs"
    arguments = [*map(str, command(tmp_path, study, "-j", 1, "-q"))]
    with subprocess.Popen(arguments, start_new_session=True) as killed:
        wait_until(lambda: runs.is_dir() and is_half_done(runs), killed)
        os.killpg(killed.pid, signal.SIGKILL)
    finished = {path: path.stat().st_mtime_ns for path in runs.glob("*/model.pt")}
    half = next(path.parents[1] for path in runs.glob("*/checkpoints-*/checkpoint_last.pt"))
    assert finished
    assert not (half / "model.pt").exists()

    snakemake(tmp_path, study, "-j", 2)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert [starts(path.parent) for path in finished] == [1] * len(finished)
    assert starts(half) == 2
    assert re.search(r"Loaded checkpoint .* \(epoch \d+ @ \d+ updates\)", read_log(half))

    reference = table(undisturbed)
    assert table(tmp_path) == {name: reference[name] for name in table(tmp_path)}
    assert len(table(tmp_path)) == 2
    for name in table(tmp_path):
        ours, theirs = (
            Mask.load(d / "runs" / name / "mask.safetensors") for d in (tmp_path, undisturbed)
        )
        assert ours == theirs


def test_a_training_that_dies_is_no_finished_run(tmp_path):
    study = {**SMALL, "methods": ["dense"]}
    arguments = [*map(str, command(tmp_path, study, "-j", 1, "-q"))]
    run = tmp_path / "runs" / "dense-0-seed1"
    with subprocess.Popen(arguments) as going_on:
        wait_until(lambda: has_saved(run), going_on)
        children = psutil.Process(going_on.pid).children(recursive=True)
        trainings = [p for p in children if any("hydra-train" in word for word in p.cmdline()[:2])]
        assert len(trainings) == 1
        trainings[0].kill()
    assert going_on.returncode == 1
    assert not (run / "model.pt").exists()
    assert has_saved(run)


@pytest.mark.slow
def test_a_training_that_outlives_its_study_is_waited_for(tmp_path):
    """Killed alone, as by a kernel short of memory: nothing is trained twice side by side."""
    study = {**SMALL, "methods": ["dense"]}
    arguments = [*map(str, command(tmp_path, study, "-j", 1, "-q"))]
    run = tmp_path / "runs" / "dense-0-seed1"
    with subprocess.Popen(arguments) as killed:
        wait_until(lambda: has_saved(run), killed)
        killed.kill()
    snakemake(tmp_path, study, "-j", 1)
    assert starts(run) == 1
    assert "done training" in read_log(run)
    assert list(table(tmp_path)) == [run.name]


def wait_until(happened: Callable[[], bool], process: subprocess.Popen) -> None:
    while not happened():
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)


def has_saved(run: Path) -> bool:
    return any(run.glob("checkpoints-*/checkpoint_last.pt"))


def is_half_done(runs: Path) -> bool:
    """A training is finished, and another one has saved."""
    return any(runs.glob("*/model.pt")) and any(
        path for path in runs.glob("*/checkpoints-*/checkpoint_last.pt")
        if not (path.parents[1] / "model.pt").exists()
    )  # fmt: skip


def read_log(run: Path) -> str:
    return (run / "hydra_train.log").read_text()


@pytest.mark.parametrize("recipe", [*LIBRISPEECH, "commonvoice_xlsr53"])
def test_studies_of_large_encoders_are_ready_for_slurm(recipe, tmp_path):
    name = "librispeech" if recipe in LIBRISPEECH else "commonvoice"
    splits = ["dev_clean", "dev_other", "test_clean", "test_other"]
    splits = splits if name == "librispeech" else ["valid", "test"]
    for split in ("train", *splits):
        (tmp_path / f"{split}.tsv").touch()
    (tmp_path / "encoder.pt").touch()
    given = ["--config", f"data={tmp_path}", f"encoder={tmp_path / 'encoder.pt'}"]
    given += [f"recipe={recipe}"] * (name == "librispeech")
    line = [SNAKEMAKE, "-s", STUDY / "Snakefile", "--configfile", STUDY / f"{name}.yaml"]
    line += ["-d", tmp_path / "out", "-n", "-p", "--workflow-profile", "slurm", *given]
    done = subprocess.run([*map(str, line)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # Six methods at nine sparsities, and the dense one; masks of OMP and of IMP's rounds.
    assert re.search(rf"score +{55 * len(splits)}\ntotal", re.sub(r"\n(report|all) .*", "", said))
    assert re.search(r"train +55\n", said)
    assert re.search(r"mask +18\n", said)
    assert f"--config-name {recipe} " in said
    assert "gpu=4" in said
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sparsity": [0.5]}, r"'sparsity' was unexpected"),
        (
            {"sparsities": [1.5]},
            r"\$\.sparsities\[0\]: 1\.5 is greater than or equal to the maximum",
        ),
        ({"methods": ["magic"]}, r"\$\.methods\[0\]: 'magic' is not one of \['dense'"),
        ({"imp_rounds": [0.3]}, r"imp_rounds: \[0\.3\], expected all of sparsities, \[0\.5\] too"),
        (
            {"prepare": "python x.py {source}"},
            "source is not given, expected --config source=FOLDER",
        ),
    ],
)
def test_a_study_file_that_is_wrong_is_refused(change, message, tmp_path):
    line = [*map(str, command(tmp_path, {**SMALL, **change}, "-n"))]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search(message, done.stdout + done.stderr)
    assert not (tmp_path / "runs").exists()
