"""Time and memory of one mask, against torch.nn.utils.prune and against one bare pass in place.

Each contender runs in a fresh process on the same random weights, in the shapes of wav2vec 2.0 base
(85.0 M prunable weights) or large (302.2 M). Prints a table, and writes results.json.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict

import torch
from tabulate import tabulate
from torch import nn
from torch.nn.utils import prune
from tqdm import tqdm

from parp_fairseq.pruning import magnitude_mask

SPARSITY = 0.5
SIZES = {"base": (12, 768, 3072), "large": (24, 1024, 4096)}


class Layer(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            setattr(self, name, nn.Linear(width, width))
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)


def draw_weights(model: nn.Module) -> None:
    for param in model.parameters():
        nn.init.normal_(param, std=0.0156)


def ours(model: nn.Module) -> None:
    params = dict(model.named_parameters())
    magnitude_mask(params, SPARSITY).apply_(params)


def global_unstructured(model: nn.Module) -> None:
    modules = [m for m in model.modules() if isinstance(m, nn.Linear)]
    pairs = [(m, name) for m in modules for name in ("weight", "bias")]
    prune.global_unstructured(pairs, prune.L1Unstructured, amount=SPARSITY)
    for module, name in pairs:
        prune.remove(module, name)


@torch.no_grad()
def bare_pass(model: nn.Module) -> None:
    for param in model.parameters():
        param.mul_(param.abs() > 0.0105)


CONTENDERS: Dict[str, Callable[[nn.Module], None]] = {
    "parp_fairseq": ours,
    "global_unstructured": global_unstructured,
    "bare pass in place": bare_pass,
}


def measure(contender: str, size: str, repeats: int) -> None:
    """Run in a fresh process: prints the seconds of each repeat and memory beside the weights."""
    torch.manual_seed(0)
    layers, width, inner = SIZES[size]
    model = nn.ModuleList(Layer(width, inner) for _ in range(layers))
    draw_weights(model)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        CONTENDERS[contender](model)
        seconds.append(time.perf_counter() - start)
        draw_weights(model)
    extra = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"seconds": seconds, "extra_gb": extra / 2**20}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["base"])
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="default: %(default)s")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(*args.measure, args.repeats)
        return

    results = {}
    for size in args.sizes:
        for contender in tqdm(CONTENDERS, desc=size):
            command = [sys.executable, __file__, "--measure", contender, size]
            command += ["--repeats", str(args.repeats)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results[f"{size}: {contender}"] = json.loads(output)
    rows = []
    for name, result in results.items():
        median = statistics.median(result["seconds"])
        peer = results[f"{name.split(':')[0]}: parp_fairseq"]
        ratio = median / statistics.median(peer["seconds"])
        spread = max(result["seconds"]) - min(result["seconds"])
        rows.append((name, median, spread, ratio, result["extra_gb"]))
    headers = ("", "median s", "spread s", "ratio to ours", "extra GB")
    print(tabulate(rows, headers, tablefmt="github", floatfmt=".2f"))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
