"""Three small languages, each prepared as manifests/*.py prepares a corpus, for tests of many."""

import sys
from itertools import chain
from pathlib import Path
from typing import Dict, Mapping, Sequence

import soundfile
from corpora import MANIFESTS, noise

sys.path.insert(0, str(MANIFESTS))

from manifest.speakers import write_speakers
from manifest.writing import (
    Utterance,
    write_dictionary,
    write_labels,
    write_letter_dictionary,
    write_split,
)

SENTENCES: Dict[str, Dict[str, Sequence[str]]] = {
    "es": {"train": ["el niño", "sí", "no", "el año"], "valid": ["un niño"], "test": ["sí un año"]},
    "fr": {"train": ["ça", "été"], "valid": ["un été"], "test": ["ça été"]},
    "it": {"train": ["è un no"], "valid": ["no è"], "test": ["un è"]},
}


def write_language(folder: Path, sentences: Mapping[str, Sequence[str]], seed: int = 0) -> Path:
    """Manifests with letters, words and phones (letters without ``|``), audio, and speakers.

    The n-th sentence of a split lasts 6,400 + 320 n samples, spoken by the split's own speaker.
    """
    speaker_of = {}
    utterances: Dict[str, list] = {}
    for place, (split, texts) in enumerate(sentences.items()):
        utterances[split] = []
        for number, text in enumerate(texts):
            path = f"{split}/né {number}.flac"
            frames = 6400 + 320 * number
            audio = folder / "audio" / path
            audio.parent.mkdir(parents=True, exist_ok=True)
            samples = noise(frames, seed=1000 * seed + 100 * place + number)
            soundfile.write(audio, samples, 16000)
            utterances[split].append(Utterance(path, frames, text))
            speaker_of[path] = f"speaker of {split}"
    write_letter_dictionary(folder, sentences["train"], chain(*sentences.values()))
    phones = {split: [phones_of(text) for text in texts] for split, texts in sentences.items()}
    write_dictionary(folder, "phn", phones["train"], chain(*phones.values()))
    for split, lines in phones.items():
        write_labels(folder, split, "phn", lines)
        write_split(folder, split, folder / "audio", utterances[split])
    write_speakers(folder, speaker_of)
    return folder


def phones_of(text: str) -> str:
    return " ".join(text.replace(" ", ""))


def write_languages(folder: Path) -> Path:
    """The folders es, fr and it in ``folder``."""
    for seed, (language, sentences) in enumerate(SENTENCES.items()):
        write_language(folder / language, sentences, seed)
    return folder
