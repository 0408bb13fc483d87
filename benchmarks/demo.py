"""The demo: finetune the tiny encoder on the mini corpus, dense, by MPI and by PARP, and compare.

Everything runs through the stock programs, fairseq-hydra-train and fairseq-generate, as the README
shows them; this script starts them side by side, follows their logs, and prints what they found.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Iterator, List

import matplotlib
from tabulate import tabulate
from tqdm import tqdm

from parp_fairseq.cli.files.checkpoint import mask_of_zeros, read
from parp_fairseq.pruning import prunable_parameters

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(sys.executable).parent
METHODS = ("dense", "mpi", "parp")


@dataclass
class Result:
    method: str
    sparsity: float
    """Share of zeros among the prunable weights of the checkpoint."""
    wer: float
    """Word error rate on the test split, in percent."""
    utterances: int
    """Test utterances that were scored."""
    updates: int
    minutes: float
    """Wall time of finetuning and evaluation."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "runs" / "demo",
        help="folder for runs, logs, table and picture; made anew (default: runs/demo)",
    )  # fmt: skip
    parser.add_argument(
        "--sparsity", type=float, default=0.5, help="for MPI and PARP (default: %(default)s)"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="for the recipe mini, in all runs"
    )
    args = parser.parse_args()
    out = args.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    mini = ROOT / "manifests" / "mini"
    run([sys.executable, ROOT / "manifests" / "mini.py", mini, out / "data"], out / "data.log")
    # Side by side on a thread each: so small a network gains little from a second one.
    with ThreadPoolExecutor(len(METHODS)) as pool:
        results = list(
            pool.map(
                lambda method: finetune_and_evaluate(
                    method, mini / "encoder.pt", out, args.sparsity, args.overrides
                ),
                METHODS,
            )
        )
    report(results, out)


def finetune_and_evaluate(
    method: str, encoder: Path, out: Path, sparsity: float, overrides: List[str]
) -> Result:
    start = time.perf_counter()
    folder = out / method
    train = [
        PROGRAMS / "fairseq-hydra-train",
        "--config-dir", ROOT / "recipes",
        "--config-name", "mini",
        f"+method={method}",
        f"task.data={out / 'data'}",
        f"model.w2v_path={encoder}",
        f"checkpoint.save_dir={folder}",
        f"hydra.run.dir={folder}",
        "common.log_format=json",
        "common.log_interval=5",
        "optimization.max_update=1600",  # of the recipe's 2000: ten minutes on two cores
        *([] if method == "dense" else [f"task.sparsity={sparsity}"]),
        *overrides,
    ]  # fmt: skip
    updates = follow(method, run_lines(train, folder / "train.log"))
    checkpoint = folder / "checkpoint_last.pt"
    generate = [
        PROGRAMS / "fairseq-generate", out / "data",
        "--user-dir", "parp_fairseq",
        "--task", "parp",
        "--labels", "ltr",
        "--path", checkpoint,
        "--gen-subset", "test",
        "--max-tokens", "1600000",
        "--scoring", "wer",
        "--post-process", "letter",
    ]  # fmt: skip
    lines = run(generate, folder / "generate.log")
    return Result(
        method=method,
        sparsity=sparsity_of(checkpoint),
        wer=float(re.search(r"WER: ([\d.]+)", lines[-1])[1]),
        utterances=sum(line.startswith("H-") for line in lines),
        updates=updates,
        minutes=(time.perf_counter() - start) / 60,
    )


def follow(method: str, lines: Iterator[str]) -> int:
    """Show a run's log as a progress bar; returns the updates done."""
    done = 0
    position = METHODS.index(method)
    with tqdm(desc=f"finetuning {method:5}", unit="update", position=position) as bar:
        for line in lines:
            total = re.search(r"'max_update': (\d+)", line)
            if total and not bar.total:
                bar.total = int(total[1])
            if "][train_inner]" in line or "][valid]" in line:
                stats = json.loads(line[line.index("{") :])
                done = int(stats.get("num_updates", stats.get("valid_num_updates", done)))
                shown = ("loss", "sparsity", "revived", "valid_wer")
                bar.set_postfix({k: stats[k] for k in shown if k in stats}, refresh=False)
                bar.update(done - bar.n)
    return done


def run(command: List, log: Path) -> List[str]:
    return list(run_lines(command, log))


def run_lines(command: List, log: Path) -> Iterator[str]:
    """Yield what a program prints, and keep it in ``log``; a failure shows the end of that."""
    command = [str(part) for part in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    with log.open("w") as file:
        file.write(shlex.join(command) + "\n")
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for line in process.stdout:
            file.write(line)
            lines.append(line)
            yield line.rstrip("\n")
    if process.wait():
        sys.stderr.writelines(lines[-20:])
        sys.exit(f"{Path(command[0]).name} failed with status {process.returncode}: see {log}")


def sparsity_of(checkpoint: Path) -> float:
    return mask_of_zeros(prunable_parameters(read(checkpoint)["model"])).sparsity


def report(results: List[Result], out: Path) -> None:
    rows = [
        (r.method, f"{r.sparsity:.4f}", f"{r.wer:.2f}", r.utterances, r.updates, f"{r.minutes:.1f}")
        for r in results
    ]
    headers = ("method", "sparsity", "WER %", "utterances", "updates", "minutes")
    table = tabulate(
        rows, headers, tablefmt="github", disable_numparse=True, colalign=("left",) + ("right",) * 5
    )
    (out / "results.json").write_text(json.dumps([asdict(r) for r in results], indent=2) + "\n")
    (out / "results.md").write_text(table + "\n")

    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    labels = [f"{r.method}\nsparsity {r.sparsity:.2f}" for r in results]
    bars = axes.bar(labels, [r.wer for r in results], color=["#888888", "#E69F00", "#0072B2"])
    axes.bar_label(bars, fmt="%.1f")
    axes.set_ylabel("WER on unheard voices, %")
    axes.set_title("Mini corpus, tiny encoder")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out / "results.png", dpi=150)
    print(
        f"\n{table}\n\nTable, picture and logs are in {out}: results.md, results.png, */train.log"
    )


if __name__ == "__main__":
    main()
