"""Benchmarks measure the memory that was taken, also where the process once held more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MB = 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def run(*arguments):
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=BENCHMARKS)


def test_memory_taken_below_an_earlier_peak_is_counted():
    code = """
import torch, fresh
fresh.keep_nothing_freed()
torch.ones(200 << 18)
before = fresh.restart_peak()
weights = torch.ones(50 << 18)
print(fresh.peak_gb() - before)
"""
    assert float(run("-c", code).stdout) * 2**30 == pytest.approx(50 * MB, rel=0.1)


def test_a_bare_pass_takes_the_magnitudes_and_flags_of_one_matrix():
    what = dict(what="memory", contender="bare pass in place", sparsity=0.5, device="cpu")
    out = run("selection.py", "--measure", json.dumps({**what, "layers": 2, "width": 1024}))
    taken = json.loads(out.stdout)["extra_gb"] * 2**30
    assert taken == pytest.approx((4 + 1) * 4 * 1024**2, rel=0.1)
