"""Hugging Face ``transformers``: models out and in, and pruning under its ``Trainer``.

Nothing else imports ``transformers``.
"""

from typing import Any

from .available import require_transformers

__all__ = ["ParpCallback"]

require_transformers()


def __getattr__(name: str) -> Any:
    # The Trainer takes a second to import, which exporting and importing can do without.
    if name == "ParpCallback":
        from .callback import ParpCallback

        return ParpCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
