"""Coverage: which parameters of a network a scope covers, and which it leaves out."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Dict, List, Mapping

from torch import Tensor


@dataclass(frozen=True)
class Coverage:
    """What a scope covers of a network. ``str(coverage)`` is one line for a log.

    Tensors that are the same memory count once.

    Args:
        scope: the scope.
        covered: canonical name -> parameter, in the order of the network.
        left_out: canonical name -> parameter (in a state dict: floating-point tensor) of the
            encoder that the scope leaves out.
        outside: name -> parameter that lies outside the encoder, such as the CTC head.
    """

    scope: str
    covered: Mapping[str, Tensor]
    left_out: Mapping[str, Tensor]
    outside: Mapping[str, Tensor]

    @property
    def num_covered(self) -> int:
        """Number of weights, that is of numbers, that are covered."""
        return _count(self.covered)

    @property
    def num_left_out(self) -> int:
        """Number of weights that are left out."""
        return _count(self.left_out) + _count(self.outside)

    @property
    def share(self) -> float:
        """Share of all weights that is covered, 0 to 1."""
        return self.num_covered / max(1, self.num_covered + self.num_left_out)

    @property
    def groups_left_out(self) -> Dict[str, int]:
        """What is left out, as group -> number of weights, largest first.

        A group holds the parameters of a module; of modules that differ only in their number it
        holds all: ``encoder.layers.*.final_layer_norm``.
        """
        groups = Counter()
        for name, weight in [*self.left_out.items(), *self.outside.items()]:
            module = name.rpartition(".")[0] or name
            groups[re.sub(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.|$)", "*", module)] += weight.numel()
        return dict(groups.most_common())

    @property
    def matrices_left_whole(self) -> List[str]:
        """Weight matrices left out of ``layers.N`` (or ``layer.N``) in which others are covered."""
        layers = {found[0] for name in self.covered if (found := _LAYER.match(name))}
        return [
            name
            for name, weight in self.left_out.items()
            if weight.dim() > 1 and (found := _LAYER.match(name)) and found[0] in layers
        ]

    @property
    def biases_alone(self) -> List[str]:
        """Covered biases of layers whose weight is left out."""
        weights = {_layer(name) for name in self.covered if name.endswith("weight")}
        return [
            name
            for name in self.covered
            if name.rpartition(".")[2] == "bias"
            and _layer(name) not in weights
            and f"{_layer(name)}weight" in self.left_out
        ]

    @property
    def covered_in_words(self) -> str:
        """How much is covered."""
        total = self.num_covered + self.num_left_out
        return (
            f"{self.num_covered:,} of {total:,} weights ({self.share:.1%}), in "
            f"{len(self.covered)} parameters"
        )

    @property
    def left_out_in_words(self) -> str:
        """The largest groups that are left out, with their numbers of weights."""
        groups = [f"{group} ({count:,})" for group, count in self.groups_left_out.items()]
        others = f" and {len(groups) - 5} others" if len(groups) > 5 else ""
        return f"{', '.join(groups[:5]) or 'nothing'}{others}"

    def __str__(self) -> str:
        return (
            f"scope {self.scope!r} covers {self.covered_in_words}; "
            f"left out: {self.left_out_in_words}"
        )


_LAYER = re.compile(r"(?:.*\.)?layers?\.\d+\.")


def _layer(name: str) -> str:
    return name[: -len(name.rpartition(".")[2])]


def _count(weights: Mapping[str, Tensor]) -> int:
    return sum(weight.numel() for weight in weights.values())
