"""CommonVoice releases made small, in exactly the layout of the large ones."""

import subprocess
from pathlib import Path
from typing import Dict, Iterable, Sequence

import numpy as np
import soundfile
from corpora import prepare

# The columns of release 6.1; later ones are in test_commonvoice_release.py.
COLUMNS = ("client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accent")
COLUMNS += ("locale", "segment")
TABLES = ("train", "dev", "test", "validated", "invalidated", "other")


def row(speaker: str, clip: str, sentence: str, locale: str) -> Dict[str, str]:
    return {
        "client_id": speaker,
        "path": clip,
        "sentence": sentence,
        "up_votes": "2",
        "down_votes": "0",
        "locale": locale,
    }


def write_table(
    tsv: Path, rows: Iterable[Dict[str, str]], columns: Sequence[str] = COLUMNS
) -> None:
    lines = ["\t".join(columns), *("\t".join(r.get(c, "") for c in columns) for r in rows)]
    tsv.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8"))


def write_clip(path: Path, seconds: float, seed: int = 0, rate: int = 48_000, channels: int = 1):
    """Noise as MP3, as CommonVoice has it."""
    rng = np.random.default_rng(seed)
    samples = 0.1 * rng.standard_normal((round(seconds * rate), channels))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, format="MP3")


def write_release(
    source: Path, locale: str, tables: Dict[str, Sequence[Dict[str, str]]], seconds: float = 0.4
) -> Path:
    """The folder of a language: every table, and a clip for each row; returns the folder.

    The n-th clip lasts `seconds` and n hundredths of a second.
    """
    folder = source / locale
    (folder / "clips").mkdir(parents=True)
    clips = sorted({r["path"] for rows in tables.values() for r in rows})
    for number, clip in enumerate(clips):
        write_clip(folder / "clips" / clip, seconds + number / 100, seed=number)
    for name in TABLES:
        write_table(folder / f"{name}.tsv", tables.get(name, []))
    return folder


def commonvoice(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return prepare("commonvoice.py", *arguments)


def texts(folder: Path) -> Dict[str, str]:
    """The text files beside audio/."""
    names = (path.name for path in folder.iterdir() if path.is_file())
    return {name: (folder / name).read_text("utf-8") for name in names if name != "spm.model"}
