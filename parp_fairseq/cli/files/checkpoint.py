"""Checkpoint: the weights of a checkpoint file, read without executing anything in it."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

import torch
from torch import Tensor

from parp_fairseq.pruning import Coverage, Mask, Pattern, coverage, parse_pattern
from parp_fairseq.pruning.metadata import masks_beside
from parp_fairseq.pruning.plain_file import load_plain
from parp_fairseq.pruning.scope import encoder_name
from parp_fairseq.pruning.weights import without_teacher


class _Dictionary:
    """A placeholder for fairseq's class, because importing fairseq takes seconds."""


_PLAIN_CONTAINERS = {argparse.Namespace, (_Dictionary, "fairseq.data.dictionary.Dictionary")}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of fairseq.

    Args:
        path: the file.
        state: the dict in it, with the weights under ``"model"``. The moving average that data2vec
            keeps with them is dropped.

    Raises:
        ValueError: there are no weights under ``"model"``.
    """

    path: Path
    state: Mapping[str, Any]

    def __post_init__(self):
        model = self.state["model"]
        if isinstance(model, Mapping) and "_ema" in model:
            model = without_teacher(model)
            object.__setattr__(self, "state", {**self.state, "model": model})
        if not (
            isinstance(model, Mapping)
            and model
            and all(isinstance(k, str) and isinstance(w, Tensor) for k, w in model.items())
        ):
            raise ValueError(
                f"{self.path} is not a checkpoint of a model: expected names and tensors under "
                f"'model', found {describe(model)}"
            )

    @property
    def num_updates(self) -> Optional[int]:
        """Optimizer updates done; None if the file does not say."""
        updates = _look_up(self.state, "optimizer_history", -1, "num_updates")
        return updates if isinstance(updates, int) else None

    @property
    def masks(self) -> Dict[str, Mask]:
        """Corpus -> mask, of training with ``task.mask_per_corpus``; empty for one subnetwork."""
        return masks_beside(self.state["model"])

    def subnetwork(self, corpus: str) -> "Checkpoint":
        """The checkpoint of the subnetwork of one corpus.

        Raises:
            ValueError: it has no mask of that corpus.
        """
        mask = self.mask_of(corpus)
        weights = dict(self.state["model"])
        mask.apply_to_state_(weights, encoder_name)
        state = {**self.state, "model": weights}
        cfg = state.get("cfg")
        if isinstance(cfg, Mapping):
            state["cfg"] = {**cfg, "task": {**cfg["task"], "mask_per_corpus": False}}
        return Checkpoint(self.path, state)

    def mask_of(self, corpus: str) -> Mask:
        """The mask of one corpus.

        Raises:
            ValueError: there is none.
        """
        masks = self.masks
        if corpus not in masks:
            found = f"masks of {', '.join(masks)}" if masks else "one subnetwork for all corpora"
            raise ValueError(
                f"--corpus is {corpus!r}, and {self.path} has {found}: expected "
                + ("one of these" if masks else "no --corpus")
            )
        return masks[corpus]

    def require_one_subnetwork(self) -> None:
        """Raise ValueError where each corpus has a subnetwork of its own."""
        require_one_subnetwork(self.path, self.state["model"])

    @property
    def is_of_parp(self) -> bool:
        """Whether the task ``parp`` trained it, so that its config says what it pruned."""
        return self._task_option("prune_scope", None) is not None

    @property
    def trained_sparsity(self) -> Optional[float]:
        """The sparsity that the task ``parp`` trained for; None for other checkpoints."""
        sparsity = self._task_option("sparsity", None)
        return float(sparsity) if isinstance(sparsity, (int, float)) else None

    @property
    def trained_scope(self) -> str:
        """The scope that the task ``parp`` pruned; ``transformer`` for other checkpoints."""
        return str(self._task_option("prune_scope", "transformer"))

    @property
    def trained_biases(self) -> bool:
        """Whether the task ``parp`` pruned biases too; true for other checkpoints."""
        return self._task_option("prune_bias", True) and any(
            name.endswith("bias") and self.trained_pattern.covers(name)
            for name in self.state["model"]
        )

    @property
    def trained_pattern(self) -> Pattern:
        """The pattern that the task ``parp`` pruned by; ``global`` for other checkpoints."""
        return parse_pattern(self._task_option("prune_pattern", "global"))

    def trained(self) -> Dict[str, Tensor]:
        """The weights that the task ``parp`` pruned, by its options."""
        weights = self.prunable(self.trained_scope, self.trained_biases)
        return self.trained_pattern.covered(weights)

    def _task_option(self, option: str, default: Any) -> Any:
        value = _look_up(self.state, "cfg", "task", option)
        return default if value is None else value

    def coverage(self, scope: str, bias: bool = True) -> Coverage:
        """What the scope covers of the weights, and what it leaves out."""
        return _coverage(self.path, self.state["model"], scope, bias)

    def prunable(self, scope: str, bias: bool = True) -> Dict[str, Tensor]:
        """The weights that the scope covers."""
        return dict(self.coverage(scope, bias).covered)


def require_one_subnetwork(path: Path, weights: Mapping[str, Any]) -> None:
    """Raise ValueError where ``weights``, of the file ``path``, have a mask for each corpus."""
    masks = list(masks_beside(weights))
    if masks:
        raise ValueError(
            f"{path} has a subnetwork for each of {', '.join(masks)}: expected the checkpoint of "
            f"one, which `parp pack --corpus {masks[0]}` and `parp unpack` make"
        )


def covered(
    path: Path, named: Mapping[str, Tensor], scope: str, bias: bool = True
) -> Dict[str, Tensor]:
    """:func:`prunable_parameters` of what ``path`` holds; errors name the file."""
    return dict(_coverage(path, named, scope, bias).covered)


def _coverage(path: Path, named: Mapping[str, Tensor], scope: str, bias: bool) -> Coverage:
    try:
        return coverage(named, scope, bias)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def mask_of_zeros(weights: Mapping[str, Tensor]) -> Mask:
    """The mask that prunes what is zero."""
    return Mask({name: weight != 0 for name, weight in weights.items()})


def read(path: Path) -> Any:
    """Read what ``torch.save`` wrote to ``path``: tensors and plain data only.

    Raises:
        ValueError: the file holds something else, such as a pickle that would run code.
    """
    # On exit torch removes the classes given here, so leave out those that others have allowed.
    lacking = _PLAIN_CONTAINERS.difference(torch.serialization.get_safe_globals())
    with torch.serialization.safe_globals(list(lacking)):
        try:
            return load_plain(path)
        except ValueError as error:
            raise ValueError(f"{path} is neither a checkpoint nor a mask: {error}") from None


def describe(value: Any) -> str:
    """``value`` in a few words, for error messages."""
    if isinstance(value, Mapping):
        return f"a dict with {', '.join(map(repr, list(value)[:3])) or 'nothing'} in it"
    return f"an object of type {type(value).__name__}"


def _look_up(container: Any, *keys: Any) -> Any:
    """``container[key][key]...``; None if that does not exist."""
    for key in keys:
        try:
            container = container[key]
        except (KeyError, IndexError, TypeError):
            return None
    return container
