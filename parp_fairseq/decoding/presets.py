"""Presets: the decoder weights that papers published, by name."""

from dataclasses import dataclass
from typing import Dict


@dataclass(frozen=True)
class Preset:
    """Values of one row of a table.

    Args:
        lm_weight: weight of the language model.
        word_score: added for each word.
        source: where the values are from.
    """

    lm_weight: float
    word_score: float
    source: str


_PARP = "scripts of the authors of PARP, LibriSpeech {}, Transformer language model of words"

PRESETS: Dict[str, Preset] = {
    "wav2vec2_4gram": Preset(
        2.0, -1.0, "README of wav2vec 2.0 in fairseq, LibriSpeech, 4-gram model of words (KenLM)"
    ),
    "parp_10min_transformer": Preset(1.20, -1.39, _PARP.format("10 min")),
    "parp_1h_transformer": Preset(1.15, -2.08, _PARP.format("1 h")),
    "parp_10h_transformer": Preset(1.06, -2.32, _PARP.format("10 h")),
}
