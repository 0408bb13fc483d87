"""Audio files: what their headers say, and clips of any form as 16 kHz mono FLAC."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from manifest.writing import RATE, replacing

SHORTEST = 0.1  # seconds: less gives the encoder a handful of frames
LONGEST = 60.0  # seconds: the longest utterance of LibriSpeech has 35
FULL_SCALE = 2**15
TAGS = 1024  # bytes that may follow the last sample: ID3v1, a small chunk
MP3_FRAME = 1152  # samples: encoders disagree about which frames an MP3's table counts
GUESS = 0.01  # how far off the length of an MP3 without a table may be


class BadAudio(ValueError):
    """What is wrong with a clip, without its name."""


class Header(NamedTuple):
    """What a header says: samples of each channel, Hz, channels."""

    frames: int
    rate: int
    channels: int

    def check(self) -> None:
        """Raises BadAudio for a rate below RATE, and a length not from SHORTEST to LONGEST."""
        if self.rate < RATE:
            raise BadAudio(f"{self.rate} Hz, expected {RATE} Hz or more")
        seconds = self.frames / self.rate
        if not SHORTEST <= seconds <= LONGEST:
            raise BadAudio(
                f"{self.frames} samples, {seconds:.3f} s, expected {SHORTEST} to {LONGEST} s"
            )


def read_header(path: Path) -> Header:
    """The header of an audio file; raises BadAudio where it cannot be read."""
    try:
        with soundfile.SoundFile(path) as audio:
            return Header(audio.frames, audio.samplerate, audio.channels)
    except soundfile.LibsndfileError as error:
        raise BadAudio(_reason(path, error)) from None


def decode(path: Path) -> tuple[Header, np.ndarray]:
    """A clip in any form that libsndfile reads: its header, and samples from -1 to 1.

    The samples have the shape (frames, channels).

    Raises:
        BadAudio: a clip that does not decode to the length that its header says, or whose rate or
            length is not that of a speech corpus.
    """
    # Through a file descriptor, for its position tells how far the decoder came.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with soundfile.SoundFile(descriptor, closefd=False) as audio:
            header = Header(audio.frames, audio.samplerate, audio.channels)
            header.check()
            # libsndfile mends such a header in silence, but for its log.
            lies = [line for line in audio.extra_info.splitlines() if "(should be" in line]
            if lies:
                raise BadAudio(f"its header lies: {' '.join(lies[0].split())}")
            samples = audio.read(dtype="float32", always_2d=True)
            slack = _slack(audio, descriptor)
        size, position = os.fstat(descriptor).st_size, os.lseek(descriptor, 0, os.SEEK_CUR)
    except soundfile.LibsndfileError as error:
        raise BadAudio(_reason(path, error)) from None
    finally:
        os.close(descriptor)
    if header.frames - len(samples) > slack * header.frames:
        raise BadAudio(f"{len(samples)} samples decode, expected the {header.frames} of its header")
    if size - position > TAGS + slack * size:
        raise BadAudio(
            f"{size - position} bytes are left after the {header.frames} samples of its header"
        )
    return header._replace(frames=len(samples)), samples


def _slack(audio: soundfile.SoundFile, descriptor: int) -> float:
    """The share by which the length of a file may be off: 0, but for MP3.

    An MP3 tells its length by a table in its first frame, named Xing or Info. Encoders that write
    to a pipe leave it out: mpg123 then divides the file's size by that of the first frame.
    """
    if audio.format != "MP3":
        return 0.0
    head = os.pread(descriptor, 4096, 0)
    return MP3_FRAME / audio.frames + (0 if b"Xing" in head or b"Info" in head else GUESS)


def convert(source: Path, target: Path) -> int:
    """Decodes a clip, mixes it down, resamples it to RATE, and writes it as 16-bit FLAC.

    The FLAC appears with the time stamp of its source. Returns the samples written.

    Raises:
        BadAudio: what `decode` refuses; nothing is written then.
        OSError: `target` cannot be written.
    """
    stamp = source.stat().st_mtime_ns
    header, samples = decode(source)
    mono = samples.mean(axis=1) if header.channels > 1 else samples[:, 0]
    return write_flac(target, soxr.resample(mono, header.rate, RATE), stamp)


def write_flac(path: Path, samples: np.ndarray, stamp: int | None = None) -> int:
    """Writes samples from -1 to 1 at RATE as 16-bit mono FLAC, in one step; returns their number.

    `stamp` is the time of its last change in ns, where that is not to be now.

    Raises OSError where `path` cannot be written.
    """
    # Rounded here, for soxr dithers what it returns as integers: silence would become noise.
    rounded = np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    with replacing(path) as temporary:
        try:
            soundfile.write(temporary, rounded, RATE, subtype="PCM_16", format="FLAC")
        except soundfile.LibsndfileError as error:
            raise OSError(f"{path}: cannot be written: {error}") from None
        if stamp is not None:
            os.utime(temporary, ns=(stamp, stamp))
    return len(rounded)


def _reason(path: Path, error: soundfile.LibsndfileError) -> str:
    if not path.exists():
        return "not found"
    if not path.stat().st_size:
        return "0 bytes, expected audio"
    return f"expected audio, found what does not decode: {error.error_string}"
