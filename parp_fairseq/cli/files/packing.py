"""Packing: what a checkpoint of fairseq needs beside its weights, to and from a pack."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import torch
from torch import Tensor

from parp_fairseq.pruning.pack import WAYS, Pack, is_pack
from parp_fairseq.pruning.plain_file import is_safetensors
from parp_fairseq.pruning.replacing import replacing

from .checkpoint import Checkpoint
from .reading import load

# The words and indices of fairseq's Dictionary. Its `indices` follow from `symbols`.
_WORDS = ("bos_word", "unk_word", "pad_word", "eos_word")
_NUMBERS = ("bos_index", "pad_index", "eos_index", "unk_index", "nspecial")


def read_weights(path: Path) -> Checkpoint:
    """The checkpoint in ``path``.

    Raises:
        OSError, ValueError: there is none; the message names the file.
    """
    held = load(path)
    if not isinstance(held, Checkpoint):
        kind = "pack" if isinstance(held, Pack) else "mask"
        raise ValueError(f"{path} is a {kind}: expected a checkpoint")
    return held


def read_pack(path: Path) -> Pack:
    """The pack in ``path``.

    Raises:
        OSError, ValueError: there is none, or it is damaged; the message names the file.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: expected a file that parp pack wrote")
    if not path.is_file():
        raise ValueError(f"{path} is a folder: expected a file that parp pack wrote")
    if path.stat().st_size and is_safetensors(path) and is_pack(path):
        return Pack.load(path)
    raise ValueError(
        f"{path} is no pack, or is cut short: expected a safetensors file that parp pack wrote"
    )


def describe(pack: Pack) -> List[Tuple[str, str]]:
    """What a pack holds, in words."""
    base = f"{pack.settings.get('base_name') or 'a file'}, digest {pack.base}"
    facts = [("base", base if pack.base else "none: it stands alone")]
    for way in WAYS:
        stored = [one for one in pack.weights.values() if one.way == way]
        if stored:
            elements = sum(one.shape.numel() for one in stored)
            size = sum(one.nbytes for one in stored)
            facts.append((way, f"{len(stored)} tensors, {elements:,} weights, {size:,} bytes"))
    symbols = (pack.settings.get("dictionary") or {}).get("symbols")
    if symbols:
        facts.append(("dictionary", f"{len(symbols)} symbols"))
    return facts


def settings_of(checkpoint: Checkpoint, base: Optional[Path]) -> Dict[str, Any]:
    """What a checkpoint holds beside the weights and the state of training, as JSON can hold it.

    Raises:
        ValueError: its settings hold objects.
    """
    state = checkpoint.state
    args = state.get("args")
    history = state.get("optimizer_history") or [{}]
    task_state = state.get("task_state") or {}
    dictionary = task_state.get("target_dictionary")
    settings = {
        "cfg": state.get("cfg"),
        "args": vars(args) if isinstance(args, Namespace) else None,
        "optimizer_history": history[-1:],
        "dictionary": None if dictionary is None else _plain_dictionary(dictionary),
        "base_name": None if base is None else base.name,
    }
    targets = task_state.get("dictionaries")
    if targets is not None:  # of the cluster targets of a HuBERT, which fairseq builds it with
        settings["target_dictionaries"] = [_plain_dictionary(target) for target in targets]
    try:
        return json.loads(json.dumps(settings))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{checkpoint.path}: its settings cannot be packed: {error}; expected plain data"
        ) from None


def _plain_dictionary(dictionary: Any) -> Dict[str, Any]:
    names = ("symbols", "count", *_WORDS, *_NUMBERS)
    return {name: value for name, value in vars(dictionary).items() if name in names}


def write_checkpoint(
    path: Path, weights: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> None:
    """Write a checkpoint as fairseq reads it.

    Raises:
        OSError: it cannot be written; nothing was left behind.
        ValueError: the settings are not those of a checkpoint.
    """
    args, history = settings.get("args"), settings.get("optimizer_history")
    if not isinstance(args if args is not None else settings.get("cfg"), dict):
        raise ValueError("its settings hold neither cfg nor args of fairseq")
    if not (isinstance(history, list) and all(isinstance(one, dict) for one in history)):
        raise ValueError("its settings hold no optimizer_history")
    task_state = {}
    if settings.get("dictionary") is not None:
        task_state["target_dictionary"] = _make_dictionary(settings["dictionary"])
    if settings.get("target_dictionaries") is not None:
        targets = settings["target_dictionaries"]
        if not isinstance(targets, list):
            raise ValueError("its target_dictionaries are no list")
        task_state["dictionaries"] = [_make_dictionary(target) for target in targets]
    state = {
        "args": None if args is None else Namespace(**args),
        "cfg": settings.get("cfg"),
        "model": dict(weights),
        "criterion": None,
        "optimizer_history": history,
        "task_state": task_state,
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "last_optimizer_state": None,
    }
    with replacing(path) as partial:
        torch.save(state, partial)


def _make_dictionary(plain: Any) -> Any:
    symbols = plain.get("symbols") if isinstance(plain, dict) else None
    counts = plain.get("count") if isinstance(plain, dict) else None
    valid = (
        isinstance(symbols, list)
        and isinstance(counts, list)
        and len(symbols) == len(counts)
        and all(isinstance(symbol, str) for symbol in symbols)
        and all(type(count) is int for count in counts)
        and all(isinstance(plain.get(name), str) for name in _WORDS)
        and all(type(plain.get(name)) is int for name in _NUMBERS)
    )
    if not valid:
        raise ValueError("its dictionary lacks symbols, counts or special words")
    from fairseq.data import Dictionary  # takes seconds, and only this needs it

    dictionary = Dictionary()
    vars(dictionary).update(
        {name: plain[name] for name in ("symbols", "count", *_WORDS, *_NUMBERS)}
    )
    dictionary.indices = {symbol: index for index, symbol in enumerate(symbols)}
    return dictionary
