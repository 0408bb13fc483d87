"""Trainable: which parameters of an encoder train; the others are frozen."""

import re
from typing import Callable, Dict, Mapping

from torch import Tensor


def freeze_all_but(
    encoder: Mapping[str, Tensor],
    trainable: str,
    scored: Mapping[str, Tensor],
    without_gradients: str = "",
    prefix: str = "",
) -> None:
    """Freeze all parameters of ``encoder`` but those that ``trainable`` names.

    A frozen parameter has ``requires_grad`` False.

    Args:
        encoder: canonical name -> parameter.
        trainable: ``all``, ``head`` (nothing of the encoder), ``bias`` (all biases, layer norms
            included), or ``re:<regex>``, searched for in canonical names.
        scored: name -> parameter that a score of a learned mask stands for while it is trained.
        without_gradients: start of the names of parameters that cannot be trained.
        prefix: what stands before the name of the option in messages.

    Raises:
        ValueError: unknown ``trainable``, a regex that does not compile, or one that names nothing.
    """
    if trainable == "all":
        return
    named = _matcher(trainable, prefix)
    scores = set(map(id, scored.values()))
    trained: Dict[str, Tensor] = {
        name: parameter
        for name, parameter in encoder.items()
        if id(parameter) not in scores
        and named(name)
        and not (without_gradients and name.startswith(without_gradients))
    }
    if not trained and trainable != "head":
        known = ", ".join(list(encoder)[:3])
        raise ValueError(
            f"{prefix}trainable is {trainable!r}, which names no parameter that can be trained: "
            f"the encoder has {known}, ..."
        )
    for name, parameter in encoder.items():
        parameter.requires_grad_(id(parameter) in scores or name in trained)


def _matcher(trainable: str, prefix: str) -> Callable[[str], bool]:
    if trainable == "head":
        return lambda name: False
    if trainable == "bias":
        return lambda name: name.endswith("bias")
    if isinstance(trainable, str) and trainable.startswith("re:"):
        try:
            return re.compile(trainable[3:]).search
        except re.error as error:
            raise ValueError(
                f"{prefix}trainable is {trainable!r}, which is no regular expression: {error}"
            ) from None
    raise ValueError(f"{prefix}trainable is {trainable!r}: expected all, head, bias or re:<regex>")
