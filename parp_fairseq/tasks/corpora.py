"""Several corpora drawn by weight: fairseq's multi-corpus options, checked, and for training alone.

With ``multi_corpus_keys`` fairseq 0.12.3 reads a split KEY:NAME,KEY:NAME and draws utterances of
each manifest by ``multi_corpus_sampling_weights``. It has no way to read a manifest that names no
key then, and draws by weight in evaluation too, where it leaves some out and repeats others.
"""

import copy
from typing import Any, Dict, List, Optional, Sequence, Tuple


def options_for(split: str, cfg: Any, trains: bool) -> Any:
    """The options to load ``split`` with: without keys where it names none, as ``valid``.

    Args:
        split: NAME, or KEY:NAME,KEY:NAME.
        cfg: options of the task: those of the run, or those that a checkpoint remembers.
        trains: whether the split is trained on.

    Raises:
        ValueError: fairseq would trip over the split, its keys or weights, or score it in part.
    """
    if not getattr(cfg, "multi_corpus_keys", None):
        return cfg
    if ":" not in split:
        if trains:
            raise ValueError(
                f"dataset.train_subset is {split}, and task.multi_corpus_keys is "
                f"{cfg.multi_corpus_keys}: expected KEY:NAME,KEY:NAME, or no keys"
            )
        return without_keys(cfg)
    named = corpora_of(split)
    if len(named) > 1 and not trains:
        raise ValueError(
            f"{split} is {len(named)} corpora drawn by weight, which scores some utterances twice "
            f"and others never: expected one, as {':'.join(named[0])}, or a joint manifest"
        )
    _require_weights(split, named, cfg)
    return cfg


def without_keys(cfg: Any) -> Any:
    """The same options, to load a plain manifest with."""
    if getattr(cfg, "multi_corpus_keys", None):
        cfg = copy.copy(cfg)
        cfg.multi_corpus_keys = None
    return cfg


def corpora_of(split: str) -> List[Tuple[str, str]]:
    """Key and manifest name of each corpus in KEY:NAME,KEY:NAME; ValueError where it is not so."""
    named = [tuple(part.strip() for part in corpus.split(":")) for corpus in split.split(",")]
    keys = [corpus[0] for corpus in named]
    if any(len(corpus) != 2 for corpus in named) or len(set(keys)) < len(keys):
        raise ValueError(f"{split!r} is no split of several corpora: expected KEY:NAME,KEY:NAME")
    return named


def weights_of(split: str, cfg: Any) -> Optional[List[float]]:
    """The weight of each corpus of ``split``; None where they are not drawn by weight.

    Call :func:`options_for` before, which checks the options.
    """
    if not getattr(cfg, "multi_corpus_keys", None):
        return None
    keys = [key.strip() for key in cfg.multi_corpus_keys.split(",")]
    weight_of = dict(zip(keys, map(float, cfg.multi_corpus_sampling_weights.split(","))))
    return [weight_of[key] for key, _ in corpora_of(split)]


def mask_files_of(mask_file: Optional[str], corpora: Sequence[str]) -> Dict[str, Optional[str]]:
    """Name of a corpus -> its file in ``task.mask_file``: KEY:FILE,KEY:FILE, or one for all.

    Raises:
        ValueError: a corpus has no file, or two.
    """
    parts = [part.strip().partition(":") for part in (mask_file or "").split(",")]
    if not any(separator and key in corpora for key, separator, _ in parts):
        return dict.fromkeys(corpora, mask_file or None)
    files = {key: path for key, _, path in parts}
    if set(files) != set(corpora) or len(parts) != len(corpora) or not all(files.values()):
        raise ValueError(
            f"task.mask_file is {mask_file!r}: expected KEY:FILE,KEY:FILE with a file for each of "
            f"{', '.join(corpora)}, or one file for all of them"
        )
    return {corpus: files[corpus] for corpus in corpora}


def _require_weights(split: str, named: List[Tuple[str, str]], cfg: Any) -> None:
    keys = [key.strip() for key in cfg.multi_corpus_keys.split(",")]
    text = cfg.multi_corpus_sampling_weights
    try:
        weights = [float(weight) for weight in text.split(",")]
    except (AttributeError, ValueError):
        weights = []
    if len(weights) != len(keys):
        raise ValueError(
            f"task.multi_corpus_sampling_weights is {text}, expected {len(keys)} numbers joined by "
            f"commas, one for each of task.multi_corpus_keys ({cfg.multi_corpus_keys})"
        )
    weight_of = dict(zip(keys, weights))
    for key, _ in named:
        if key not in weight_of:
            raise ValueError(
                f"{split} names the corpus {key!r}, expected one of task.multi_corpus_keys "
                f"({cfg.multi_corpus_keys})"
            )
    total = sum(weight_of[key] for key, _ in named)
    if len(named) > 1 and total != 1:  # to the bit, as fairseq asserts
        raise ValueError(
            f"task.multi_corpus_sampling_weights of {split} add up to {total!r}, expected 1 exactly"
            "; multiples of 1/1024, as manifests/joint.py gives, do so in floating point"
        )
