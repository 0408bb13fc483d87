"""report.md, and the files beside it."""

from pathlib import Path
from typing import List, Sequence

from parp_fairseq.cli.pictures.heat_map import require_matplotlib
from parp_fairseq.pruning.replacing import replacing

from . import tables
from .masks import MasksAtSparsity, read_masks
from .runs import Study, read_study


def write_report(folder: Path, output: Path) -> None:
    """Write the report on the study in ``folder`` to ``output``."""
    require_matplotlib("parp report")
    study = read_study(folder)
    if not study.runs:
        name, why = study.unfinished[0]
        raise ValueError(
            f"{folder} holds no finished run yet, of {len(study.unfinished)}: {name}: {why}"
        )
    masks = read_masks(study)
    output.mkdir(parents=True, exist_ok=True)
    pictures = _draw(study, masks, output)
    texts = {
        "runs.csv": tables.runs_csv(study),
        "cells.csv": tables.cells_csv(study),
        "pruning.csv": tables.pruning_csv(study),
        "iou.csv": tables.iou_csv(masks),
        "layers.csv": tables.layers_csv(masks),
        # Last: where the report is, what it speaks of is there too.
        "report.md": _compose(study, pictures),
    }
    for name, text in texts.items():
        with replacing(output / name) as partial:
            partial.write_text(text, encoding="utf-8")
    print(f"{_tell_finished(study)}\n\nreport  {output / 'report.md'}")


def _draw(study: Study, masks: Sequence[MasksAtSparsity], output: Path) -> List[str]:
    """Draws what there is to draw; returns it as Markdown."""
    from . import figures as draw

    draw.draw_error_rates(output / "error_rate.png", study, study.splits[-1])
    pictures = [f"![{study.error} against sparsity](error_rate.png)"]
    middle = masks[len(masks) // 2] if masks else None
    if middle and middle.comparable:
        draw.draw_agreement(output / "iou.png", middle)
        pictures.append(
            "IoU of the kept weights: of two methods, the mean over the seeds; on the diagonal, of "
            "two seeds of a method.\n\n![IoU of the final masks](iou.png)"
        )
    if middle:
        draw.draw_layers(output / "layers.png", middle)
        pictures.append("![Sparsity by layer and by projection](layers.png)")
    if any(cell.method in ("parp", "parp_p") for cell in study.cells):
        draw.draw_revived(output / "revived.png", study)
        pictures.append("![Share of the weights that re-prunes bring back](revived.png)")
    return pictures


def _compose(study: Study, pictures: Sequence[str]) -> str:
    overrides = f" with {', '.join(f'`{o}`' for o in study.overrides)}" if study.overrides else ""
    parts = [f"# Study: recipe `{study.recipe}`{overrides}", _tell_finished(study)]
    error_rates, pruning = pictures[0], pictures[1:]
    *others, main = study.splits
    parts += [
        f"## {study.error} on {main}, %",
        "Mean ± sample standard deviation over the seeds.",
        tables.error_rates(study, main),
        error_rates,
    ]
    methods = {cell.method for cell in study.planned}
    if "dense" in methods and len(methods) > 1:
        parts += [
            "Less that of the dense model of the same seed: below 0, the subnetwork is the better "
            "one.",
            tables.against_dense(study, main),
        ]
    for split in others:
        parts += [f"## {study.error} on {split}, %", tables.error_rates(study, split)]
    if pruning:
        parts += ["## Masks", *pruning]
    parts += [
        "## Each method and sparsity",
        "Measured is the share of zeros among the prunable weights of the models. Finetuning runs "
        "and updates are what one such model takes, with the runs that its mask comes from; a "
        "study shares those.",
        tables.cells(study),
    ]
    return "\n\n".join(parts) + "\n"


def _tell_finished(study: Study) -> str:
    done, missing = len(study.runs), len(study.unfinished)
    if not missing:
        return f"All {done} runs are finished."
    others = "\n".join(f"- {name}: {why}" for name, why in study.unfinished)
    return (
        f"{done} of {done + missing} runs are finished, and in the report. Not in it:\n\n{others}"
    )
