"""Cluster labels for the clips of some splits: features once, k-means, and a line for each clip.

Features are kept in shards in a hidden folder of DEST until the labels are written, so that an
interrupted run goes on where it stopped: about 30 MB for an hour of MFCC.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from manifest.writing import Utterance, replacing, write_lines
from tqdm import tqdm

from targets.mfcc import HOP

SHARD = 256  # clips
SAMPLE = 300_000  # frames to fit k-means on, at most: the accuracy of the centres needs no more

Features = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Settings:
    """What decides the labels, beside the audio.

    Attributes:
        features: what is clustered, in words.
        suffix: of the label files: {split}.{suffix} and dict.{suffix}.txt.
    """

    features: str
    clusters: int
    seed: int
    suffix: str


def write_targets(
    dest: Path,
    root: Path,
    splits: Mapping[str, Sequence[Utterance]],
    features: Features,
    repeats: int,
    settings: Settings,
    jobs: int,
) -> None:
    """Writes `dest`/{split}.{suffix}, a cluster for every 10 ms of each clip, and the dictionary.

    Args:
        features: samples of a clip -> its frames.
        repeats: how many times 10 ms a frame lasts.
        jobs: threads that compute features; they change nothing but the time.

    Raises:
        ValueError: fewer frames than clusters.
    """
    clips = [clip for utterances in splits.values() for clip in utterances]
    store = _Store(dest / f".{settings.suffix}-features", settings, clips)
    store.fill(root, features, jobs)
    centres = _fit(store, settings)
    labels = (
        _line(found, repeats, clip)
        for clip, found in zip(clips, _predict(store, centres), strict=True)
    )
    for split, utterances in splits.items():
        write_lines(dest / f"{split}.{settings.suffix}", islice(labels, len(utterances)))
    dictionary = [f"{cluster} 1" for cluster in range(settings.clusters)]
    write_lines(dest / f"dict.{settings.suffix}.txt", dictionary)
    shutil.rmtree(store.folder)


def _predict(store: "_Store", centres: Any) -> Iterator[np.ndarray]:
    """The cluster of each frame, clip by clip."""
    with tqdm(desc="labels", total=store.count, unit="clip") as bar:
        for frames, lengths in store.shards():
            yield from np.split(centres.predict(frames), np.cumsum(lengths)[:-1])
            bar.update(len(lengths))


def _line(labels: np.ndarray, repeats: int, clip: Utterance) -> str:
    """One cluster for each 10 ms; the last ones are those of the last frame."""
    spread = np.repeat(labels, repeats)[: clip.frames // HOP]
    padded = np.pad(spread, (0, clip.frames // HOP - len(spread)), mode="edge")
    return " ".join(map(str, padded))


def _fit(store: "_Store", settings: Settings) -> Any:
    """The k-means of a random sample of the frames."""
    from sklearn.cluster import MiniBatchKMeans

    total = sum(int(lengths.sum()) for _, lengths in store.shards())
    if total < settings.clusters:
        raise ValueError(
            f"--clusters: {settings.clusters}, expected no more than the {total} frames"
        )
    rng = np.random.default_rng(settings.seed)
    chosen = np.sort(rng.choice(total, min(SAMPLE, total), replace=False))
    sample, start = [], 0
    for frames, _ in store.shards():
        here = chosen[np.searchsorted(chosen, start) : np.searchsorted(chosen, start + len(frames))]
        sample.append(frames[here - start])
        start += len(frames)
    print(f"clustering {len(chosen)} of {total} frames into {settings.clusters}", flush=True)
    kmeans = MiniBatchKMeans(
        settings.clusters, batch_size=10_000, n_init=3, max_iter=100, random_state=settings.seed
    )
    return kmeans.fit(np.concatenate(sample))


class _Store:
    """Frames of clips on disk, in shards; one of other settings or clips is thrown away."""

    def __init__(self, folder: Path, settings: Settings, clips: Sequence[Utterance]) -> None:
        self.folder, self._clips = folder, clips
        listing = "".join(f"{clip.path}\t{clip.frames}\n" for clip in clips)
        owner = asdict(settings) | {"clips": blake2b(listing.encode()).hexdigest()}
        about = folder / "about.json"
        if not (about.is_file() and json.loads(about.read_text("utf-8")) == owner):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_lines(about, [json.dumps(owner)])

    @property
    def count(self) -> int:
        return len(self._clips)

    def _files(self) -> Iterator[tuple[Path, Sequence[Utterance]]]:
        for start in range(0, self.count, SHARD):
            yield self.folder / f"{start:09d}.npz", self._clips[start : start + SHARD]

    def fill(self, root: Path, features: Features, jobs: int) -> None:
        """Computes the shards that are missing."""

        def read(clip: Utterance) -> np.ndarray:
            samples, _ = soundfile.read(root / clip.path, dtype="float32")
            return features(samples).astype(np.float16)

        with ThreadPool(jobs) as pool, tqdm(desc="features", total=self.count, unit="clip") as bar:
            for path, clips in self._files():
                if not path.is_file():
                    found = pool.map(read, clips)
                    with replacing(path) as temporary, temporary.open("wb") as file:
                        lengths = np.array([len(frames) for frames in found])
                        np.savez(file, frames=np.concatenate(found), lengths=lengths)
                bar.update(len(clips))

    def shards(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The frames of the clips of each shard, float32, and how many each clip has."""
        for path, _ in self._files():
            with np.load(path) as shard:
                yield shard["frames"].astype(np.float32), shard["lengths"]
