"""What the headers of audio files tell, compared with the manifest before training.

fairseq averages the channels of a file, takes its length from the manifest, and finds another
sampling rate when a batch needs the file. Headers are read in threads, about 10,000 WAV or FLAC
files a second; no audio is decoded.
"""

from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

import soundfile

_THREADS = 16  # reading a header is waiting for the disk, or for the network behind it
_ESTIMATED = ("MP3",)  # formats whose header does not tell the length exactly


class Clip(NamedTuple):
    """A line of a manifest: its number, the file, and its length in samples."""

    line: int
    path: Path
    samples: int


def find_bad_clips(clips: List[Clip], rate: int, shortest: int) -> List[Tuple[Clip, str]]:
    """The clips that cannot be trained on or scored, each with what is wrong with it.

    Args:
        clips: lines of a manifest.
        rate: sampling rate that the encoder expects, in Hz.
        shortest: the least number of samples of which the encoder makes a frame.
    """
    with ThreadPool(_THREADS) as pool:
        faults = pool.imap(lambda clip: _fault(clip, rate, shortest), clips, chunksize=64)
        return [(clip, fault) for clip, fault in zip(clips, faults) if fault is not None]


def _fault(clip: Clip, rate: int, shortest: int) -> Optional[str]:
    try:
        with soundfile.SoundFile(str(clip.path)) as audio:
            found_rate, channels, samples = audio.samplerate, audio.channels, audio.frames
            estimated = audio.format in _ESTIMATED
    except Exception as error:  # of many kinds, by format and by what is wrong
        return f"cannot be read as audio ({error})"
    if found_rate != rate:
        return f"{found_rate} Hz, expected {rate} Hz"
    if channels != 1:
        return f"{channels} channels, expected 1"
    if samples != clip.samples and not estimated:
        return f"{samples} samples, expected {clip.samples} as the manifest says"
    if clip.samples < shortest:
        return f"{clip.samples} samples, expected {shortest} or more for one frame of the encoder"
    return None


def shortest_clip(convolutions) -> int:
    """Samples that give one frame, for the (channels, width, stride) of each convolution."""
    samples = 1
    for _, width, stride in reversed(list(convolutions)):
        samples = (samples - 1) * stride + width
    return samples
