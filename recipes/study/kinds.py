"""What sets studies of speech and of text apart: their files, and the option for the encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Speech:
    """Manifests, and transcripts in files that end in `labels`."""

    labels: str
    encoder_option: str = "model.w2v_path"

    def files_of(self, data: Path, split: str) -> list[Path]:
        """The files of one split."""
        return [data / f"{split}.{ending}" for ending in ("tsv", self.labels)]

    def dictionaries(self, data: Path) -> list[Path]:
        return [data / f"dict.{self.labels}.txt"]


@dataclass(frozen=True)
class Text:
    """Sentences, or pairs of sentences, and their classes: the data of parp_sentence_prediction.

    The classes stand in `labels`, which the report calls error rate instead of WER.
    """

    pairs: bool
    encoder_option: str = "checkpoint.finetune_from_model"
    labels: str = "label"

    @property
    def _folders(self) -> list[str]:
        return ["input0", *(["input1"] if self.pairs else []), "label"]

    def files_of(self, data: Path, split: str) -> list[Path]:
        """The files of one split."""
        return [
            data / folder / f"{split}.{ending}"
            for folder in self._folders
            for ending in ("bin", "idx")
        ]

    def dictionaries(self, data: Path) -> list[Path]:
        return [data / folder / "dict.txt" for folder in self._folders]


def kind_of(study: Mapping[str, Any], configs: Mapping[str, Any]) -> Speech | Text:
    """The kind of a study, by the task of its recipe.

    Args:
        study: the study file.
        configs: method -> the composed config of its trainings.

    Raises:
        ValueError: a study of text has decoders or several corpora, or one of speech has pairs.
    """
    tasks = {config["task"]["_name"] for config in configs.values()}
    if tasks != {"parp_sentence_prediction"}:
        if study["pairs"]:
            raise ValueError("pairs is true: expected it for sentences only")
        return Speech(study["labels"])
    if study.get("corpora"):
        raise ValueError("corpora are given: expected a recipe for speech")
    if study["decoders"]:
        raise ValueError("decoders are given: expected none, since classes are not decoded")
    return Text(study["pairs"])
