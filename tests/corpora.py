"""Corpora in exactly the layouts in which they unpack, made small; runs of manifests/*.py."""

import subprocess
import sys
from pathlib import Path
from typing import Mapping

import numpy as np
import soundfile

MANIFESTS = Path(__file__).parents[1] / "manifests"


def noise(frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Samples of 16 bits, shape (frames, channels), that no encoder makes small."""
    return np.random.default_rng(seed).integers(-3000, 3000, (frames, channels), np.int16)


def write_chapter(folder: Path, transcripts: Mapping[str, str], frames: int = 8000) -> None:
    """A chapter of LibriSpeech: SPEAKER/CHAPTER/{*.flac,*.trans.txt}, `frames` or more a file.

    Args:
        transcripts: last part of an utterance's id -> its words.
    """
    folder.mkdir(parents=True)
    chapter = f"{folder.parent.name}-{folder.name}"
    lines = [f"{chapter}-{number} {words}\n" for number, words in transcripts.items()]
    (folder / f"{chapter}.trans.txt").write_text("".join(lines))
    for index, number in enumerate(transcripts):
        samples = noise(frames + 100 * index, seed=index)
        soundfile.write(folder / f"{chapter}-{number}.flac", samples, 16000)


def write_librispeech(source: Path) -> None:
    """LibriSpeech's four evaluation splits, and Libri-Light's librispeech_finetuning."""
    libri = source / "LibriSpeech"
    write_chapter(libri / "dev-clean" / "84" / "121123", {"0000": "GO ON", "0001": "BUT WHO"})
    write_chapter(libri / "dev-other" / "116" / "288045", {"0000": "AS I APPROACHED THE CITY"})
    write_chapter(libri / "dev-other" / "116" / "288046", {"0000": "I'LL SEE"})
    write_chapter(libri / "dev-other" / "1255" / "138279", {"0010": "AND YET"})
    write_chapter(libri / "test-clean" / "61" / "70968", {"0000": "HE BEGAN"})
    write_chapter(libri / "test-other" / "367" / "130732", {"0000": "LOBSTERS AND LOBSTERS"})
    (libri / "SPEAKERS.TXT").write_text("; a table of LibriSpeech\n")
    light = source / "librispeech_finetuning"
    for part in range(6):
        for speaker, noisiness in ((1000 + part, "clean"), (2000 + part, "other")):
            folder = light / "1h" / str(part) / noisiness / str(speaker) / "17"
            write_chapter(folder, {"0002": "ONE HOUR", "0005": f"PART {'ABCDEF'[part]}"})
    write_chapter(light / "9h" / "clean" / "3000" / "21", {"0000": "NINE HOURS"})
    write_chapter(light / "9h" / "other" / "4000" / "22", {"0000": "NINE MORE"})
    (light / "phones").mkdir()
    (light / "phones" / "phones_mapping.json").write_text("{}")


def prepare(script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Runs manifests/`script`."""
    command = [sys.executable, str(MANIFESTS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones among them."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
