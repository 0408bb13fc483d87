"""report.md, and the files beside it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Mapping, Optional, Sequence

from parp_fairseq.cli.pictures.style import require_matplotlib
from parp_fairseq.pruning.replacing import replacing

from . import tables
from .checks import differences_of_methods, require_comparable
from .csv_tables import all_tables
from .intervals import Intervals, intervals_of, read_intervals
from .latex import latex_report
from .masks import MasksAtSparsity, read_masks
from .runs import Study, read_study, title_of


@dataclass(frozen=True)
class Section:
    """A heading, and what stands under it: text, tables, and pictures as (caption, file name)."""

    title: str
    parts: Sequence[object]


def write_report(
    folder: Path,
    output: Path,
    formats: Sequence[str],
    against: Optional[Path] = None,
    baseline: str = "dense",
) -> None:
    """Write the report on the study in ``folder`` to ``output``.

    Args:
        formats: of the pictures (png, pdf, svg), and latex for report.tex.
        against: folder of the study with the models to compare with; None for its own.
        baseline: the method of these models.
    """
    require_matplotlib("parp report")
    study = read_study(folder)
    require_runs(study)
    if against is not None:
        study.against = read_study(against)
    study.baseline = baseline
    require_comparable(study)
    masks = read_masks(study)
    intervals, no_intervals = read_intervals(study)
    output.mkdir(parents=True, exist_ok=True)
    kinds = [kind for kind in formats if kind != "latex"] or ["pdf"]
    pictures, *_ = [_draw(study, masks, intervals, output, kind) for kind in kinds]
    sections = _sections(study, masks, intervals, no_intervals, pictures)
    texts = all_tables(study, masks, intervals)
    write_texts(output, sections, texts, "latex" in formats)
    print(f"{status(study)}\n\nreport  {output / 'report.md'}")


def write_texts(
    output: Path, sections: Sequence[Section], texts: Mapping[str, str], latex: bool
) -> None:
    """Write the files ``texts``, report.md, and if wanted report.tex to ``output``."""
    texts = dict(texts)
    if latex:
        texts["report.tex"] = latex_report(sections)
    # Last: a report.md means that the files it refers to exist.
    texts["report.md"] = _markdown(sections)
    for name, text in texts.items():
        with replacing(output / name) as partial:
            partial.write_text(text, encoding="utf-8")


def _draw(
    study: Study,
    masks: Sequence[MasksAtSparsity],
    intervals: Intervals,
    output: Path,
    kind: str,
) -> dict:
    """Draw what there is to draw; returns name -> caption and file name."""
    from . import figures

    drawn = {}

    def draw(name: str, caption: str, function, *arguments) -> None:
        function(output / f"{name}.{kind}", *arguments)
        drawn[name] = (caption, f"{name}.{kind}")

    split = study.splits[-1]
    caption = f"{_capital(study.error)} against sparsity"
    draw("error_rate", caption, figures.draw_error_rates, study, split)
    of_main = {
        cell: at
        for cell, at in intervals_of(intervals, split, study.measure).items()
        if cell.method != "dense"
    }
    if of_main:
        caption = f"Difference in {study.error} to {study.baseline_title}, with 95 % intervals"
        draw("difference", caption, figures.draw_differences, study, split, of_main)
    middle = masks[len(masks) // 2] if masks else None
    if figures.has_learning(study.runs):
        sparsity = middle.sparsity if middle else 0.0
        draw("learning", "Learning curves", figures.draw_learning, study, sparsity)
    if middle and middle.comparable:
        draw("iou", "IoU of the final masks", figures.draw_agreement, middle)
    if middle:
        draw("layers", "Sparsity by layer and by projection", figures.draw_layers, middle)
    if any(len(run.log.prunes) > 1 for run in study.runs):
        caption = "Share of the weights that re-prunes bring back"
        draw("revived", caption, figures.draw_revived, study)
    return drawn


def _sections(
    study: Study,
    masks: Sequence[MasksAtSparsity],
    intervals: Intervals,
    no_intervals: str,
    pictures: dict,
) -> List[Section]:
    overrides = f" with {', '.join(f'`{o}`' for o in study.overrides)}" if study.overrides else ""
    title = f"Study: recipe `{study.recipe}`{overrides}"
    sections = [Section(title, [status(study), *_notes(study)])]
    for split in reversed(study.splits):
        drawn = pictures if split == study.splits[-1] else {}
        sections += _rates(study, split, intervals, no_intervals, drawn)
    about_masks: List[object] = [
        pictures[name] for name in ("iou", "layers", "revived") if name in pictures
    ]
    overlap = tables.overlap_of_seeds(masks)
    if overlap:
        about_masks[1:1] = ["IoU of the final masks of two seeds of a method:", overlap]
    if about_masks:
        sections.append(Section("Masks", about_masks))
    if "learning" in pictures:
        sections.append(Section("Training", [pictures["learning"]]))
    explained = (
        "Measured is the share of zeros among the prunable weights of the models. Trainings, "
        "updates and minutes are those of one such model, including the runs that its mask comes "
        "from; a study shares those. Non-zero parameters are those of the whole model."
    )
    if tables.has_multiply_adds(study):
        explained += (
            " Multiply-adds are those with non-zero weights, per second of audio, without the "
            "products of attention, which depend on the length of the audio."
        )
    sections.append(Section("Each method and sparsity", [explained, tables.cells(study)]))
    return sections


def _rates(
    study: Study, split: str, intervals: Intervals, no_intervals: str, pictures: dict
) -> List[Section]:
    """What was measured on one split, with one decoder."""
    on = "on {}, decoded with {}".format(*split.split("+")) if "+" in split else f"on {split}"
    parts: List[object] = [
        "Mean ± sample standard deviation over the seeds.",
        tables.error_rates(study, tables.word_rate(split)),
    ]
    if pictures:
        parts.append(pictures["error_rate"])
    if study.compared:
        parts += [
            f"Difference to {study.baseline_title}, from the same seed: below 0 is better.",
            tables.against_baseline(study, tables.word_rate(split)),
        ]
        differences = tables.with_intervals(intervals, split, study.measure)
        if differences:
            at = next(at for (_, of, _), at in intervals.items() if of == split)
            parts += [
                f"The same with 95 % intervals, by a paired bootstrap over the {at.speakers} "
                f"{study.drawn} (Bisani and Ney, 2004) of the errors summed over the seeds. They "
                f"say how much the difference depends on the {study.drawn}, and not on the seeds.",
                differences,
            ]
            of_seeds = tables.over_seeds(intervals, split, study.measure)
            if of_seeds:
                parts += [
                    "And with 95 % intervals over the seeds, by Student's t: how much it depends "
                    f"on the seeds, and not on the {study.drawn}. Only a difference that both "
                    "intervals separate from 0 can be expected again.",
                    of_seeds,
                ]
            if "difference" in pictures:
                parts.append(pictures["difference"])
            needed = tables.speakers_needed(intervals, split, study.measure)
            if needed:
                parts += [
                    f"Where the interval has 0 in it, this many {study.drawn} would separate the "
                    "difference from 0, if it stays what it is: the interval narrows with the root "
                    "of their number.",
                    needed,
                ]
            seeds = tables.seeds_needed(intervals, split, study.measure)
            if seeds:
                parts += [
                    "And this many seeds, if the difference and its spread stay what they are:",
                    seeds,
                ]
            characters = tables.with_intervals(intervals, split, "cer")
            if characters:
                parts += ["And of the character error rate:", characters]
        elif pictures:
            parts.append(f"There are no intervals: {no_intervals}.")
    sections = [Section(f"{_capital(study.error)} {on}, %", parts)]
    if _has_characters(study, split):
        rates = tables.error_rates(study, tables.character_rate(split))
        sections.append(Section(f"CER {on}, %", [rates]))
    return sections


def _has_characters(study: Study, split: str) -> bool:
    known = (run.scores[split].character_error_rate for run in study.runs)
    return "cer" in study.measures and any(rate is not None for rate in known)


def require_runs(study: Any) -> None:
    """Raise ValueError where no run of a study, of one corpus or of several, is finished."""
    if not study.runs:
        reasons = "; ".join(f"{name}: {why}" for name, why in study.unfinished[:1])
        raise ValueError(
            f"{study.folder} has no finished run yet, of {len(study.unfinished)}: {reasons}"
        )


def status(study: Any) -> str:
    """How many runs of a study are in the report, and why others are not."""
    done, missing = len(study.runs), len(study.unfinished)
    if not missing:
        return f"All {done} runs are finished."
    others = "\n".join(f"- {name}: {why}" for name, why in study.unfinished)
    return f"{done} of {done + missing} runs are in the report. Not in it:\n\n{others}"


def _notes(study: Study) -> List[str]:
    """What a reader has to know before comparing the numbers."""
    notes = []
    configs = [(run.name, run.cell.method, run.log.config) for run in study.runs]
    for option, values in differences_of_methods(configs):
        told = ", ".join(f"{title_of(method)} {value}" for method, value in values.items())
        notes.append(f"Note: the methods also differ in `{option}`: {told}.")
    for run in study.runs:
        diverged = _first_nan(run)
        if diverged is not None:
            notes.append(f"Note: the training loss of {run.name} is NaN from update {diverged}.")
        for split, score in run.scores.items():
            if math.isnan(score.error_rate):
                notes.append(f"Note: the {study.error} of {run.name} on {split} is NaN.")
    return notes


def _first_nan(run) -> Optional[int]:
    return next((update for update, loss in run.log.loss.items() if math.isnan(loss)), None)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _markdown(sections: Sequence[Section]) -> str:
    texts = []
    for depth, section in enumerate(sections):
        texts.append(f"{'##' if depth else '#'} {section.title}")
        texts += [_as_markdown(part) for part in section.parts]
    return "\n\n".join(texts) + "\n"


def _as_markdown(part: object) -> str:
    if isinstance(part, tables.Table):
        return part.markdown
    if isinstance(part, tuple):
        caption, name = part
        # Markdown viewers show no PDF.
        return f"[{caption}]({name})" if name.endswith(".pdf") else f"![{caption}]({name})"
    return str(part)
