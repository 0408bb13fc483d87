"""The page of the benchmarks: docs/performance.md and its picture, from what was measured."""

from itertools import chain
from pathlib import Path
from statistics import median
from typing import Dict, Iterable, List, Sequence

import matplotlib
from tabulate import tabulate

import manifests

matplotlib.use("Agg")
from matplotlib import pyplot as plt

PAGE = """\
# Performance

Made by `make bench`; the numbers behind it are in [performance.json](performance.json).
Machine: {machine}. Each row is a fresh process. Times are medians in seconds, with the least and
the greatest of {repeats} repeats. Memory, in GB of 2^30 bytes, is the most taken beside the
weights, in a second process; of a finetuning, the most that its process held.

![time by the number of weights](performance.png)

## One mask at sparsity 0.5

Base and large are the prunable weights of wav2vec 2.0: 85.0 and 302.2 million. "mask" makes one,
"mask, applied" zeroes the weights too; "eval() and train()" goes to the subnetwork and back to all
weights, two passes; "fixed mask, enforced" is what MPI, OMP and IMP do after each update: it zeroes
again what has moved. Peers: `torch.nn.utils.prune.global_unstructured`, with which the paper's code
prunes; all magnitudes joined and cut by `kthvalue`; and the bare pass `p.mul_(p.abs() > t)`, which
knows its threshold.

{masks}
{gpu}
## Growth

{growth}

## Sparsity

{sparsities}

## Mask files

{bits:.3f} bits a weight; the form of the paper's authors: {authors_bits:.1f}.

## Finetuning

wav2vec 2.0 base (random weights), batches of 5 s, {updates} updates, re-pruned every 50; two runs
each, in turns. Peer: stock `audio_finetuning` + `wav2vec_ctc`. PARP makes **{throughput:.3f}**
times its updates a second.

{finetuning}
{criteria}{learned}{inference}{semi_structured}{decoding}
## Manifests

Headers of 2000 FLAC files, and 500 MP3 clips at 48 kHz to FLAC at 16 kHz.

{manifests}
"""
CRITERIA = """
## Criteria and rules

wav2vec 2.0 base, batches of 5 s, {updates} updates, two runs each, in turns, re-pruned every 10.
Peer: stock dense finetuning. The median time of an update and the peak memory, as ratios to it.

{table}
"""
LEARNED = """
## Learned masks

wav2vec 2.0 base, two runs each, in turns. Peers: stock dense finetuning, and a sort of each
matrix's scores in every forward pass, as in the paper's code. An update of a learned mask takes
**{ratio:.3f}** times the time of a dense one with batches of 5 s, and {longer:.3f} times with
batches of 20 s, by medians. The recipes have batches of 200 s a GPU.

{table}

Selecting a layerwise mask among {weights:,} scores takes {selection} s, {passes:.2f} times the
bare pass over base above.

{languages} packs at sparsity 0.1 ({pack:,} bytes each) and one encoder take **{share:.1%}** of the
weights of {languages} dense checkpoints.
"""
INFERENCE = """
## Inference

Batches of 4 clips of 5 s. Half of the channels of the feed-forward layers are pruned
(`task.prune_pattern=ffn_channels`), and taken out by `parp shrink`. "Predicted" is the ratio of the
multiply-adds. Zeros that are left in make nothing faster.

{table}
"""
SEMI_STRUCTURED = """
## 2:4 on a GPU

Half precision, clips of 5 s. Both networks have the same 2:4 zeros; one keeps them as dense
matrices, the other as `torch.sparse.to_sparse_semi_structured` makes them. Below 1, 2:4 is slower.

{table}
"""
DECODING = """
## Decoding

{utterances:,} utterances ({frames:,} frames), a lexicon, a beam of 50, batches of 50. A loop over
the decoder in one process takes {loop:.1f} s. `fairseq-generate` decodes on all {cores} cores in
{all:.1f} s, **{gain:.2f}** times as fast, with {same} hypotheses.
"""
GPU = """
## One mask on a GPU

Machine: {machine}. `global_unstructured` is faster there, and takes many times the memory.

{masks}
"""


def write_page(results: Dict, folder: Path) -> None:
    """performance.md and performance.png in ``folder``."""
    files, tuned = results["files"], results["finetuning"]
    seconds = {task: sum(map(sum, runs["seconds"])) for task, runs in tuned.items()}
    gpu = "gpu_masks" in results and GPU.format(
        machine=results["gpu_masks"]["machine"], masks=masks_table(results["gpu_masks"]["sizes"])
    )
    text = PAGE.format(
        machine=results["machine"],
        repeats=len(results["sparsities"]["0.5"]["seconds"]),
        masks=masks_table(results["masks"]),
        gpu=gpu or "",
        growth=growth_table(results["growth"]),
        sparsities=table(
            ("sparsity", "seconds, base"),
            ((s, spread(found["seconds"])) for s, found in results["sparsities"].items()),
        ),
        **files,
        updates=len(tuned["parp"]["seconds"][0]) + 1,
        throughput=seconds["stock"] / seconds["parp"],
        finetuning=finetuning_table(tuned),
        criteria=criteria_section(results["criteria"]) if "criteria" in results else "",
        learned=learned_section(results) if "learned" in results else "",
        inference=inference_section(results["inference"]) if "inference" in results else "",
        semi_structured=semi_structured_section(results["semi_structured"])
        if "semi_structured" in results
        else "",
        decoding=decoding_section(results["decoding"]) if "decoding" in results else "",
        manifests=manifests.table(results["manifests"]),
    )
    (folder / "performance.md").write_text(text)
    picture(results, folder / "performance.png")


def masks_table(sizes: Dict[str, Dict]) -> str:
    headers = ("", "seconds", "times the bare pass", "times as fast as torch", "GB", "% of weights")
    rows = []
    for size, contenders in sizes.items():
        bare, slow = (
            median(contenders[peer]["seconds"])
            for peer in ("bare pass in place", "global_unstructured")
        )
        for name, found in contenders.items():
            middle = median(found["seconds"])
            share = found["extra_gb"] * 2**30 / (4 * found["weights"])
            ratios = (f"{middle / bare:.2f}", f"{slow / middle:.1f}")
            memory = (f"{found['extra_gb']:.3f}", f"{share:.1%}")
            rows.append((f"{size}: {name}", spread(found["seconds"]), *ratios, *memory))
    return table(headers, rows)


def growth_table(sizes: Dict[str, Dict]) -> str:
    rows = []
    for size, found in sizes.items():
        ours, bare = (median(found[c]["seconds"]) for c in ("mask", "bare pass in place"))
        weights, seconds = found["mask"]["weights"], spread(found["mask"]["seconds"])
        rows.append((size, f"{weights:,}", seconds, f"{ours / bare:.2f}"))
    return table(("", "weights", "seconds", "times the bare pass"), rows)


def learned_section(results: Dict) -> str:
    learned, bare = results["learned"], results["masks"]["base"]["bare pass in place"]
    packs, chosen = learned["packs"], learned["selection"]
    runs = {
        f"{name}, {batch} s": found
        for batch, all_found in learned["updates"].items()
        for name, found in all_found.items()
    }
    seconds = {name: median(chain(*found["seconds"])) for name, found in runs.items()}
    return LEARNED.format(
        ratio=seconds["learned mask, 5 s"] / seconds["dense, stock, 5 s"],
        longer=seconds["learned mask, 20 s"] / seconds["dense, stock, 20 s"],
        table=finetuning_table(runs),
        weights=chosen["weights"],
        selection=spread(chosen["seconds"]),
        passes=median(chosen["seconds"]) / median(bare["seconds"]),
        share=packs["packed"] / packs["dense"],
        languages=packs["languages"],
        pack=packs["pack"],
    )


def inference_section(sizes: Dict[str, Dict]) -> str:
    headers = ("", "seconds a batch", "times as fast", "predicted", "MB", "of the bytes")
    rows = []
    for size, networks in sizes.items():
        whole = networks["whole"]
        for name, found in networks.items():
            gain = median(whole["seconds"]) / median(found["seconds"])
            expected = whole["multiply_adds"] / found["multiply_adds"]
            share = found["bytes"] / whole["bytes"]
            ratios = (f"{gain:.2f}", f"{expected:.2f}", f"{found['bytes'] / 1e6:.0f}")
            rows.append((f"{size}: {name}", spread(found["seconds"]), *ratios, f"{share:.2f}"))
    return INFERENCE.format(table=table(headers, rows))


def semi_structured_section(sizes: Dict[str, Dict]) -> str:
    headers = ("", "batch", "dense, seconds", "2:4, seconds", "times as fast", "difference")
    rows = []
    for size, batches in sizes.items():
        for batch, found in batches.items():
            dense, sparse = found["seconds"].values()
            gain = f"{median(dense) / median(sparse):.2f}"
            rows.append(
                (size, batch, spread(dense), spread(sparse), gain, f"{found['difference']:.1e}")
            )
    return SEMI_STRUCTURED.format(table=table(headers, rows))


def decoding_section(found: Dict) -> str:
    loop, workers = (found["seconds"][name] for name in ("one process", "all cores"))
    same = "the same" if found["same"] else "OTHER"
    told = {**found, "loop": loop, "all": workers, "gain": loop / workers, "same": same}
    return DECODING.format(**told)


def criteria_section(runs: Dict[str, Dict]) -> str:
    times = {name: median(chain(*found["seconds"])) for name, found in runs.items()}
    memory = {name: median(found["gb"]) for name, found in runs.items()}
    dense, *_ = runs
    rows = [
        (
            name,
            f"{times[name]:.3f}",
            f"{times[name] / times[dense]:.3f}",
            f"{memory[name]:.3f}",
            f"{memory[name] / memory[dense]:.3f}",
        )
        for name in runs
    ]
    headers = ("", "seconds an update", "times dense", "peak GB", "times dense")
    updates = len(runs[dense]["seconds"][0]) + 1
    return CRITERIA.format(updates=updates, table=table(headers, rows))


def finetuning_table(tasks: Dict[str, Dict]) -> str:
    headers = ("", "updates a second", "seconds of start-up", "of the first update", "peak GB")
    rows = []
    for task, runs in tasks.items():
        rates = [len(seconds) / sum(seconds) for seconds in runs["seconds"]]
        others = (spread(runs[key]) for key in ("startup", "first", "gb"))
        rows.append((task, spread(rates), *others))
    return table(headers, rows)


def spread(values: List[float]) -> str:
    return f"{median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    align = ("left",) + ("right",) * (len(headers) - 1)
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True, colalign=align)


def picture(results: Dict, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
    series = {
        "global_unstructured": results["masks"],
        "cat + kthvalue": results["masks"],
        "mask": results["growth"],
        "bare pass in place": results["growth"],
    }
    for contender, sizes in series.items():
        found = [contenders[contender] for contenders in sizes.values()]
        middles = [median(f["seconds"]) for f in found]
        axes.loglog([f["weights"] for f in found], middles, "o-", label=contender)
    axes.set_xlabel("prunable weights")
    axes.set_ylabel("seconds")
    axes.set_title("One mask at sparsity 0.5")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
