"""All benchmarks: each figure a ratio against a named peer of the same run, in fresh processes.

Writes performance.json after each part, and at the end performance.md and its picture from it.
--only measures some parts again and keeps the other figures; --page measures nothing.
"""

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict

import selection
import semi_structured
import torch
from criteria import CONTENDERS
from fresh import measure
from page import write_page
from tqdm import tqdm

import manifests

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SELECTION = str(HERE / "selection.py")
GROWTH = {
    "1 M": (1, 288),
    "10 M": (3, 527),
    "85 M": (12, 768),
    "302 M": (24, 1024),
    "1 G": (53, 1254),
}
SPARSITIES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
MACHINE = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
if torch.cuda.is_available():
    MACHINE += f", {torch.cuda.get_device_name()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--repeats", type=int, default=5, help="of each but finetuning; default: %(default)s")
    add("--updates", type=int, default=105, help="of each finetuning; default: %(default)s")
    add("--out", type=Path, default=ROOT / "docs", help="folder to write; default: docs/")
    add("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    add("--page", action="store_true", help="write the page anew from performance.json")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "performance.json"
    results = json.loads(path.read_text()) if args.only or args.page else {}
    for part in [] if args.page else args.only or PARTS:
        results[part] = PARTS[part](args)
        results["machine"] = MACHINE
        path.write_text(json.dumps(results, indent=1) + "\n")
    write_page(results, args.out)
    print((args.out / "performance.md").read_text())


def selected(
    what: str, contender: str, shape, sparsity: float = 0.5, device: str = "cpu", **others
) -> Dict:
    """What ``selection.py`` measures of a contender: its seconds, or its memory."""
    layers, width = shape
    return measure(
        SELECTION,
        what=what, contender=contender, layers=layers, width=width, sparsity=sparsity,
        device=device, **others,
    )  # fmt: skip


def masks(repeats: int, device: str = "cpu") -> Dict[str, Dict]:
    """On a CPU, times and memory in processes apart: what makes memory exact makes torch slower."""
    pairs = [(size, c) for size in selection.SHAPES for c in selection.CONTENDERS]
    found: Dict[str, Dict] = {size: {} for size in selection.SHAPES}
    for size, contender in tqdm(pairs, desc=f"masks, {device}"):
        of = dict(contender=contender, shape=selection.SHAPES[size], device=device)
        if device == "cpu":
            both = selected("seconds", **of, repeats=repeats) | selected("memory", **of)
        else:
            both = selected("seconds_and_memory", **of, repeats=repeats)
        found[size][contender] = both
    return found


def growth(repeats: int) -> Dict[str, Dict]:
    found = {}
    for size, shape in tqdm(GROWTH.items(), desc="growth"):
        peers = ("mask", "bare pass in place")
        found[size] = {c: selected("seconds", c, shape, repeats=repeats) for c in peers}
    return found


def sparsities(repeats: int) -> Dict[str, Dict]:
    bar, base = tqdm(SPARSITIES, desc="sparsities"), selection.SHAPES["base"]
    return {str(s): selected("seconds", "mask", base, s, repeats=repeats) for s in bar}


def finetuning(updates: int) -> Dict[str, Dict]:
    """Both tasks twice, in turns: a machine that slows down slows both."""
    arguments = dict(**base_encoder_and_mini(), updates=updates)
    found: Dict[str, Dict] = {}
    for task in tqdm(("stock", "parp", "parp", "stock"), desc="finetuning"):
        run = measure(str(HERE / "finetuning.py"), task=task, **arguments)
        for key, value in run.items():
            found.setdefault(task, {}).setdefault(key, []).append(value)
    return found


def learned_masks(repeats: int, updates: int) -> Dict[str, Dict]:
    """Updates in turns; the selection among the weights of base; the bytes of ten languages."""
    script, arguments = str(HERE / "learned.py"), base_encoder_and_mini()
    # The peer that sorts takes a quarter of a minute for an update, and longer batches take longer.
    counts = {(name, 5): updates // 5 for name in ("dense, stock", "learned mask")}
    counts["sorted in each forward", 5] = updates // 20
    counts |= {(name, 20): updates // 10 for name in ("dense, stock", "learned mask")}
    found: Dict[str, Dict[str, Dict]] = {"5": {}, "20": {}}
    for name, batch in tqdm((*counts, *reversed(counts)), desc="learned masks"):
        of = dict(contender=name, updates=counts[name, batch], batch=batch)
        run = measure(script, what="update", **of, **arguments)
        for key, value in run.items():
            found[str(batch)].setdefault(name, {}).setdefault(key, []).append(value)
    layers, width = selection.SHAPES["base"]
    return {
        "updates": found,
        "selection": measure(script, what="selection", layers=layers, width=width, repeats=repeats),
        "packs": measure(script, what="packs", encoder=arguments["encoder"], languages=10),
    }


def inference(repeats: int) -> Dict[str, Dict]:
    script = str(HERE / "inference.py")
    sizes = tqdm(("base", "large"), desc="inference")
    return {size: measure(script, size=size, repeats=repeats) for size in sizes}


def sparse_inference(repeats: int) -> Dict[str, Dict]:
    script = str(HERE / "semi_structured.py")
    return {size: measure(script, size=size, repeats=repeats) for size in ("base", "large")}


def criteria(updates: int) -> Dict[str, Dict]:
    """Updates of each criterion and rule, in turns, there and back."""
    arguments = dict(**base_encoder_and_mini(), updates=updates // 5)
    names, found = list(CONTENDERS), {}
    for name in tqdm((*names, *reversed(names)), desc="criteria"):
        run = measure(str(HERE / "criteria.py"), contender=name, **arguments)
        for key, value in run.items():
            found.setdefault(name, {}).setdefault(key, []).append(value)
    return found


def base_encoder_and_mini() -> Dict[str, str]:
    """Paths of an encoder in the size of base and of the mini corpus, which are made here."""
    runs = ROOT / "runs" / "bench"
    encoder, data = runs / "encoder.pt", runs / "data"
    code = "import sys, pathlib, finetuning as f; f.write_base_encoder(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(encoder)], check=True, cwd=HERE)
    script = [ROOT / "manifests" / "mini.py", ROOT / "manifests" / "mini", data]
    subprocess.run([sys.executable, *map(str, script)], check=True, stdout=subprocess.DEVNULL)
    return {"encoder": str(encoder), "data": str(data)}


PARTS: Dict[str, Callable[[argparse.Namespace], Dict]] = {
    "masks": lambda args: masks(args.repeats),
    "growth": lambda args: growth(args.repeats),
    "sparsities": lambda args: sparsities(args.repeats),
    "files": lambda args: measure(SELECTION, what="file_size", layers=12, width=768),
    "finetuning": lambda args: finetuning(args.updates),
    "manifests": lambda args: manifests.run(args.repeats),
    "learned": lambda args: learned_masks(args.repeats, args.updates),
    "inference": lambda args: inference(args.repeats),
    "decoding": lambda args: measure(str(HERE / "decoding.py"), utterances=1000),
    "criteria": lambda args: criteria(args.updates),
}
if torch.cuda.is_available():
    PARTS["gpu_masks"] = lambda args: {"machine": MACHINE, "sizes": masks(args.repeats, "cuda")}
if semi_structured.is_possible():
    PARTS["semi_structured"] = lambda args: sparse_inference(args.repeats)

if __name__ == "__main__":
    main()
