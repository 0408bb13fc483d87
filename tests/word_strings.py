"""Strings of made-up words: every recording is a tone of its own pitch.

A test cuts an utterance at its pauses and knows from the pitch which recording it hears.
"""

from pathlib import Path

import numpy as np
import soundfile


def tone(pitch: float, seconds: float, rate: int = 8000) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate)


def pitch_of(number: int) -> int:
    return 300 + 30 * number


def read_split(dest: Path, split: str) -> list[tuple[Path, int, str, str]]:
    """Audio file, frames, words and letters of each utterance."""
    root, *lines = (dest / f"{split}.tsv").read_text().splitlines()
    assert root == str(dest / "audio")
    words = (dest / f"{split}.wrd").read_text().splitlines()
    letters = (dest / f"{split}.ltr").read_text().splitlines()
    found = []
    for line, wrd, ltr in zip(lines, words, letters):
        path, frames = line.split("\t")
        found.append((Path(root, path), int(frames), wrd, ltr))
    return found


def listen(path: Path) -> tuple[list[int], list[int], list[int]]:
    """Recordings heard in a file (by number), the length of each, and of each pause, in frames."""
    samples, rate = soundfile.read(path)
    assert rate == 16000
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    gaps = np.flatnonzero(np.diff(loud) > 400)
    starts = np.concatenate(([loud[0]], loud[gaps + 1]))
    ends = np.concatenate((loud[gaps], [loud[-1]])) + 1
    numbers = []
    for start, end in zip(starts, ends):
        spectrum = np.abs(np.fft.rfft(samples[start:end] * np.hanning(end - start), 2**17))
        pitch = spectrum.argmax() * rate / 2**17
        numbers.append(round((pitch - 300) / 30))
        # A careless resampler leaves the mirror image of the tone above 4 kHz.
        assert spectrum[2**16 // 2 + 1000 :].max() < 1e-4 * spectrum.max()
    return numbers, list(ends - starts), list(starts[1:] - ends[:-1])
