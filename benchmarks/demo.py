"""The demo: finetune a small encoder on Arabic digits, dense, by MPI and by PARP, and compare.

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
# Five minutes on two cores; chosen on validation. A new output layer upsets the encoder at this
# rate: unless the encoder is frozen at first, PARP hardly learns in so short a time.
SETTINGS = [
    "optimization.max_update=380",
    "optimization.lr=[0.002]",
    "model.freeze_share=0.15",
    "model.mask_prob=0.1",
    "model.mask_channel_prob=0.1",
    "dataset.disable_validation=true",
]


@dataclass
class Result:
    method: str
    sparsity: float
    """Share of zeros among the prunable weights of the checkpoint."""
    wer: float
    """Word error rate on the test split, in percent, of greedy decoding."""
    with_lexicon: float
    """The same with a lexicon of the ten digits."""
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
        "overrides", nargs="*", metavar="KEY=VALUE", help="for the recipe fsdd, in all runs"
    )
    args = parser.parse_args()
    out = args.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    scripts, data = ROOT / "manifests", out / "data"
    run([sys.executable, scripts / "mini.py", scripts / "digits", data], out / "data.log")
    lexicon = [sys.executable, scripts / "lexicon.py", data, "-o", data / "lexicon.txt"]
    run(lexicon, out / "lexicon.log")
    # Side by side on a thread each: so small a network gains little from a second one.
    with ThreadPoolExecutor(len(METHODS)) as pool:
        results = list(
            pool.map(
                lambda method: finetune_and_evaluate(
                    method, scripts / "people/third_round.pt", out, args.sparsity, args.overrides
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
        "--config-name", "fsdd",
        f"+method={method}",
        f"task.data={out / 'data'}",
        f"model.w2v_path={encoder}",
        f"checkpoint.save_dir={folder}",
        f"hydra.run.dir={folder}",
        "common.log_format=json",
        "common.log_interval=5",
        *SETTINGS,
        *([] if method == "dense" else [f"task.sparsity={sparsity}"]),
        *overrides,
    ]  # fmt: skip
    updates = follow(method, run_lines(train, folder / "train.log"))
    checkpoint = folder / "checkpoint_last.pt"
    lexicon = ["--decoder", "lexicon", "--lexicon", out / "data/lexicon.txt"]
    weights = ["--beam", "50", "--lm-weight", "0", "--word-score", "4"]
    lines = generate(out / "data", checkpoint, [], folder / "generate.log")
    with_lexicon = generate(
        out / "data", checkpoint, [*lexicon, *weights], folder / "generate_lexicon.log"
    )
    return Result(
        method=method,
        sparsity=sparsity_of(checkpoint),
        wer=word_error_rate(lines),
        with_lexicon=word_error_rate(with_lexicon),
        utterances=sum(line.startswith("H-") for line in lines),
        updates=updates,
        minutes=(time.perf_counter() - start) / 60,
    )


def generate(data: Path, checkpoint: Path, decoder: List, log: Path) -> List[str]:
    """What fairseq-generate prints for the test split."""
    command = [
        PROGRAMS / "fairseq-generate", data,
        "--user-dir", "parp_fairseq",
        "--task", "parp",
        "--labels", "ltr",
        "--path", checkpoint,
        "--gen-subset", "test",
        "--max-tokens", "1600000",
        "--scoring", "wer",
        "--post-process", "letter",
    ]  # fmt: skip
    return run([*command, *decoder], log)


def word_error_rate(lines: List[str]) -> float:
    return float(re.search(r"WER: ([\d.]+)", lines[-1])[1])


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
    headers = ("method", "sparsity", "WER %", "with lexicon %", "utterances", "updates", "minutes")
    rows = [
        (
            r.method,
            f"{r.sparsity:.4f}",
            f"{r.wer:.2f}",
            f"{r.with_lexicon:.2f}",
            r.utterances,
            r.updates,
            f"{r.minutes:.1f}",
        )
        for r in results
    ]
    table = tabulate(
        rows, headers, tablefmt="github", disable_numparse=True, colalign=("left",) + ("right",) * 6
    )
    (out / "results.json").write_text(json.dumps([asdict(r) for r in results], indent=2) + "\n")
    (out / "results.md").write_text(table + "\n")

    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    labels = [f"{r.method}\nsparsity {r.sparsity:.2f}" for r in results]
    bars = axes.bar(labels, [r.wer for r in results], color=["#888888", "#E69F00", "#0072B2"])
    axes.bar_label(bars, fmt="%.1f")
    axes.set_ylabel("WER on unheard speakers, %")
    axes.set_title("Ten minutes of Arabic digits, greedy decoding")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out / "results.png", dpi=150)
    print(
        f"\n{table}\n\nTable, picture and logs are in {out}: results.md, results.png, */train.log"
    )


if __name__ == "__main__":
    main()
