"""Promise 4: a run that a signal ended anywhere, started again, ends as one left alone."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import programs
import pytest
from fairseq_runs import load, write_corpus, write_encoder
from test_checkpoints import assert_same

HERE = Path(__file__).parent
RECIPES = HERE.parent / "recipes"

# In CI one; all with `make test-slow`. The start-up of a process is most of what this takes.
MOMENTS = [("prune", 3)]
SLOW_MOMENTS = [
    *(("prune", n) for n in (1, 2, 6)),
    *(("copy", n) for n in (1, 2, 4, 6)),
    *(("save", n) for n in (1, 2, 3, 4)),
    *(("validation", n) for n in (1, 5, 9)),
    *(("update", n) for n in (1, 7, 12)),
    *(("optimizer step", n) for n in (2, 9)),
]


# A learned mask is selected after every update.
LEARNED_MOMENTS = [
    ("prune", 1),
    *(("replacement", n) for n in (1, 5, 10)),
    *(("copy", n) for n in (2, 4)),
    *(("save", n) for n in (1, 3)),
    ("validation", 5),
    *(("update", n) for n in (1, 12)),
    *(("optimizer step", n) for n in (2, 6)),
]

# PARP-P in mid-ramp, and a learned mask.
METHODS = {
    "parp_p": ["task.prune_interval=3", "task.ramp_updates=12"],
    "s3_router": ["task.sparsity=0.3", "optimization.lr=[0.01]"],
}


def arguments(data: Path, encoder: Path, folder: Path, method: str):
    """A run with everything random that fairseq has."""
    return [
        "--config-dir", RECIPES, "--config-name", "mini", f"+method={method}",
        f"task.data={data}", "task.normalize=false", f"model.w2v_path={encoder}",
        f"hydra.run.dir={folder}", f"checkpoint.save_dir={folder}",
        "common.cpu=true", "dataset.num_workers=0", "dataset.max_tokens=30000",
        "model.mask_length=2", "model.mask_channel_length=2", "model.mask_channel_prob=0.3",
        "model.layerdrop=0.2", "model.dropout=0.1",
        "checkpoint.save_interval_updates=4", "checkpoint.keep_interval_updates=1",
        "dataset.validate_interval_updates=4", "optimization.max_update=16",
        *METHODS[method],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_corpus(folder, "train", 20, seed=0)
    return write_corpus(folder, "valid", 9, seed=1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder") / "encoder.pt")


@pytest.fixture(scope="module")
def undisturbed(data, encoder, tmp_path_factory):
    """undisturbed(method): the folder of a run that nothing interrupts."""

    @cache
    def train(method):
        folder = tmp_path_factory.mktemp("undisturbed")
        args = arguments(data, encoder, folder, method)
        done = programs.run("fairseq_cli.hydra_train", *args)
        assert done.returncode == 0, done.stdout + done.stderr
        return folder

    return train


@pytest.mark.parametrize(
    "method, moment, n",
    [
        *(("parp_p", *moment) for moment in MOMENTS),
        *(
            pytest.param(method, *moment, marks=pytest.mark.slow)
            for method, moments in (("parp_p", SLOW_MOMENTS), ("s3_router", LEARNED_MOMENTS))
            for moment in moments
        ),
    ],
)
def test_killed_and_started_again(data, encoder, undisturbed, tmp_path, method, moment, n):
    args = arguments(data, encoder, tmp_path, method)
    killed = programs.run(HERE / "killed_run.py", "KILL", moment, n, *args)
    assert killed.returncode == -9, killed.stdout + killed.stderr
    go_on(args, tmp_path, undisturbed(method))


# In the 7th update nothing is due; after the 8th there is a validation, and a save.
@pytest.mark.parametrize("n", [7, pytest.param(8, marks=pytest.mark.slow)])
def test_sigterm_saves_and_ends(data, encoder, undisturbed, tmp_path, n):
    args = arguments(data, encoder, tmp_path, "parp_p")
    command = [sys.executable, HERE / "killed_run.py", "TERM", "update", n, *args]
    told = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert told.returncode == -15, told.stdout + told.stderr
    assert f"SIGTERM: the run ends at update {n}; start it again to go on" in told.stdout
    assert load(tmp_path / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"] == n
    go_on(args, tmp_path, undisturbed("parp_p"))


def go_on(args, tmp_path, undisturbed):
    again = programs.run("fairseq_cli.hydra_train", *args)
    assert again.returncode == 0, again.stdout + again.stderr

    for name in ("checkpoint_last.pt", "checkpoint_best.pt"):
        ours, reference = load(tmp_path / name), load(undisturbed / name)
        assert_same(ours["model"], reference["model"], f"{name}: model")
        assert_same(ours["model"]._metadata, reference["model"]._metadata, f"{name}: metadata")
        optimizers = (checkpoint["last_optimizer_state"] for checkpoint in (ours, reference))
        assert_same(*optimizers, f"{name}: optimizer")
        # The history has an entry more for each start.
        assert ours["optimizer_history"][-1] == reference["optimizer_history"][-1]
        assert ours["extra_state"]["best"] == reference["extra_state"]["best"]
