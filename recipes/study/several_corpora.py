"""A study over several corpora, such as languages: its corpora, and its runs.

A run trains on one corpus alone, on one corpus with the final mask of another one, on all corpora
with one mask, or on all corpora with a mask for each.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from kinds import Speech, Text
from plan import Run, as_overrides, digest, to_json
from quoting import fill

JOINT = "joint"
WEIGHTED = "weighted.txt"
_OF_ALL = ("encoder", "overrides", "gpus")
_WITH_MASK = ("prune_pattern", "prune_scope", "prune_bias")


@dataclass(frozen=True)
class Corpus:
    """A folder of manifests.

    Attributes:
        name: of the corpus; empty where a study has one corpus.
        data: the folder.
        kind: of its files.
        splits: what is scored.
        prepare: the command that writes the folder; empty where it exists.
        source: what ``{source}`` in it stands for.
        joins: the corpora that it consists of.
    """

    name: str
    data: Path
    kind: Speech | Text
    splits: Sequence[str]
    prepare: str = ""
    source: Optional[str] = None

    joins: tuple[str, ...] = ()

    def files_of(self, split: str) -> list[Path]:
        """The files of one split."""
        return self.kind.files_of(self.data, split)

    @property
    def trained_on(self) -> list[Path]:
        """What a training reads."""
        drawn = [path for name in self.joins for path in self.files_of(f"train_{name}")]
        drawn += [self.data / WEIGHTED] if self.joins else []
        return [*self.files_of("train"), *self.kind.dictionaries(self.data), *drawn]

    @property
    def prepared(self) -> list[Path]:
        """All files that the study reads."""
        scored = [path for split in self.splits for path in self.files_of(split)]
        return list(dict.fromkeys([*self.trained_on, *scored]))

    @property
    def missing(self) -> Optional[str]:
        """Why its files can neither be read nor made, in words; None if all is well."""
        lacking = [path for path in self.prepared if not path.is_file()]
        of = f"corpora.{self.name}." if self.name else ""
        if not lacking or self.joins:
            return None
        if not self.prepare:
            return f"{of}data is {self.data}, which has no {lacking[0].name}"
        if "{source}" in self.prepare and self.source is None:
            return f"{of}source is not given, expected --config source=FOLDER"
        if "{source}" in self.prepare and not Path(self.source).exists():
            return f"{of}source is {self.source}, which does not exist"
        return None


class Commands:
    """The command that prepares each corpus: ``{commands:CONFIGURED.}`` in a format string.

    The full stop keeps Snakemake from taking the end of a name for an instruction to quote.
    """

    def __init__(self, corpora: Mapping[str, Corpus], repository: Path, encoder: Path):
        self.corpora = corpora
        self.places = {"repository": repository, "encoder": encoder}

    @staticmethod
    def configured(corpus: Corpus) -> str:
        """Name of the corpus, if it has one, and a digest of the command: another one runs anew."""
        return f"{corpus.name} {digest(corpus.prepare)}".lstrip()

    def __format__(self, configured: str) -> str:
        corpus = self.corpora[configured.rpartition(" ")[0]]
        places = {**self.places, "data": corpus.data, "source": corpus.source}
        places.update({member: self.corpora[member].data for member in corpus.joins})
        return fill(corpus.prepare, places)


class OfRun:
    """A part of a shell command that depends on the run: ``{part:RUN.}`` in a format string.

    Snakemake repeats a job whose `params` have changed. Paths are not among them, so a study can be
    moved.
    """

    def __init__(self, of: Callable[[str], str]):
        self.of = of

    def __format__(self, run: str) -> str:
        return self.of(run.removesuffix("."))


@dataclass(frozen=True)
class CorpusRun(Run):
    """A training on a corpus.

    Attributes:
        corpus: what it trains on; ``JOINT`` for all.
        final_mask_of: the run whose final mask it keeps fixed.
        drawn: how the corpora are drawn in a joint training: ``plain`` or ``weighted``.
        extra: further options.
        per_corpus: whether each corpus has a mask.
    """

    corpus: str = ""
    final_mask_of: Optional["CorpusRun"] = None
    drawn: str = "plain"
    extra: tuple[str, ...] = ()
    per_corpus: bool = False

    @property
    def built_on(self) -> Optional[Run]:
        return self.final_mask_of or super().built_on

    @property
    def mask_corpus(self) -> Optional[str]:
        """The corpus that its fixed mask comes from."""
        source = self.final_mask_of or self.mask_from
        return source.corpus if source else None

    @property
    def place(self) -> str:
        """What it trains on, and whose mask it has, in its name."""
        if self.per_corpus:
            return f"each-{self.drawn}"
        if self.corpus == JOINT:
            return f"{JOINT}-{self.drawn}"
        moved = self.mask_corpus not in (None, self.corpus) or self.final_mask_of
        return f"{self.mask_corpus}-to-{self.corpus}" if moved else self.corpus

    @property
    def name(self) -> str:
        method, rest = super().name[: len(self.method)], super().name[len(self.method) :]
        return f"{method}-{self.place}{rest}"

    @property
    def options(self) -> list[str]:
        return [*super().options, *self.extra]


def read_corpora(study: Mapping[str, Any], repository: Path) -> dict[str, Corpus]:
    """Name -> corpus; the last one is all of them joined, where the study trains on that.

    Raises:
        ValueError: a name or a folder is given twice, or corpora that are joined differ in labels.
    """
    corpora = {}
    for name, one in study["corpora"].items():
        labels = one.get("labels", study["labels"])
        prepare, source = one.get("prepare", ""), one.get("source", study.get("source"))
        place = one["data"].replace("{repository}", str(repository))
        if "{source}" in place and source is None:
            raise ValueError(f"corpora.{name}.data is {place}: expected --config source=FOLDER")
        data = Path(place.replace("{source}", str(source))).absolute()
        corpora[name] = Corpus(name, data, Speech(labels), study["splits"], prepare, source)
    if len(corpora) < 2:
        raise ValueError(f"corpora: {', '.join(corpora)} alone: expected two or more")
    folders = [corpus.data for corpus in corpora.values()]
    if len(set(folders)) < len(folders):
        raise ValueError("corpora: two have the same folder")
    if study["joint"] or study["mask_per_corpus"]:
        labels = {corpus.kind.labels for corpus in corpora.values()}
        if len(labels) > 1:
            raise ValueError(
                f"corpora: their labels are {', '.join(sorted(labels))}: expected the same to "
                "train on all of them (joint, mask_per_corpus)"
            )
        splits = [f"{split}_{name}" for split in study["splits"] for name in corpora]
        members = " ".join(f"{name}={{{name}}}" for name in corpora)
        joins = f"python {{repository}}/manifests/joint.py {study['join']} {members} {{data}}"
        corpora[JOINT] = Corpus(
            JOINT,
            Path(JOINT).absolute(),
            Speech(labels.pop()),
            splits,
            f"rm -rf {{data}} && {joins}",
            joins=tuple(corpora),
        )
    return corpora


def plan_languages(
    study: Mapping[str, Any], config: Mapping[str, Any], version: str
) -> list[CorpusRun]:
    """The runs that are scored. With their chains they are all runs; shared ones appear once.

    Args:
        study: the study file.
        config: method -> the composed config of its trainings.
        version: of the plugin, and of the code of the study's own user dir.

    Raises:
        ValueError: a run that cannot succeed.
    """
    _require_methods(study, config)
    own = {method: as_overrides(options) for method, options in study["presets"].items()}
    names = list(study["corpora"])

    def run(
        method: str, corpus: str, seed: int, sparsity: float, like: str = "", **more: Any
    ) -> CorpusRun:
        """A training by the options of a method, or of the method ``like``."""
        of_data = study["corpora"] if corpus == JOINT else {corpus: study["corpora"][corpus]}
        decides = [of_data, study["labels"], study["join"] if corpus == JOINT else None]
        settings = digest(
            config[like or method], version, *(study.get(key) for key in _OF_ALL), *decides,
            more.get("extra"), more.get("drawn", "plain"),
        )  # fmt: skip
        dense = config[method]["task"]["sparsity"] == 0
        preset = more.pop("preset", own.get(method))
        share = 0.0 if dense else sparsity
        return CorpusRun(method, share, seed, settings, preset=preset, corpus=corpus, **more)

    def of_method(method: str, corpus: str, seed: int, sparsity: float, **more: Any) -> CorpusRun:
        """A training of a method, and the dense one that it builds on."""
        dense = run("dense", corpus, seed, 0.0, drawn=more.get("drawn", "plain"))
        if method == "omp":
            more["mask_from"] = dense
        if config[method]["checkpoint"].get("finetune_from_model"):
            more["weights_from"] = dense
        return run(method, corpus, seed, sparsity, **more)

    def moved(method: str, source: str, target: str, seed: int, sparsity: float) -> CorpusRun:
        """A training on ``target`` with the fixed mask that a method found on ``source``."""
        if method == "omp":
            dense = run("dense", source, seed, 0.0)
            return run("omp", target, seed, sparsity, mask_from=dense)
        found = of_method(method, source, seed, sparsity)
        task = config[method]["task"]
        extra = as_overrides({f"task.{option}": task[option] for option in _WITH_MASK})
        # Named by the method that found the mask, and trained as OMP trains a mask from a file.
        return run(
            method, target, seed, sparsity, "omp",
            final_mask_of=found, preset=("+method=omp",), extra=extra,
        )  # fmt: skip

    subset = ",".join(f"{name}:train_{name}" for name in names)
    each = ("task.mask_per_corpus=true", f"dataset.train_subset='{subset}'")
    runs = []
    for seed in study["seeds"]:
        for sparsity in study["sparsities"]:
            cell = (seed, sparsity)
            runs += [of_method(m, name, *cell) for m in study["methods"] for name in names]
            runs += [
                moved(method, source, target, *cell)
                for method in study["transfer"]
                for source in names
                for target in names
            ]
            for drawn in study["draw"]:
                runs += [of_method(m, JOINT, *cell, drawn=drawn) for m in study["joint"]]
                runs += [
                    run(m, JOINT, *cell, drawn=drawn, extra=each, per_corpus=True)
                    for m in study["mask_per_corpus"]
                ]
    return list(dict.fromkeys(runs))


def _require_methods(study: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    if study.get("sparsities_by_method"):
        raise ValueError("sparsities_by_method is given: a study with `corpora` has sparsities")
    if study.get("options_by_method"):
        raise ValueError("options_by_method is given: a study with `corpora` has overrides")
    for key in ("methods", "transfer", "joint", "mask_per_corpus"):
        for method in study[key]:
            if method not in config:
                raise ValueError(f"{key}: {method!r} is not a method; see `methods`")
            if method == "imp":
                raise ValueError(f"{key}: a study with `corpora` does not support imp")
    for key in ("transfer", "mask_per_corpus"):
        for method in study[key]:
            task = config[method]["task"]
            if task["sparsity"] == 0:
                raise ValueError(f"{key}: {method!r} has no mask")
            if key == "transfer":
                continue
            if task["learn_mask"] or method == "omp" or task["initial_sparsity"] is not None:
                raise ValueError(
                    f"mask_per_corpus: {method!r} cannot have a mask for each corpus in one run; "
                    "see task.mask_per_corpus"
                )


def evaluations_of(run: Run, study: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Name of each evaluation -> the corpus and the split that it scores."""
    corpus = getattr(run, "corpus", "")
    decoders = (*(f"+{name}" for name in study["decoders"]), "")
    names = list(study["corpora"]) if corpus == JOINT else [corpus]
    return {
        (f"{split}_{name}" if corpus == JOINT else split) + decoder: (name, split)
        for split in study["splits"]
        for decoder in decoders
        for name in names
    }


def draw_options(run: Run, joint: Optional[Corpus]) -> str:
    """Options that draw the corpora by weight, as text for the shell."""
    if getattr(run, "drawn", "plain") == "plain" or joint is None:
        return ""
    return f'$(cat "{joint.data / WEIGHTED}")'


def corpus_options(run: Run, evaluation: str, study: Mapping[str, Any]) -> str:
    """Options of fairseq-generate that choose the mask of a corpus."""
    if not getattr(run, "per_corpus", False):
        return ""
    return f"--corpus {evaluations_of(run, study)[evaluation][0]}"


def plan_of(scored: Sequence[Run], study: Mapping[str, Any]) -> str:
    """What `parp report` needs to know, as :func:`plan.to_json` with the corpora of each run."""
    plan = json.loads(to_json(scored, study))
    if study["corpora"]:
        plan["splits"] = study["splits"]
        plan["corpora"] = list(study["corpora"])
        for run, planned in zip(scored, plan["runs"]):
            planned.update(_told(run, study))
    return json.dumps(plan, indent=1) + "\n"


def _told(run: CorpusRun, study: Mapping[str, Any]) -> dict[str, Any]:
    kind = "alone"
    if run.corpus == JOINT:
        kind = "each" if run.per_corpus else "joint"
    elif run.final_mask_of or run.mask_corpus not in (None, run.corpus):
        kind = "moved"
    return {
        "kind": kind,
        "corpus": run.corpus,
        "mask_corpus": run.mask_corpus,
        "drawn": run.drawn,
        "scores": {how: list(which) for how, which in evaluations_of(run, study).items()},
    }
