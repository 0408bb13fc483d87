"""Arguments: numbers and names as they come from Python, YAML or NumPy."""

import operator
from typing import Any

import numpy as np
from torch import Tensor


def as_share(name: str, value: Any) -> float:
    """``value`` as a Python float; numbers of NumPy and tensors of one element are numbers too.

    A value of lower precision counts as the decimal number that it prints: ``np.float32(0.7)``
    is 0.7, and not 0.699999988.

    Raises:
        ValueError: it is no number; the message names the argument.
    """
    expected = f"expected a number, 0 <= {name} < 1"
    if isinstance(value, (str, bytes, bool, np.bool_)):
        raise ValueError(f"{name} is {value!r}, of type {type(value).__name__}: {expected}")
    try:
        if isinstance(value, (Tensor, np.ndarray)):
            if value.ndim > 0 or "bool" in str(value.dtype):
                raise TypeError
            value = np.float32(value.item()) if "float64" not in str(value.dtype) else value.item()
        return float(str(value)) if isinstance(value, np.floating) else float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} is of type {type(value).__name__}: {expected}") from None


def as_seed(value: Any) -> int:
    """``value`` as a Python int.

    Raises:
        ValueError: it is no whole number.
    """
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except (TypeError, ValueError):
        raise ValueError(f"seed is {value!r}: expected a whole number") from None


def as_pattern(value: Any) -> str:
    """``value`` as the text of a pattern.

    Raises:
        ValueError: it is a number, which is what YAML 1.1 makes of an unquoted ``2:4``: it reads
            the colon as a separator of base-60 digits.
    """
    text = str(value) if type(value) is int else value
    if not isinstance(text, str):
        raise ValueError(
            f"prune_pattern is {value!r}: expected global, layerwise, ffn_channels or N:M "
            "with 0 < N < M"
        )
    if text.isdecimal():  # OmegaConf makes text of the number
        n, m = divmod(int(text), 60)
        if 0 < n < m:
            raise ValueError(
                f"prune_pattern is the number {text}: YAML reads {n}:{m} without quotes as a "
                f"number in base 60; write '{n}:{m}' in quotes"
            )
    return text
