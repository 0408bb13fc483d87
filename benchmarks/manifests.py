"""Manifests: headers against fairseq's own script, and conversion by two jobs against one.

All speech is that of the mini corpus, joined: 2000 FLAC files of LibriSpeech's usual length, and
500 MP3 clips at 48 kHz as CommonVoice has them. Headers are timed as whole commands, conversion
from its first clip to its last; on files that the system holds in memory, and in turns, so that a
machine that slows down slows all.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

import numpy as np
import soundfile
import soxr
from tabulate import tabulate
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
MANIFESTS = HERE.parent / "manifests"
RUNS = HERE.parent / "runs" / "bench"
RATE = 16_000
CONVERT = """\
import sys
import time
from pathlib import Path
from audio.clips import Clip, convert_all
source, root, jobs = sys.argv[1:]
clips = [Clip(path, f"{path.stem}.flac") for path in sorted(Path(source).iterdir())]
start = time.perf_counter()
convert_all(clips, Path(root), int(jobs))
print(time.perf_counter() - start)
"""
COMPARED = {  # a row, and the one that it is compared with
    "headers, librispeech.py with 1 job": "headers, fairseq's wav2vec_manifest.py",
    "conversion, 2 jobs": "conversion, 1 job",
}


def speech(joined: int) -> Iterator[np.ndarray]:
    """Utterances at RATE, each of some clips of the mini corpus; the same in each run."""
    rng = random.Random(1)
    paths = sorted((MANIFESTS / "mini" / "audio" / "train").iterdir())
    clips = [soundfile.read(path, dtype="float32")[0] for path in paths]
    while True:
        yield np.concatenate(rng.sample(clips, joined))


def write_librispeech(source: Path, files: int = 2000) -> None:
    """LibriSpeech/dev-clean: 20 speakers, a chapter for each 20 utterances of about 13 s."""
    for index, samples in zip(tqdm(range(files), desc="writing LibriSpeech"), speech(joined=4)):
        chapter, number = divmod(index, 20)
        name = f"{100 + chapter % 20}-{1000 + chapter}"
        folder = source / "LibriSpeech" / "dev-clean" / name.replace("-", "/")
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{name}-{number:04d}.flac", samples, RATE)
        with (folder / f"{name}.trans.txt").open("a") as transcripts:
            transcripts.write(f"{name}-{number:04d} {'SOME WORDS AS LONG AS USUAL ' * 6}\n")


def write_clips(folder: Path, clips: int = 500) -> None:
    """MP3 at 48 kHz of about 6 s."""
    folder.mkdir(parents=True)
    for index, samples in zip(tqdm(range(clips), desc="writing clips"), speech(joined=2)):
        soundfile.write(folder / f"{index}.mp3", soxr.resample(samples, RATE, 48_000), 48_000)


def run(repeats: int = 5) -> Dict[str, List[float]]:
    """Seconds of each repeat, by row; the first turn, which fills caches, is left out."""
    folder = RUNS / "corpora"
    shutil.rmtree(folder, ignore_errors=True)
    source, clips, dest = folder / "source", folder / "clips", folder / "dest"
    write_librispeech(source)
    write_clips(clips)
    librispeech, peer = MANIFESTS / "librispeech.py", HERE / "wav2vec_manifest.py"
    timed: Dict[str, Callable[[], float]] = {
        "headers, fairseq's wav2vec_manifest.py": lambda: command(peer, source, dest)[0],
        "headers, librispeech.py with 1 job": lambda: command(
            librispeech, source, dest, "--jobs=1", "--partial"
        )[0],
        "conversion, 1 job": lambda: float(command("-c", CONVERT, clips, dest, 1)[1]),
        "conversion, 2 jobs": lambda: float(command("-c", CONVERT, clips, dest, 2)[1]),
    }
    seconds: Dict[str, List[float]] = {name: [] for name in timed}
    for turn in tqdm(range(repeats + 1), desc="manifests"):
        for name, measure in timed.items():
            shutil.rmtree(dest, ignore_errors=True)
            dest.mkdir()
            taken = measure()
            if turn:
                seconds[name].append(taken)
    shutil.rmtree(folder)
    return seconds


def command(*arguments: object) -> Tuple[float, str]:
    """The wall time of a run of Python, which finds manifests/ by name, and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(MANIFESTS)},
        check=True,
        capture_output=True,
        text=True,
    )
    return time.perf_counter() - start, done.stdout


def table(seconds: Dict[str, List[float]]) -> str:
    """What `run` found, in Markdown: medians, the spread, and how much faster than its peer."""
    rows = []
    for name, found in seconds.items():
        peer = seconds.get(COMPARED.get(name, ""))
        faster = f"{statistics.median(peer) / statistics.median(found):.2f}" if peer else ""
        spread = f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
        rows.append((name, spread, faster))
    headers = ("", "seconds", "times as fast as the row before")
    return tabulate(rows, headers, "github", disable_numparse=True)


if __name__ == "__main__":
    print(table(run()))
