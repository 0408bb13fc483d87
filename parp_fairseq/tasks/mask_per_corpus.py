"""``task.mask_per_corpus``: a mask for each corpus, such as one for each language.

The keys in ``dataset.train_subset`` name the corpora. This module says what goes with the option,
makes the pruners, and finds the corpora of what is evaluated.
"""

import logging
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from torch import nn

from parp_fairseq.pruning.measuring import Measuring
from parp_fairseq.pruning.options import pathways_of
from parp_fairseq.pruning.pathways import Pathways

from .corpora import corpora_of, mask_files_of
from .options import build_pruner, plain

logger = logging.getLogger(__name__)


def require_mask_per_corpus(cfg: Any) -> None:
    """Raise ValueError where an option does not go with ``task.mask_per_corpus=true``."""
    initial = cfg.initial_sparsity
    for option, contradicts, expected in (
        (
            "learn_mask",
            cfg.learn_mask,
            "false: a learned mask leaves the weights as they are, so learn one in a run of its "
            "own for each corpus, and pack it over the encoder that they share",
        ),
        ("sparsity", cfg.sparsity == 0, "a value above 0, or there are no masks"),
        (
            "initial_sparsity",
            initial is not None and initial != cfg.sparsity,
            "null: the masks have one sparsity",
        ),
        ("prune_rule", cfg.prune_rule != "parp", "parp"),
        ("corpus", cfg.corpus is not None, "null in training: batches tell their corpus"),
    ):
        if contradicts:
            raise ValueError(
                f"task.{option} is {plain(cfg[option])!r} with task.mask_per_corpus=true: expected "
                f"{expected}"
            )
    _require_corpora(cfg.train_subset)


def _require_corpora(subset: str) -> List[str]:
    if ":" not in subset:
        raise ValueError(
            f"dataset.train_subset is {subset!r} with task.mask_per_corpus=true: expected the "
            "corpora, as 'es:train_es,fr:train_fr' (manifests/joint.py writes such manifests)"
        )
    return [key for key, _ in corpora_of(subset)]


def build_pathways(cfg: Any, model: nn.Module) -> Pathways:
    """The pruners of ``model`` that the options describe.

    Raises:
        ValueError: an option does not fit the model or the run; the message names it.
    """
    files = mask_files_of(cfg.mask_file, _require_corpora(cfg.train_subset))

    def make(cfg, model, schedule, run) -> Pathways:
        return pathways_of(cfg, model, schedule, run, files)

    pathways = build_pruner(cfg, model, make)
    criterion = pathways.active.criterion
    reprunes = isinstance(criterion, Measuring) and getattr(criterion, "reprunes", False)
    if cfg.adjust and not reprunes:
        logger.warning(
            "task.mask_per_corpus=true with task.adjust=true ranks the weights by magnitude, which "
            "all corpora share: their masks differ only by when they are pruned again. For masks "
            "that follow the corpus, choose a task.prune_criterion that measures (taylor, "
            "movement, fisher, wanda), or give each its task.mask_file and task.adjust=false"
        )
    return pathways


def evaluated_corpora(
    split: str, corpora: Sequence[str], corpus: Optional[str], data: Path
) -> Tuple[str, Union[str, List[str]]]:
    """The manifest that ``split`` names; and its corpus, or the corpus of each of its lines.

    Args:
        split: KEY:NAME; or NAME, whose lines are all of ``corpus``, or are those of the manifests
            NAME_KEY together, as manifests/joint.py writes them.
        corpora: those that have a mask.
        corpus: the option ``task.corpus``.
        data: the folder of manifests.

    Raises:
        ValueError: there is no such corpus, or the corpus of a line is not known.
    """
    if ":" in split:
        [(key, name), *others] = corpora_of(split)
        if others:
            raise ValueError(
                f"{split} is {len(others) + 1} corpora: expected one, as {key}:{name}, or a joint "
                "manifest"
            )
        corpus = key
    else:
        name = split
    if corpus is None:
        return name, _corpus_of_lines(data, name, corpora)
    if corpus not in corpora:
        option = split if ":" in split else f"task.corpus={corpus}"
        raise ValueError(
            f"{option} names the corpus {corpus!r}: expected one of {', '.join(corpora)}, which "
            "have a mask"
        )
    return name, corpus


def _corpus_of_lines(data: Path, name: str, corpora: Sequence[str]) -> List[str]:
    corpus_of: Dict[str, str] = {}
    for corpus in corpora:
        manifest = data / f"{name}_{corpus}.tsv"
        if manifest.is_file():
            corpus_of.update(dict.fromkeys(_paths(manifest), corpus))
    found = []
    for number, path in enumerate(_paths(data / f"{name}.tsv"), start=2):
        if path not in corpus_of:
            others = ", ".join(f"{name}_{corpus}.tsv" for corpus in corpora)
            raise ValueError(
                f"manifest {data / name}.tsv, line {number}: it is not known whose subnetwork "
                f"{path} is for: expected it in one of {others}; or name the corpus, as "
                f"{corpora[0]}:{name} or task.corpus={corpora[0]}"
            )
        found.append(corpus_of[path])
    return found


def _paths(manifest: Path) -> List[str]:
    if not manifest.is_file():
        raise FileNotFoundError(f"manifest {manifest} does not exist: see task.data and subsets")
    root, *lines = manifest.read_text("utf-8").splitlines()
    return [str(Path(root.strip(), line.partition("\t")[0])) for line in lines]
