"""A refusal is one line and exit status 1; no thread of fairseq outlives the program."""

import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fairseq.data.iterators import BufferedIterator

from parp_fairseq.tasks.prefetching import end_prefetching
from parp_fairseq.tasks.refusals import MissingFile, Refusal, refusals

RECIPES = Path(__file__).parents[1] / "recipes"


def run(*command):
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)


def lines_of(done):
    return [line for line in done.stderr.splitlines() if line.strip()]


def test_fairseq_hydra_train(corpus, encoder, tmp_path):
    done = run(
        "-m", "fairseq_cli.hydra_train", "--config-dir", RECIPES, "--config-name", "mini",
        f"task.data={corpus}", f"model.w2v_path={encoder}", "task.sparsity=0.999",
        "task.normalize=false", "common.cpu=true", f"hydra.run.dir={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    # Hydra's are the lines before and after it. The refusal is of the first update, while a thread
    # prefetches batches.
    before, told, after = lines_of(done)[-3:]
    assert before.startswith("Error executing job")
    assert told.startswith("sparsity 0.999 prunes all weights of ")
    assert "HYDRA_FULL_ERROR" in after
    assert not list(tmp_path.rglob("*.pt"))


def test_fairseq_train(corpus, tmp_path):
    done = run(
        "-m", "fairseq_cli.train", corpus, "--user-dir", "parp_fairseq", "--task", "parp",
        "--arch", "parp_wav2vec_ctc", "--criterion", "ctc", "--labels", "ltr", "--cpu",
        "--w2v-path", tmp_path / "nowhere.pt", "--max-tokens", 9999, "--save-dir", tmp_path,
        "--optimizer", "adam",
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert lines_of(done)[-1].startswith("error: model.w2v_path is ")
    assert lines_of(done)[-1].endswith("nowhere.pt: that file does not exist")


def test_errors_keep_their_kind():
    with pytest.raises(MissingFile, match=r"^x: No such file"), refusals():
        raise FileNotFoundError(2, "No such file", "x")
    with pytest.raises(Refusal, match=r"^two lines$") as refusal, refusals():
        raise ValueError("two\nlines")
    assert isinstance(refusal.value, ValueError)
    with pytest.raises(KeyError), refusals():
        raise KeyError("a fault of the program is not bad input")


def test_prefetching_threads_end():
    """With a full queue, and in the middle of an endless set."""
    batches = BufferedIterator(2, range(10**9))
    next(batches)
    consumer = batches._consumer
    assert consumer.is_alive()
    end_prefetching()
    assert not consumer.is_alive()
    assert consumer not in threading.enumerate()
    assert isinstance(batches._queue, queue.Queue)
