"""Fresh: a measurement in a process of its own, so that memory and caches are nobody else's."""

import json
import os
import resource
import subprocess
import sys
from typing import Any, Dict

import torch


def peak_gb() -> float:
    """The most memory that this process has held so far, in GB of 2^30 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def gpu_peak_gb() -> float:
    """The same of the GPU's memory."""
    return torch.cuda.max_memory_allocated() / 2**30


def measure(script: str, **arguments: Any) -> Dict[str, Any]:
    """Run ``script --measure JSON`` and return the JSON object on its last line."""
    command = [sys.executable, script, "--measure", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-4000:])
    return json.loads(done.stdout.splitlines()[-1])
