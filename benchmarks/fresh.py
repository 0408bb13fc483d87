"""Fresh: a measurement in a process of its own, so that memory and caches are nobody else's."""

import ctypes
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import torch

PROCESS = Path("/proc/self")
M_MMAP_THRESHOLD = -3  # of malloc.h


def peak_gb(device: str = "cpu") -> float:
    """The most memory that this process has held so far, in GB of 2^30 bytes."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**30
    return _memory_gb("VmHWM")  # not ru_maxrss, which starts at what the parent process held


def restart_peak(device: str = "cpu") -> float:
    """Make `peak_gb` count from here; returns what is held now, in GB."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**30
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError as error:
        sys.exit(f"memory cannot be measured here, for its peak cannot be reset: {error}")
    return _memory_gb("VmRSS")


def keep_nothing_freed() -> None:
    """Make malloc give back large blocks at once: those that it keeps hide what is taken next."""
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 17)


def _memory_gb(key: str) -> float:
    status = (PROCESS / "status").read_text()
    return int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) / 2**20


def measure(script: str, **arguments: Any) -> Dict[str, Any]:
    """Run ``script --measure JSON`` and return the JSON object on its last line."""
    command = [sys.executable, script, "--measure", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-4000:])
    return json.loads(done.stdout.splitlines()[-1])
