"""report.md of a study over several corpora, and the files beside it."""

from pathlib import Path
from statistics import mean, stdev
from typing import Any, Dict, List, Sequence

from parp_fairseq.cli.pictures.style import require_matplotlib
from parp_fairseq.cli.report.compose import Section, require_runs, status, write_texts
from parp_fairseq.cli.report.csv_tables import as_csv, rounded
from parp_fairseq.cli.report.runs import title_of
from parp_fairseq.cli.report.tables import Table

from . import figures
from .masks import Overlaps, linkage_of, newick, read_overlaps
from .rates import Cell, Rate, matrices, matrix, runs_by_cell, trainings
from .runs import LanguageStudy, read_languages
from .sizes import Sizes, read_sizes

_MIB = 2**20
_INTERVALS = (
    "Brackets: 95 % interval, by a paired bootstrap over the test speakers (Bisani and Ney, 2004) "
    "of the errors summed over the seeds. = marks a difference that is not separated from zero. "
    "Without brackets the speakers of the corpus are not known, or there is only one."
)


class _Pages:
    """Collects sections, tables as CSV, and pictures."""

    def __init__(self, output: Path, kinds: Sequence[str]):
        self.output, self.kinds = output, kinds
        self.sections: List[Section] = []
        self.rows: Dict[str, List[List[Any]]] = {}

    def draw(self, name: str, caption: str, function, *arguments: Any) -> tuple:
        for kind in self.kinds:
            function(self.output / f"{name}.{kind}", *arguments)
        return caption, f"{name}.{self.kinds[0]}"


def write_languages(folder: Path, output: Path, formats: Sequence[str]) -> None:
    """Write the report on the study in ``folder`` to ``output``.

    Args:
        formats: of the pictures (png, pdf, svg), and latex for report.tex.
    """
    require_matplotlib("parp report")
    study = read_languages(folder)
    require_runs(study)
    output.mkdir(parents=True, exist_ok=True)
    pages = _Pages(output, [kind for kind in formats if kind != "latex"] or ["pdf"])
    overrides = f" with {', '.join(f'`{o}`' for o in study.overrides)}" if study.overrides else ""
    title = f"Study of {', '.join(study.corpora)}: recipe `{study.recipe}`{overrides}"
    pages.sections.append(Section(title, [status(study)]))
    cells = runs_by_cell(study)
    for measure in study.measures:
        _add_trainings(pages, study, measure, trainings(study, measure, cells))
    for method, sparsity in matrices(cells):
        for measure in study.measures:
            rates = matrix(study, measure, cells, method, sparsity)
            _add_matrix(pages, study, measure, method, sparsity, rates)
    for overlaps in read_overlaps(study, cells):
        _add_overlaps(pages, overlaps)
    _add_sizes(pages, study, read_sizes(study, cells))
    texts = {**_csv_files(pages), "runs.csv": _runs_csv(study)}
    write_texts(output, pages.sections, texts, "latex" in formats)
    print(f"{status(study)}\n\nreport  {output / 'report.md'}")


def _add_trainings(
    pages: _Pages, study: LanguageStudy, measure: str, found: Dict[Cell, Dict[str, Rate]]
) -> None:
    headers = ["training", "sparsity", *study.corpora, "mean"]
    rates, differences = [], []
    for cell, of_corpus in found.items():
        of_seeds = [rate.values for rate in of_corpus.values()]
        common = [seed for seed in of_seeds[0] if all(seed in values for values in of_seeds)]
        overall = {seed: mean(values[seed] for values in of_seeds) for seed in common}
        average = Rate(study.seeds, overall, [], None).text
        head = [cell.title, f"{cell.sparsity:g}"]
        rates.append([*head, *(rate.text for rate in of_corpus.values()), average])
        if cell.kind != "alone" and any(rate.differences for rate in of_corpus.values()):
            differences.append([*head, *(rate.difference for rate in of_corpus.values())])
        for corpus, rate in of_corpus.items():
            row = [cell.kind, cell.method, cell.sparsity, cell.drawn, corpus, measure]
            row += _numbers(rate)
            pages.rows.setdefault("trainings.csv", []).append(row)
    parts: List[object] = [
        "Mean ± sample standard deviation over the seeds.",
        Table(headers, rates),
    ]
    if differences:
        parts += [
            f"Difference to the method trained on each corpus alone, from the same seed: below 0, "
            f"training jointly is better. {_INTERVALS}",
            Table(headers[:-1], differences),
        ]
    pages.sections.append(Section(f"{study.measures[measure]} on {study.split}, %", parts))


def _add_matrix(
    pages: _Pages,
    study: LanguageStudy,
    measure: str,
    method: str,
    sparsity: float,
    rates: List[List[Rate]],
) -> None:
    corpora, title = study.corpora, f"{title_of(method)} at sparsity {sparsity:g}"
    name, error = f"{method}_{sparsity:g}_{measure}", study.measures[measure]
    headers = ["mask from", *corpora]
    body = [[corpus, *(rate.text for rate in row)] for corpus, row in zip(corpora, rates)]
    differing = [
        [a, *("0" if a == b and rate.values else rate.difference for b, rate in zip(corpora, row))]
        for a, row in zip(corpora, rates)
    ]
    parts: List[object] = [
        f"{error} on {study.split}, %. Row: where the mask is from. Column: what it is "
        "finetuned on, with the mask fixed.",
        Table(headers, body),
        pages.draw(
            f"moved_{name}", f"{error}: {title}", figures.draw_rates, corpora, rates, error, title,
        ),
        f"Difference to the mask of the corpus itself, from the same seed. {_INTERVALS}",
        Table(headers, differing),
        pages.draw(
            f"moved_differences_{name}", f"Differences in {error}: {title}",
            figures.draw_differences, corpora, rates, error, title,
        ),
    ]  # fmt: skip
    pages.sections.append(Section(f"Masks that move, {error}: {title}", parts))
    for source, row in zip(corpora, rates):
        for target, rate in zip(corpora, row):
            line = [method, sparsity, source, target, measure, *_numbers(rate)]
            pages.rows.setdefault("moved.csv", []).append(line)


def _add_overlaps(pages: _Pages, overlaps: Overlaps) -> None:
    cell, corpora = overlaps.cell, overlaps.corpora
    name = f"{cell.kind}_{cell.method}_{cell.sparsity:g}_{cell.drawn}"
    title = f"{cell.title}, sparsity {cell.sparsity:g}"
    whole = [
        [corpus, *("" if value is None else f"{value:.3f}" for value in row)]
        for corpus, row in zip(corpora, overlaps.matrix)
    ]
    pairs = [f"{corpora[a]}, {corpora[b]}" for a, b in overlaps.pairs]
    layers = [
        [row, *("" if value is None else f"{value:.3f}" for value in values)]
        for row, values in zip(overlaps.rows, zip(*overlaps.pairs.values()))
    ]
    parts: List[object] = [
        "How far two masks prune the same weights: 0 is the overlap of random masks of the same "
        "sparsities, 1 is full overlap. Mean over the seeds.",
        Table(["", *corpora], whole),
        pages.draw(f"overlap_{name}", f"Overlap: {title}", figures.draw_overlap, overlaps),
        Table(["layer", *pairs], layers),
        pages.draw(f"layers_{name}", f"Overlap by layer: {title}", figures.draw_layers, overlaps),
    ]
    merges = linkage_of(overlaps)
    if merges is not None:
        parts += [
            f"Average linkage of the corpora by 1 - overlap: `{newick(overlaps, merges)}`",
            pages.draw(f"tree_{name}", f"Tree: {title}", figures.draw_tree, overlaps, merges),
        ]
        for a, b, distance, size in merges:
            row = [cell.kind, cell.method, cell.sparsity, cell.drawn]
            row += [_member(corpora, int(a)), _member(corpora, int(b)), f"{distance:.6f}"]
            pages.rows.setdefault("tree.csv", []).append([*row, int(size)])
    pages.sections.append(Section(f"Masks: {title}", parts))
    for (a, b), values in overlaps.pairs.items():
        for layer, value in zip(overlaps.rows, values):
            row = [cell.kind, cell.method, cell.sparsity, cell.drawn, corpora[a], corpora[b], layer]
            shown = "" if value is None else f"{value:.6f}"
            pages.rows.setdefault("overlap.csv", []).append([*row, shown])


def _member(corpora: Sequence[str], number: int) -> str:
    """A corpus, or the row of tree.csv that made a part, from 1."""
    return corpora[number] if number < len(corpora) else f"#{number - len(corpora) + 1}"


def _add_sizes(pages: _Pages, study: LanguageStudy, sizes: Sizes) -> None:
    known = [row for row in sizes if row[3] is not None]
    if not known:
        return
    rows = [
        [title_of(method), f"{sparsity:g}", what, f"{size / _MIB:.2f}"]
        for method, sparsity, what, size in known
    ]
    explained = (
        "MiB of tensors, for all corpora together. A pack is what `parp pack` makes: one bit for "
        "each weight, and the values that the encoder does not have."
    )
    table = Table(["method", "sparsity", "what is kept", "MiB"], rows)
    pages.sections.append(Section(f"Bytes for {len(study.corpora)} corpora", [explained, table]))
    pages.rows["bytes.csv"] = [[m, s, what, round(size)] for m, s, what, size in known]


_COUNTED = ["mean", "std", "seeds", "difference", "low", "high", "speakers"]
_HEADERS = {
    "trainings.csv": ["kind", "method", "sparsity", "drawn", "corpus", "measure", *_COUNTED],
    "moved.csv": ["method", "sparsity", "mask_corpus", "corpus", "measure", *_COUNTED],
    "overlap.csv": [
        *("kind", "method", "sparsity", "drawn", "corpus", "other", "layer", "overlap")
    ],
    "tree.csv": ["kind", "method", "sparsity", "drawn", "part", "other", "distance", "corpora"],
    "bytes.csv": ["method", "sparsity", "kept", "bytes"],
}


def _numbers(rate: Rate) -> List[Any]:
    if not rate.values:
        return ["", "", 0, "", "", "", ""]
    spread = f"{stdev(rate.values.values()):.4f}" if len(rate.values) > 1 else ""
    row: List[Any] = [f"{rate.mean:.4f}", spread, len(rate.values)]
    row.append(f"{mean(rate.differences):.4f}" if rate.differences else "")
    if rate.interval is None:
        return [*row, "", "", ""]
    return [*row, f"{rate.interval.low:.4f}", f"{rate.interval.high:.4f}", rate.interval.speakers]


def _csv_files(pages: _Pages) -> Dict[str, str]:
    return {name: as_csv(_HEADERS[name], rows) for name, rows in pages.rows.items()}


def _runs_csv(study: LanguageStudy) -> str:
    headers = ["run", "kind", "method", "sparsity", "seed", "trained_on", "mask_from", "drawn"]
    headers += ["corpus", "split", *study.measures, "utterances"]
    rows = []
    for run in study.runs:
        plan = run.plan
        for (corpus, split), score in run.scores.items():
            row = [plan.name, plan.kind, plan.method, plan.sparsity, plan.seed, plan.corpus]
            row += [plan.mask_corpus, plan.drawn, corpus, split, score.error_rate]
            more = [rounded(score.rate(of)) for of in list(study.measures)[1:]]
            rows.append([*row, *more, score.utterances])
    return as_csv(headers, rows)
