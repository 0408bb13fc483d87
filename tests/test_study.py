"""recipes/study/: a study from nothing to its report, also when it is killed; the real programs."""

import csv
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import programs
import pytest
import yaml

from parp_fairseq.cli.report.logs import read_log as read_training_log
from parp_fairseq.pruning import Mask

pytest.importorskip("snakemake", reason="Snakemake needs Python 3.11")
psutil = pytest.importorskip("psutil")  # comes with Snakemake

STUDY = Path(__file__).parents[1] / "recipes" / "study"
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
SMALL = {
    "recipe": "mini",
    "encoder": "{repository}/manifests/mini/encoder.pt",
    "data": "data, a=b's",
    "prepare": "python {repository}/manifests/mini.py {repository}/manifests/mini {data}",
    "methods": ["dense", "imp", "parp"],
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
SAVED = "from-*/checkpoints/checkpoint_last.pt"
LIBRISPEECH = [
    f"librispeech_{hours}_{size}" for hours in ("10m", "1h", "10h") for size in ("base", "large")
]


def arguments(folder: Path, study: dict, *options) -> list:
    folder.mkdir(exist_ok=True)
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(study))
    return ["-s", STUDY / "Snakefile", "--configfile", file, "-d", folder, *options]


def command(folder: Path, study: dict, *options) -> list[str]:
    return [*map(str, [SNAKEMAKE, *arguments(folder, study, *options)])]


def snakemake(folder: Path, study: dict, *options) -> str:
    done = programs.run("snakemake", *arguments(folder, study, *options))
    assert done.returncode == 0, done.stderr + "".join(
        f"\n== {log}\n{log.read_text()[-2000:]}" for log in folder.rglob("*.log")
    )
    return done.stdout + done.stderr


def table(folder: Path, name: str = "runs.csv"):
    with (folder / "report" / name).open() as file:
        return {row["run"]: row for row in csv.DictReader(file)}


def run_of(folder: Path, name: str) -> Path:
    """The folder of a run, by its name without the key."""
    (run,) = folder.glob(f"runs/{name}-*")
    return run


def starts(run: Path) -> int:
    return read_log(run).count("num. shared model params")


def read_log(run: Path) -> str:
    return (run / "hydra_train.log").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "two words, lr=0.1 (1)"
    snakemake(folder, SMALL, "-j", 2)
    return folder


def test_all_methods_from_nothing_to_a_report(undisturbed):
    runs = table(undisturbed)
    methods = {row["method"] for row in runs.values()}
    taken = {row["method"]: (int(row["trainings"]), int(row["updates"])) for row in runs.values()}
    assert taken == {
        "dense": (1, 12),
        "imp": (3, 36),
        "parp": (1, 12),
    }
    for row in runs.values():
        assert float(row["sparsity_measured"]) == float(row["sparsity"])
        assert int(row["utterances_test"]) == 49
        assert float(row["wer_test"]) > 0
        assert float(row["cer_test"]) > 0
        assert float(row["seconds"]) > 0
        # The tiny encoder has 1.85 M prunable weights.
        pruned = int(row["parameters"]) - int(row["nonzero"])
        assert abs(pruned - 1_851_840 * float(row["sparsity"])) < 500
        assert int(row["nonzero_multiply_adds"]) <= int(row["multiply_adds"])
        # The report compares what was planned with what fairseq was told.
        config = read_training_log(undisturbed / "runs" / row["run"] / "hydra_train.log").config
        assert config["common"]["seed"] == int(row["seed"])
        assert config["task"]["sparsity"] == float(row["sparsity"])
    # The test speakers of the mini corpus are known.
    with (undisturbed / "report" / "intervals.csv").open() as file:
        intervals = list(csv.DictReader(file))
    assert {row["method"] for row in intervals} == methods - {"dense"}
    # Every re-prune is in the report, whatever log_interval is.
    with (undisturbed / "report" / "pruning.csv").open() as file:
        updates = [int(r["update"]) for r in csv.DictReader(file) if r["run"].startswith("parp-")]
    assert updates == [0, 2, 4, 6, 8, 10, 12]
    # What is shared ran once: the dense model and IMP's first round serve others too.
    trained = sorted((undisturbed / "runs").iterdir())
    assert len(trained) == 4
    assert [starts(run) for run in trained] == [1] * 4
    assert not list(undisturbed.rglob("checkpoint*"))
    round1, round2, final = (
        Mask.load(run_of(undisturbed, name) / file)
        for name, file in (
            ("imp-0.3-seed1", "mask.safetensors"),
            ("imp-0.5-seed1", "initial_mask.safetensors"),
            ("imp-0.5-seed1", "mask.safetensors"),
        )
    )
    assert round1.sparsity == pytest.approx(0.3, abs=1e-6)
    assert round2 == final
    assert round2.num_revived(round1) == 0
    text = (undisturbed / "report" / "report.md").read_text()
    assert "All 3 runs are finished" in text


def test_nothing_is_left_to_do(undisturbed):
    assert "Nothing to be done" in snakemake(undisturbed, SMALL, "-n")


ALL_ANEW = {"mask": 2, "train": 4, "score": 3}


@pytest.mark.parametrize(
    "change, planned",
    [
        ({"methods": ["dense", "parp"]}, {}),
        ({"imp_rounds": [0.5]}, {"mask": 1, "train": 1, "score": 1}),
        ({"encoder": "study.yaml"}, ALL_ANEW),
        ({"overrides": SMALL["overrides"][1:]}, ALL_ANEW),
        ({"prepare": f"{SMALL['prepare']} # other"}, {"prepare": 1, **ALL_ANEW}),
    ],
)
def test_a_study_that_is_changed_does_what_is_another(change, planned, undisturbed):
    assert jobs(undisturbed, {**SMALL, **change}) == {**planned, "report": 1, "all": 1}


def jobs(folder: Path, study: dict) -> Counter:
    return Counter(re.findall(r"^(?:local)?rule (\w+):", snakemake(folder, study, "-n"), re.M))


WORDS = "--decoder lexicon --lexicon 'my words.txt' --beam 5"
DECODED = {**SMALL, "methods": ["dense"], "decoders": {"words": WORDS}}
ONE_SCORE = {"score": 1, "report": 1, "all": 1}


def with_words(undisturbed, tmp_path) -> Path:
    folder = shutil.copytree(undisturbed, tmp_path / "study")
    (folder / "my words.txt").write_text("A\tA |\nTHE\tT H E |\n")
    return folder


def test_a_decoder_takes_no_training(undisturbed, tmp_path):
    assert jobs(with_words(undisturbed, tmp_path), DECODED) == ONE_SCORE


@pytest.mark.slow
def test_a_decoder_scores_finished_models_again(undisturbed, tmp_path):
    """The report shows both decoders."""
    folder = with_words(undisturbed, tmp_path)
    snakemake(folder, DECODED, "-j", 1)
    (row,) = table(folder).values()
    assert float(row["wer_test+words"]) <= 100 < float(row["utterances_test+words"]) + 100
    hypotheses = (run_of(folder, "dense-0-seed1") / "test+words.txt").read_text()
    heard = re.findall(r"^D-\d+\t\S+\t(.*)$", hypotheses, re.M)
    assert len(heard) == 49
    assert set(" ".join(heard).split()) <= {"A", "THE"}
    text = (folder / "report" / "report.md").read_text()
    assert "## WER on test, %" in text
    assert "## WER on test, decoded with words, %" in text
    # Other options score anew.
    other = {**DECODED, "decoders": {"words": WORDS.replace("5", "2")}}
    assert jobs(folder, other) == ONE_SCORE


@pytest.mark.slow
def test_who_goes_back_finds_the_former_runs(undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "study")
    overrides = [*SMALL["overrides"], "optimization.max_update=2"]
    snakemake(folder, {**SMALL, "methods": ["dense"], "overrides": overrides}, "-j", 1)
    assert len(table(folder)) == 1
    assert len(list(folder.glob("runs/dense-*"))) == 2
    assert jobs(folder, SMALL) == {"report": 1, "all": 1}


@pytest.mark.slow
def test_data_of_other_content_is_trained_on_anew(undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "study")
    study = {**SMALL, "methods": ["dense"]}
    run, labels = run_of(folder, "dense-0-seed1"), folder / SMALL["data"] / "train.ltr"
    model, log = (run / "model.pt").read_bytes(), read_log(run)

    labels.touch()
    snakemake(folder, study, "-j", 1)
    assert ((run / "model.pt").read_bytes(), read_log(run)) == (model, log)

    labels.write_text(labels.read_text().replace("A", "E"))
    snakemake(folder, study, "-j", 1)
    assert (run / "model.pt").read_bytes() != model
    assert starts(run) == 1
    assert "Loaded checkpoint" not in read_log(run)
    assert len(list(run.glob("from-*"))) == 1


@pytest.mark.slow
def test_killed_and_started_again_it_ends_in_the_same_report(undisturbed, tmp_path):
    """Killed with all that it started, while a training that others wait for is under way."""
    study = {**SMALL, "methods": ["imp"]}
    runs = tmp_path / "runs"
    line = command(tmp_path, study, "-j", 1, "-q")
    with subprocess.Popen(line, start_new_session=True) as killed:
        wait_until(lambda: runs.is_dir() and is_half_done(runs), killed)
        os.killpg(killed.pid, signal.SIGKILL)
    finished = {path: path.stat().st_mtime_ns for path in runs.glob("*/model.pt")}
    half = next(path.parents[2] for path in runs.glob(f"*/{SAVED}"))
    assert finished
    assert not (half / "model.pt").exists()

    snakemake(tmp_path, study, "-j", 2)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert [starts(path.parent) for path in finished] == [1] * len(finished)
    assert starts(half) == 2
    assert re.search(r"Loaded checkpoint .* \(epoch \d+ @ \d+ updates\)", read_log(half))

    found, reference = table(tmp_path), table(undisturbed)
    for row in (*found.values(), *reference.values()):
        del row["seconds"]  # of the clock
    assert found == {name: reference[name] for name in found}
    assert len(table(tmp_path)) == 1
    for name in table(tmp_path):
        mask = Path("runs", name, "mask.safetensors")
        assert Mask.load(tmp_path / mask) == Mask.load(undisturbed / mask)


@pytest.mark.slow
def test_a_training_that_dies_is_no_finished_run(tmp_path):
    study = {**SMALL, "methods": ["dense"]}
    with subprocess.Popen(command(tmp_path, study, "-j", 1, "-q")) as going_on:
        wait_until(lambda: any(tmp_path.glob(f"runs/*/{SAVED}")), going_on)
        children = psutil.Process(going_on.pid).children(recursive=True)
        (training,) = (p for p in children if any("hydra-train" in w for w in p.cmdline()[:2]))
        assert training.environ()["CUDA_VISIBLE_DEVICES"] == ""
        training.kill()
    assert going_on.returncode == 1
    run = run_of(tmp_path, "dense-0-seed1")
    assert not list(run.rglob("model.pt"))
    assert list(run.glob(SAVED))


@pytest.mark.slow
@pytest.mark.parametrize("has_ended", [False, True])
def test_a_training_that_outlives_its_study_is_kept(has_ended, tmp_path):
    """Killed alone, as by a kernel short of memory: nothing is trained twice, nor side by side."""
    study = {**SMALL, "methods": ["dense"]}
    with subprocess.Popen(command(tmp_path, study, "-j", 1, "-q")) as killed:
        wait_until(lambda: any(tmp_path.glob(f"runs/*/{SAVED}")), killed)
        killed.kill()
    run = run_of(tmp_path, "dense-0-seed1")
    if has_ended:
        with (run / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        assert (run / "model.pt").exists()
    log = read_log(run)
    snakemake(tmp_path, study, "-j", 1)
    assert read_log(run).startswith(log)
    assert starts(run) == 1
    assert "done training" in read_log(run)
    assert list(table(tmp_path)) == [run.name]


def wait_until(happened: Callable[[], bool], process: subprocess.Popen) -> None:
    while not happened():
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)


def is_half_done(runs: Path) -> bool:
    """A training is finished, and another one has saved."""
    return any(runs.glob("*/model.pt")) and any(runs.glob(f"*/{SAVED}"))


@pytest.mark.parametrize(
    "recipe",
    [
        *(pytest.param(one, marks=pytest.mark.slow) for one in LIBRISPEECH[1:]),
        LIBRISPEECH[0],
        "commonvoice_xlsr53",
    ],
)
def test_studies_of_large_encoders_are_ready_for_slurm(recipe, tmp_path):
    name = "librispeech" if recipe in LIBRISPEECH else "commonvoice"
    splits = ["dev_clean", "dev_other", "test_clean", "test_other"]
    splits = splits if name == "librispeech" else ["valid", "test"]
    labels = "ltr" if name == "librispeech" else "phn"
    for split in ("train", *splits):
        (tmp_path / f"{split}.tsv").touch()
        (tmp_path / f"{split}.{labels}").touch()
    (tmp_path / f"dict.{labels}.txt").touch()
    (tmp_path / "encoder.pt").touch()
    given = ["--config", f"data={tmp_path}", f"encoder={tmp_path / 'encoder.pt'}"]
    given += [f"recipe={recipe}"] * (name == "librispeech")
    line = ["-s", STUDY / "Snakefile", "--configfile", STUDY / f"{name}.yaml"]
    line += ["-d", tmp_path / "out", "-n", "-p", "--workflow-profile", "slurm", *given]
    done = programs.run("snakemake", *line)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # Six methods at nine sparsities, and the dense one; masks of OMP and of IMP's rounds.
    assert re.search(rf"score +{55 * len(splits)}\ntotal", re.sub(r"\n(report|all) .*", "", said))
    assert re.search(r"train +55\n", said)
    assert re.search(r"mask +18\n", said)
    assert f"--config-name {recipe} " in said
    assert "gpu=4" in said
    assert "distributed_training.distributed_world_size=4 " in said
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sparsity": [0.5]}, r"'sparsity' was unexpected"),
        ({"sparsities": [1.5]}, r"\$\.sparsities\[0\]: 1\.5 is greater than or equal to the max"),
        ({"overrides": ["common.seed=7"]}, r"'common\.seed=7' changes common\.seed"),
        ({"encoder": "/no/encoder.pt"}, r"encoder is /no/encoder\.pt, which does not exist"),
        ({"prepare": "x {source}", "source": "/no"}, r"source is /no, which does not exist"),
        ({"prepare": "x {source}"}, "source is not given, expected --config source=FOLDER"),
    ],
)
def test_a_study_file_that_is_wrong_is_refused(change, message, tmp_path):
    done = programs.run("snakemake", *arguments(tmp_path, {**SMALL, **change}, "-n"))
    assert done.returncode != 0
    assert re.search(message, done.stdout + done.stderr)
    assert not (tmp_path / "runs").exists()


def test_loggers_name_a_run_by_its_cell(tmp_path):
    overrides = [*SMALL["overrides"], "common.tensorboard_logdir=board", "common.wandb_project=p"]
    study = {**SMALL, "methods": ["parp"], "overrides": overrides}
    said = snakemake(tmp_path, study, "-n", "-p")
    (name,) = set(re.findall(r"WANDB_NAME=(\S+)", said))
    assert re.fullmatch(r"parp-0\.5-seed1-\w{8}", name)
    assert f"{tmp_path}/board/{name}" in said


@pytest.mark.parametrize(
    "override, why",
    [
        ("task.prune_scope=decoder", r"^.*unknown scope 'decoder'"),
        ("model.no_pretrained_weights=true", r"use \+model\.no_pretrained_weights=true$"),
    ],
)
def test_a_training_that_fails_says_why(override, why, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "study")
    study = {**SMALL, "methods": ["mpi"], "overrides": [*SMALL["overrides"], override]}
    done = programs.run("snakemake", *arguments(folder, study, "-j", 1))
    assert done.returncode != 0
    assert re.search(why, done.stderr, re.MULTILINE)
