"""Clips at other speeds, with the targets of the clip as it was recorded.

Resampling moves pitch, formants and tempo together, as if somebody else spoke. An encoder that has
to predict the clusters of the recorded clip learns to ignore them (ContentVec, Qian et al., 2022,
with another way to change the voice). Three speeds are usual in speech recognition (Ko et al.,
2015).
"""

from collections.abc import Sequence
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import soundfile
import soxr
from audio.files import RATE, write_flac
from manifest.writing import Utterance, write_lines
from tqdm import tqdm

from targets.mfcc import HOP


def add_speeds(
    dest: Path,
    root: Path,
    clips: Sequence[Utterance],
    speeds: Sequence[float],
    suffix: str,
    jobs: int,
) -> list[Utterance]:
    """Writes each clip of train at each speed, and its targets below those of the clips.

    Args:
        dest: has train.{suffix}, a line for each clip.
        root: of the audio; a clip at speed 0.9 is written into its folder ``speed0.9``, unless it
            is there already.
        speeds: 2 halves the length.
        jobs: threads; they change nothing but the time.

    Returns:
        The clips, and after them those that were written.
    """
    labels = dest / f"train.{suffix}"
    lines = labels.read_text("utf-8").splitlines()
    utterances = list(clips)
    for speed in speeds:
        with ThreadPool(jobs) as pool:
            written = pool.imap(partial(_change, root=root, speed=speed), clips)
            changed = list(tqdm(written, desc=f"speed {speed:g}", total=len(clips), unit="clip"))
        utterances += changed
        lines += [
            _stretch(line.split(), clip, speed)
            for line, clip in zip(lines[: len(clips)], changed, strict=True)
        ]
    write_lines(labels, lines)
    return utterances


def _change(clip: Utterance, root: Path, speed: float) -> Utterance:
    path = f"speed{speed:g}/{clip.path}"
    file, stamp = root / path, (root / clip.path).stat().st_mtime_ns
    if file.is_file() and file.stat().st_mtime_ns == stamp:
        return Utterance(path, soundfile.info(file).frames, "")
    samples, _ = soundfile.read(root / clip.path, dtype="float32")
    file.parent.mkdir(parents=True, exist_ok=True)
    return Utterance(path, write_flac(file, soxr.resample(samples, RATE * speed, RATE), stamp), "")


def _stretch(labels: Sequence[str], clip: Utterance, speed: float) -> str:
    """The label of the recorded clip at the middle of each 10 ms of the changed one."""
    middles = ((np.arange(clip.frames // HOP) + 0.5) * speed).astype(int)
    return " ".join(labels[min(frame, len(labels) - 1)] for frame in middles)
