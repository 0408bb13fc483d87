"""All benchmarks: each figure a ratio against a named peer of the same run, in fresh processes.

Writes docs/performance.md, its picture, and the numbers behind them as JSON.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import matplotlib
import selection
import torch
from fresh import measure
from tabulate import tabulate
from tqdm import tqdm

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
GROWTH = {
    "1 M": (1, 288),
    "10 M": (3, 527),
    "85 M": (12, 768),
    "302 M": (24, 1024),
    "1 G": (53, 1254),
}
SPARSITIES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--updates", type=int, default=110, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=DOCS, help="default: docs/")
    args = parser.parse_args()
    results = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}",
        "masks": {size: masks(shape, args.repeats) for size, shape in selection.SHAPES.items()},
        "growth": growth(args.repeats),
        "sparsities": sparsities(args.repeats),
        "files": measure(str(HERE / "selection.py"), layers=12, width=768),
        "finetuning": finetuning(args.updates),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "performance.json").write_text(json.dumps(results, indent=1) + "\n")
    (args.out / "performance.md").write_text(page(results))
    picture(results, args.out / "performance.png")
    print(page(results))


def mask(contender: str, shape, sparsity: float, repeats: int) -> Dict:
    layers, width = shape
    return measure(
        str(HERE / "selection.py"),
        contender=contender, layers=layers, width=width, sparsity=sparsity, repeats=repeats,
    )  # fmt: skip


def masks(shape, repeats: int) -> Dict[str, Dict]:
    bar = tqdm(selection.CONTENDERS, desc=f"masks, {shape[0]} layers of {shape[1]}")
    return {contender: mask(contender, shape, 0.5, repeats) for contender in bar}


def growth(repeats: int) -> Dict[str, Dict]:
    found = {}
    for size, shape in tqdm(GROWTH.items(), desc="growth"):
        found[size] = {c: mask(c, shape, 0.5, repeats) for c in ("mask", "bare pass in place")}
    return found


def sparsities(repeats: int) -> Dict[str, Dict]:
    bar = tqdm(SPARSITIES, desc="sparsities")
    return {str(s): mask("mask", selection.SHAPES["base"], s, repeats) for s in bar}


def finetuning(updates: int) -> Dict[str, Dict]:
    runs = HERE.parent / "runs" / "bench"
    encoder, data = runs / "encoder.pt", runs / "data"
    code = "import sys, pathlib, finetuning as f; f.write_base_encoder(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(encoder)], check=True, cwd=HERE)
    manifests = HERE.parent / "manifests"
    script = [sys.executable, str(manifests / "mini.py"), str(manifests / "mini"), str(data)]
    subprocess.run(script, check=True, stdout=subprocess.DEVNULL)
    arguments = dict(encoder=str(encoder), data=str(data), updates=updates)
    bar = tqdm(("stock", "parp"), desc="finetuning")
    return {t: measure(str(HERE / "finetuning.py"), task=t, **arguments) for t in bar}


def spread(seconds: List[float]) -> str:
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"


def page(results: Dict) -> str:
    text = [
        "# Performance",
        "",
        "Made by `make bench`; the numbers behind it are in [performance.json](performance.json).",
        f"Machine: {results['machine']}. Each row is a fresh process; times are medians, with the",
        "least and the greatest of the repeats.",
        "",
        "![growth with the number of weights](performance.png)",
        "",
        "## One mask at sparsity 0.5",
        "",
    ]
    rows = []
    for size, contenders in results["masks"].items():
        bare = statistics.median(contenders["bare pass in place"]["seconds"])
        slow = statistics.median(contenders["global_unstructured"]["seconds"])
        for name, found in contenders.items():
            median = statistics.median(found["seconds"])
            ratios = (f"{median / bare:.2f}", f"{slow / median:.1f}")
            rows.append(
                (f"{size}: {name}", spread(found["seconds"]), *ratios, f"{found['extra_gb']:.2f}")
            )
    headers = (
        "",
        "seconds",
        "times the bare pass",
        "times faster than torch",
        "GB beside the weights",
    )
    text += [table(rows, headers), "", "## Growth", ""]
    rows = [
        (size, f"{found['mask']['weights']:,}", spread(found["mask"]["seconds"]), ratio(found))
        for size, found in results["growth"].items()
    ]
    text += [table(rows, ("", "weights", "seconds", "times the bare pass")), "", "## Sparsity", ""]
    rows = [(s, spread(found["seconds"])) for s, found in results["sparsities"].items()]
    files, tuned = results["files"], results["finetuning"]
    stock, parp = tuned["stock"], tuned["parp"]
    share = sum(stock["seconds"]) / sum(parp["seconds"])
    text += [
        table(rows, ("sparsity", "seconds, base")),
        "",
        "## Mask files",
        "",
        f"{files['bits']:.3f} bits a weight; the form of the paper's authors: "
        f"{files['authors_bits']:.1f}.",
        "",
        "## Finetuning",
        "",
        "wav2vec 2.0 base (random weights), 5 s a batch, re-pruned every 50 updates. Peer: stock",
        f"`audio_finetuning` + `wav2vec_ctc`: PARP makes {share:.3f} times the updates a second.",
        "",
    ]
    rows = [
        (
            n,
            f"{1 / statistics.mean(f['seconds']):.3f}",
            f"{f['startup']:.1f}",
            f"{f['first']:.2f}",
            f"{f['gb']:.2f}",
        )
        for n, f in tuned.items()
    ]
    headers = ("", "updates a second", "seconds to the first update", "first update", "peak GB")
    return "\n".join([*text, table(rows, headers), ""])


def ratio(found: Dict) -> str:
    ours, bare = (statistics.median(found[c]["seconds"]) for c in ("mask", "bare pass in place"))
    return f"{ours / bare:.2f}"


def table(rows: List, headers) -> str:
    align = ("left",) + ("right",) * (len(headers) - 1)
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True, colalign=align)


def picture(results: Dict, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
    series = {
        "mask": results["growth"],
        "bare pass in place": results["growth"],
        "global_unstructured": results["masks"],
        "cat + kthvalue": results["masks"],
    }
    for contender, sizes in series.items():
        found = [contenders[contender] for contenders in sizes.values()]
        medians = [statistics.median(f["seconds"]) for f in found]
        axes.loglog([f["weights"] for f in found], medians, "o-", label=contender)
    axes.set_xlabel("prunable weights")
    axes.set_ylabel("seconds")
    axes.set_title("One mask at sparsity 0.5")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
