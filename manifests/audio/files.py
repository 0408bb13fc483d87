"""Audio files: reading headers, decoding, and converting clips of any form to 16 kHz mono FLAC."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import soundfile
import soxr
from manifest.writing import RATE, replacing

from audio.mp3 import Layout, read_layout, with_table

SHORTEST = 0.1  # seconds: fewer give the encoder a handful of frames
LONGEST = 60.0  # seconds: the longest utterance of LibriSpeech has 35
FULL_SCALE = 2**15
TAGS = 1024  # bytes that may follow the last sample: an ID3v1 tag, a small chunk
MP3_FRAME = 1152  # samples: encoders disagree about which frames a length table counts
EDGE = 0.1  # seconds at either end of a constant clip in which coders ramp up and down
QUIET = 2  # range of 16-bit samples, highest minus lowest, that counts as silence


class BadAudio(ValueError):
    """What is wrong with a clip, without its name."""


class Header(NamedTuple):
    """What a header says: samples of each channel, sample rate in Hz, number of channels."""

    frames: int
    rate: int
    channels: int

    def check(self, lowest_rate: int = RATE) -> None:
        """Raises BadAudio unless rate and length are those of recorded utterances."""
        if self.rate < lowest_rate:
            raise BadAudio(f"{self.rate} Hz, expected {lowest_rate} Hz or more")
        seconds = self.frames / self.rate
        if not SHORTEST <= seconds <= LONGEST:
            raise BadAudio(
                f"{self.frames} samples, {seconds:.3f} s, expected {SHORTEST} to {LONGEST} s"
            )


class _Opened(NamedTuple):
    """A file that libsndfile reads.

    Attributes:
        layout: the frames of an MP3; None for other formats.
        size: bytes that libsndfile can read.
        left: returns how many of them it did not read yet.
    """

    audio: soundfile.SoundFile
    layout: Optional[Layout]
    size: int
    left: Callable[[], int]

    @property
    def header(self) -> Header:
        return Header(self.audio.frames, self.audio.samplerate, self.audio.channels)


def read_header(path: Path) -> Header:
    """The header of an audio file. Raises BadAudio if it cannot be read."""
    with _open(path) as opened:
        return opened.header


def decode(path: Path) -> tuple[Header, np.ndarray]:
    """Decodes a whole file in any form that libsndfile reads.

    Returns:
        The header, and the samples in the range -1 to 1, of shape (frames, channels). The header
        has the number of samples that were decoded.

    Raises:
        BadAudio: the file does not decode, is cut short, or has another length than it says.
    """
    with _open(path) as opened:
        header, layout = opened.header, opened.layout
        # libsndfile corrects wrong headers, and mentions it in its log only.
        wrong = [line for line in opened.audio.extra_info.splitlines() if "(should be" in line]
        if wrong:
            raise BadAudio(f"its header lies: {' '.join(wrong[0].split())}")
        samples = opened.audio.read(dtype="float32", always_2d=True)
        left = opened.left()
    slack = MP3_FRAME / max(1, header.frames) if layout else 0.0
    if header.frames - len(samples) > slack * header.frames:
        raise BadAudio(f"{len(samples)} samples decode, expected the {header.frames} of its header")
    if layout and layout.missing:
        raise BadAudio(f"cut short: {layout.missing} bytes of its last frame are missing")
    if left > TAGS + slack * opened.size:
        raise BadAudio(f"{left} bytes are left after the {header.frames} samples of its header")
    if not np.isfinite(samples).all():
        raise BadAudio("samples that are infinite or not a number")
    return header._replace(frames=len(samples)), samples


@contextmanager
def _open(path: Path) -> Iterator[_Opened]:
    """Opens a file such that its header has the right length and it is known what was read."""
    try:
        # A file descriptor, because its position tells how far the decoder came.
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise BadAudio("not found") from None
    try:
        size = os.fstat(descriptor).st_size
        head = os.pread(descriptor, 3, 0)
        layout = None
        if head == b"ID3" or head[:1] in (b"\xff", b"\0"):
            content = os.pread(descriptor, size, 0)
            layout = read_layout(content)
        if layout:
            whole = with_table(content, layout)
            stream, end = BytesIO(whole), len(whole)
            with soundfile.SoundFile(stream) as audio:
                yield _Opened(audio, layout, end, lambda: end - stream.tell())
        else:
            with soundfile.SoundFile(descriptor, closefd=False) as audio:
                yield _Opened(
                    audio, None, size, lambda: size - os.lseek(descriptor, 0, os.SEEK_CUR)
                )
    except soundfile.LibsndfileError as error:
        if not size:
            raise BadAudio("0 bytes, expected audio") from None
        reason = f"expected audio, found what does not decode: {error.error_string}"
        raise BadAudio(reason) from None
    finally:
        os.close(descriptor)


def convert(source: Path, target: Path, lowest_rate: int = RATE) -> int:
    """Decodes a clip, mixes it down, resamples it to RATE, and writes it as 16-bit FLAC.

    The FLAC gets the time stamp of its source. Returns the number of samples written.

    Args:
        lowest_rate: sample rate in Hz below which a clip is refused.

    Raises:
        BadAudio: the clip does not decode, is silent, or has the rate or the length of no
            utterance; nothing is written then.
        OSError: `target` cannot be written.
    """
    stamp = source.stat().st_mtime_ns
    read_header(source).check(lowest_rate)
    header, samples = decode(source)
    header.check(lowest_rate)
    mono = samples.mean(axis=1) if header.channels > 1 else samples[:, 0]
    if is_silent(mono, header.rate):
        raise BadAudio("silent: all samples have the same value")
    return write_flac(target, soxr.resample(mono, header.rate, RATE), stamp)


def is_silent(samples: np.ndarray, rate: int) -> bool:
    """Whether samples from -1 to 1 of one channel are zero, or constant, when stored in 16 bits."""
    edge = round(EDGE * rate)
    inside = samples[edge:-edge] if len(samples) > 3 * edge else samples
    return len(inside) == 0 or float(np.ptp(inside)) * FULL_SCALE <= QUIET


def write_flac(path: Path, samples: np.ndarray, stamp: int | None = None) -> int:
    """Writes samples from -1 to 1 at RATE as 16-bit mono FLAC, in one step; returns their number.

    Args:
        stamp: time of the last change, in ns. None stands for now.

    Raises OSError if `path` cannot be written.
    """
    # Rounded here, because soxr dithers what it returns as integers: silence would become noise.
    rounded = np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    # Encoded in memory, because libsndfile does not say why a file cannot be written.
    encoded = BytesIO()
    soundfile.write(encoded, rounded, RATE, subtype="PCM_16", format="FLAC")
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.getvalue())
        if stamp is not None:
            os.utime(temporary, ns=(stamp, stamp))
    return len(rounded)
