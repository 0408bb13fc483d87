"""Converts many clips to 16 kHz mono FLAC, in parallel, and resumes after an interruption."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

from manifest.writing import write_lines
from tqdm import tqdm

from audio.files import RATE, BadAudio, convert
from audio.flac import read_whole_header


@dataclass(frozen=True)
class Clip:
    """A clip to convert.

    Attributes:
        source: the file as the corpus has it.
        path: where the FLAC goes, relative to the audio root.
    """

    source: Path
    path: str


@dataclass(frozen=True)
class Skipped:
    """A clip that is left out of the manifests.

    Attributes:
        clip: its file, or the line of a table.
        reason: why it is left out.
        split: the split, or the table, that lacks it.
    """

    clip: str
    reason: str
    split: str = ""


def convert_all(
    clips: Sequence[Clip], root: Path, jobs: int, lowest_rate: int = RATE
) -> list[int | BadAudio]:
    """Converts clips that are not yet under `root`.

    Returns the number of samples of each clip, or what is wrong with it, in the order of `clips`.
    The bytes written do not depend on `jobs`. A clip counts as converted if its FLAC has the time
    stamp of its source, to the nanosecond, so a source that changed is converted again. Files
    appear whole, so a run may be killed at any moment.

    Args:
        lowest_rate: sample rate in Hz below which a clip is refused.

    Raises:
        ValueError: two clips would be written to the same path.
        OSError: a target cannot be written.
    """
    twice = [path for path, count in Counter(clip.path for clip in clips).items() if count > 1]
    if twice:
        raise ValueError(f"{root / twice[0]}: two clips would be written there, expected one")
    for folder in sorted({(root / clip.path).parent for clip in clips}):
        folder.mkdir(parents=True, exist_ok=True)
    # Threads, because libsndfile, soxr and NumPy release Python's lock, and a kill ends them.
    with ThreadPool(jobs) as pool:
        converted = pool.imap(partial(_convert_once, root=root, lowest_rate=lowest_rate), clips)
        return list(tqdm(converted, desc="converting", total=len(clips), unit="clip"))


def _convert_once(clip: Clip, root: Path, lowest_rate: int) -> int | BadAudio:
    target = root / clip.path
    try:
        frames = _frames_of_finished(target, clip.source.stat().st_mtime_ns)
        if frames is None:
            target.unlink(missing_ok=True)
            frames = convert(clip.source, target, lowest_rate)
        return frames
    except FileNotFoundError:
        return BadAudio("not found")
    except BadAudio as error:
        return error


def _frames_of_finished(target: Path, stamp: int) -> int | None:
    """The samples of a finished FLAC; None if it is not finished."""
    try:
        if target.stat().st_mtime_ns == stamp:
            return read_whole_header(target).frames
    except (FileNotFoundError, BadAudio):
        pass  # a power failure may leave a file without its content
    return None


def write_skipped(dest: Path, skipped: Sequence[Skipped]) -> None:
    """Writes `dest`/skipped.tsv: a line "clip reason" for each clip that is left out."""
    rows = [("clip", "reason"), *((_one_field(s.clip), _one_field(s.reason)) for s in skipped)]
    write_lines(dest / "skipped.tsv", ["\t".join(row) for row in rows])


def check_share(dest: Path, split: str, skipped: int, total: int, max_share: float) -> None:
    """Raises ValueError if more than `max_share` of the clips of a split, 0 to 1, is skipped."""
    if skipped > max_share * total:
        raise ValueError(
            f"{dest / 'skipped.tsv'}: {skipped} of {total} clips of {split} ({skipped / total:.1%})"
            f" are skipped, expected no more than {max_share:.1%}; --max-skipped allows more"
        )


def _one_field(text: str) -> str:
    """Text without characters that end a field or a line of a .tsv file, or are not Unicode."""
    spaced = " ".join(text.replace("\t", " ").splitlines())
    return spaced.encode("utf-8", "backslashreplace").decode("utf-8")
