"""Deployment: what each way of storing and running a subnetwork costs, and its error rate.

    python benchmarks/deployment.py free-spoken-digit-dataset/recordings

Trains the study recipes/study/deployment.yaml where that has not been done, and measures its
models: dense, half of the weights zero, 2:4, half of the channels zero, shrunk, packed; each as it
is and with dynamic int8 quantisation of the linear layers. Memory is measured in a process for
each; times in one process, in turns, so that all ways share what else the machine does.
Beside them stand networks in the size of wav2vec 2.0 base with random weights, which have no error
rate. Writes the table in docs/deployment.md, docs/deployment.json and docs/deployment.png.
"""

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
from itertools import product
from pathlib import Path
from statistics import mean, median, stdev
from typing import Dict, List, Tuple

import matplotlib
import torch
from fresh import measure
from inference import make
from omegaconf import OmegaConf
from page import table
from tqdm import tqdm

from parp_fairseq.cli.files.packing import read_weights, settings_of, write_checkpoint
from parp_fairseq.cli.files.shrinkable import load_shrinkable, shrunk_state
from parp_fairseq.pruning import Mask, magnitude, parse_pattern, prunable_parameters
from parp_fairseq.pruning.pack import Pack

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "recipes" / "study"
MEASURES = str(Path(__file__).with_name("deployed.py"))
# The way -> the study's method, and the pattern that base is pruned by.
TRAINED = {
    "dense": ("dense", None),
    "half of the weights zero": ("parp", "global"),
    "2:4": ("parp_2_4", "2:4"),
    "half of the channels zero": ("parp_channels", "ffn_channels"),
}
ZEROS, CHANNELS = "half of the weights zero", "half of the channels zero"
PACKED, SHRUNK = "the same, packed", "the same, shrunk"
WAYS = ("dense", ZEROS, PACKED, "2:4", CHANNELS, SHRUNK)
# The rows of the table: name -> the way, and whether it is quantised. A pack unpacks to ZEROS.
ROWS = {
    way + int8 * " + int8": (way, int8)
    for way, int8 in product(WAYS, (False, True))
    if (way, int8) != (PACKED, True)
}
BEGIN, END = "<!-- made by benchmarks/deployment.py -->\n", "<!-- end -->\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("recordings", type=Path, help="of the Free Spoken Digit Dataset, release v1.0.10")
    add("--runs", type=Path, default=ROOT / "runs" / "deployment", help="default: %(default)s")
    add("--cores", type=int, default=os.cpu_count(), help="for the trainings; default: all")
    add("--repeats", type=int, default=5, help="of each time; default: %(default)s")
    add("--out", type=Path, default=ROOT / "docs", help="folder of deployment.md; default: docs/")
    args = parser.parse_args()
    train(args.recordings, args.runs, args.cores)
    results = measured(args.runs, args.repeats)
    (args.out / "deployment.json").write_text(json.dumps(results, indent=1) + "\n")
    picture(results, args.out / "deployment.png")
    write_table(results, args.out / "deployment.md")


def train(recordings: Path, runs: Path, cores: int) -> None:
    program = Path(sys.executable).with_name("snakemake")
    command = [program, "-s", STUDY / "Snakefile", "--configfile", STUDY / "deployment.yaml"]
    command += ["-d", runs, "-j", cores, "--config", f"source={recordings.resolve()}"]
    if subprocess.run(list(map(str, command))).returncode:
        sys.exit("the study did not end: see the message above")


def measured(runs: Path, repeats: int) -> Dict:
    """What was found of each way, with floats and with int8, in both sizes."""
    models = runs / "models"
    models.mkdir(exist_ok=True)
    plan = json.loads((runs / "plan.json").read_text())["runs"]
    seeds = sorted({run["seed"] for run in plan})
    digits = {
        seed: checkpoints(
            {
                way: runs / "runs" / run["name"] / "model.pt"
                for way, (method, _) in TRAINED.items()
                for run in plan
                if (run["method"], run["seed"]) == (method, seed)
            },
            ROOT / "manifests" / "mini" / "encoder.pt",
            models / f"seed{seed}",
        )
        for seed in seeds
    }
    base = base_checkpoints(digits[seeds[0]]["dense"], models / "base")
    split = str(runs / "data" / "test")
    of_first = digits[seeds[0]]
    times = {
        "base": times_of(base, split, repeats, utterances=8),
        "digits": times_of(of_first, split, repeats),
    }
    found: Dict[str, Dict] = {}
    for name in tqdm(ROWS, desc="ways"):
        sizes = {
            "base": run_one(base, name, split, utterances=8),
            "digits": run_one(of_first, name, split),
        }
        del sizes["base"]["wer"]  # of random weights
        others = [run_one(digits[seed], name, split)["wer"] for seed in seeds[1:]]
        sizes["digits"]["wer"] = [sizes["digits"]["wer"], *others]
        for size, one in sizes.items():
            one["factors"] = times[size][name]
        found[name] = sizes
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    return {"machine": machine, "ways": found}


def times_of(files: Dict[str, Path], split: str, repeats: int, **options) -> Dict[str, List[float]]:
    """The real-time factors of all ways, in turns."""
    networks = {
        name: (str(files[way]), int8) for name, (way, int8) in ROWS.items() if way != PACKED
    }
    times = measure(MEASURES, networks=networks, split=split, repeats=repeats, **options)
    return {**times, PACKED: times[ZEROS]}


def run_one(files: Dict[str, Path], name: str, split: str, **options) -> Dict:
    """Measure a row, or read what was measured before; delete runs/deployment/models to repeat."""
    way, int8 = ROWS[name]
    if way == PACKED:
        stored = files[PACKED].read_bytes()
        unpacked = run_one(files, ZEROS, split, **options)
        return unpacked | {"bytes": len(stored), "gzip": len(gzip.compress(stored))}
    kept = files[SHRUNK].with_name(f"{name}.json".replace(":", "_"))
    if not kept.exists():
        options |= dict(checkpoint=str(files[way]), int8=int8, split=split)
        kept.write_text(json.dumps(measure(MEASURES, **options)))
    return json.loads(kept.read_text())


def checkpoints(trained: Dict[str, Path], encoder: Path, folder: Path) -> Dict[str, Path]:
    """The file of each way, from those that were trained."""
    folder.mkdir(parents=True, exist_ok=True)
    small, pack = folder / "shrunk.pt", folder / "pack.safetensors"
    torch.save(shrunk_state(load_shrinkable(trained[CHANNELS]))[0], small)
    checkpoint = read_weights(trained[ZEROS])
    base = read_weights(encoder).state["model"]
    Pack.of(checkpoint.state["model"], base, settings_of(checkpoint, encoder)).save(pack)
    return {**trained, SHRUNK: small, PACKED: pack}


def base_checkpoints(dense: Path, folder: Path) -> Dict[str, Path]:
    """The ways in the size of base, with random weights and the dictionary of ``dense``."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    checkpoint = read_weights(dense)
    told = settings_of(checkpoint, None)
    network = make("base")
    network.remove_pretraining_modules()
    before = network.state_dict()
    plain = OmegaConf.to_container(network.cfg, enum_to_str=True).items()
    settings = {
        key: value for key, value in plain if key != "_name" and not str(value).startswith("${")
    }
    told["cfg"]["model"]["w2v_args"]["model"].update(settings)
    symbols = len(checkpoint.state["model"]["w2v_encoder.proj.bias"])
    encoder = folder / "encoder.pt"
    torch.save({"cfg": told["cfg"]["model"]["w2v_args"], "model": before}, encoder)
    trained = {}
    for way, (_, pattern) in TRAINED.items():
        # Finetuned: every weight that trains is another one.
        weights = {
            f"w2v_encoder.w2v_model.{name}": weight
            if name.startswith("feature_extractor")
            else weight * 1.01
            for name, weight in before.items()
        }
        weights["w2v_encoder.proj.weight"] = torch.randn(symbols, 768)
        weights["w2v_encoder.proj.bias"] = torch.zeros(symbols)
        if pattern:
            chosen = parse_pattern(pattern)
            pruned = chosen.covered(prunable_parameters(weights))
            Mask(chosen(pruned, magnitude, 0.5)).apply_(pruned)
        trained[way] = folder / f"{way.replace(':', '_').replace(' ', '_')}.pt"
        write_checkpoint(trained[way], weights, told)
    return checkpoints(trained, encoder, folder)


def write_table(results: Dict, page: Path) -> None:
    """Replace the table in a page, between its two comments."""
    headers = (
        "",
        "base: MB",
        "gzip",
        "peak GB",
        "RTF",
        "digits: MB",
        "gzip",
        "peak GB",
        "RTF",
        "WER",
    )
    rows = []
    for way, sizes in results["ways"].items():
        cells = [way]
        for found in sizes.values():
            cells += [f"{found['bytes'] / 1e6:.1f}", f"{found['gzip'] / 1e6:.1f}"]
            cells += [f"{found['gb']:.2f}", f"{median(found['factors']):.4f}"]
        rows.append((*cells, "{:.1f} ± {:.1f}".format(*spread(sizes["digits"]["wer"]))))
    before, _, rest = page.read_text().partition(BEGIN)
    made = f"{BEGIN}{table(headers, rows)}\n\nMachine: {results['machine']}.\n{END}"
    page.write_text(before + made + rest.partition(END)[2])


def spread(values: List[float]) -> Tuple[float, float]:
    """Mean and sample standard deviation."""
    return mean(values), stdev(values) if len(values) > 1 else 0.0


def picture(results: Dict, path: Path) -> None:
    ways = results["ways"]
    places = range(len(ways))
    colours = ["tab:orange" if "int8" in way else "tab:blue" for way in ways]
    base = [sizes["base"] for sizes in ways.values()]
    errors = [spread(sizes["digits"]["wer"]) for sizes in ways.values()]
    panels = {
        "MB on disk, base": ([found["bytes"] / 1e6 for found in base], None),
        "real-time factor, base": ([median(found["factors"]) for found in base], None),
        "WER in %, digit strings": ([e[0] for e in errors], [e[1] for e in errors]),
    }
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, (title, (values, bars)) in zip(axes, panels.items()):
        axis.barh(places, values, xerr=bars, color=colours, ecolor="0.3")
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(places, ways)
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
