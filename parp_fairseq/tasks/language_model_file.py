"""A language model of fairseq and its dictionary, checked before fairseq loads them."""

from pathlib import Path
from typing import Optional

import torch
from fairseq.data import Dictionary


def require_language_model(lm_path: Optional[str], data: str) -> None:
    """Raise if ``fairseq-generate --lm-path`` could not load the model.

    fairseq reads the dictionary of the language model from ``dict.txt`` in the folder of the data.

    Raises:
        FileNotFoundError: there is no model or no dictionary.
        ValueError: the dictionary is not that of the model.
    """
    if not lm_path:
        return
    path, dictionary = Path(lm_path), Path(data) / "dict.txt"
    if not path.is_file():
        raise FileNotFoundError(f"language model {path} does not exist: see generation.lm_path")
    if not dictionary.is_file():
        raise FileNotFoundError(
            f"dictionary {dictionary} does not exist: fairseq expects the dictionary of the "
            f"language model {path} there"
        )
    expected = _embedded_symbols(path)
    found = len(Dictionary.load(str(dictionary)))
    if expected is not None and found != expected:
        special = len(Dictionary())
        raise ValueError(
            f"dictionary {dictionary} has {found - special} lines, and the language model {path} "
            f"was trained with {expected - special} symbols: expected its own dict.txt"
        )


def _embedded_symbols(path: Path) -> Optional[int]:
    """Rows of the model's embeddings; None where the file is in a form that torch cannot map."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:
        return None
    model = state.get("model", {}) if isinstance(state, dict) else {}
    rows = [
        weight.shape[0]
        for name, weight in model.items()
        if name == "decoder.embed_tokens.weight"
        or (name.startswith("decoder.embed_tokens.embeddings.") and name.endswith(".0.weight"))
    ]
    return sum(rows) or None
