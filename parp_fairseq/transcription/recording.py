"""Recording: an audio file of any format and rate, read as a stream of 16 kHz mono samples."""

from pathlib import Path
from typing import Iterator

import numpy as np
import soundfile

RATE = 16000  # Hz, of wav2vec 2.0
_BLOCK_SECONDS = 10


class BadRecording(ValueError):
    """What is wrong with an audio file. The message names the file."""


class Recording:
    """An audio file that libsndfile reads, such as WAV, FLAC, Ogg, Opus and MP3.

    Args:
        path: the file.

    Attributes:
        seconds: its length as its header says.

    Raises:
        BadRecording: it cannot be opened, or its rate is not 16 kHz and soxr is not installed.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            found = "is a folder" if path.is_dir() else "does not exist"
            raise BadRecording(f"{path} {found}: expected an audio file")
        try:
            info = soundfile.info(str(path), verbose=True)
        except soundfile.LibsndfileError as error:
            raise BadRecording(f"{path} cannot be decoded: {error.error_string}") from None
        # libsndfile corrects the length in a header silently, when the file is cut short.
        if any("(should be" in line for line in info.extra_info.splitlines()):
            raise BadRecording(f"{path} is cut short: its header promises more audio")
        if info.frames == 0:
            raise BadRecording(f"{path} holds no audio: 0 samples")
        self._rate, self._frames, self._format = info.samplerate, info.frames, info.format
        self.seconds = info.frames / info.samplerate
        if self._rate != RATE:
            self._require_soxr()

    def blocks(self) -> Iterator[np.ndarray]:
        """The samples in blocks of about ten seconds: float32, from -1 to 1, 16 kHz, mono.

        Raises:
            BadRecording: the file does not decode to its end, or holds samples that are no numbers.
        """
        resampler = self._make_resampler()
        decoded = 0
        try:
            with soundfile.SoundFile(str(self.path)) as file:
                while True:
                    block = file.read(_BLOCK_SECONDS * self._rate, "float32", always_2d=True)
                    decoded += len(block)
                    if not np.isfinite(block).all():
                        raise BadRecording(f"{self.path} holds samples that are not numbers")
                    is_last = len(block) < _BLOCK_SECONDS * self._rate
                    if is_last:
                        self._require_whole(decoded)
                    mono = block.mean(axis=1) if block.shape[1] > 1 else block[:, 0]
                    yield resampler(mono, is_last)
                    if is_last:
                        return
        except soundfile.LibsndfileError as error:
            raise BadRecording(
                f"{self.path} cannot be decoded after {decoded / self._rate:.1f} s: "
                f"{error.error_string}"
            ) from None

    def _require_whole(self, decoded: int) -> None:
        # The length of an MP3 is an estimate.
        if decoded < self._frames and self._format != "MP3":
            raise BadRecording(
                f"{self.path} is cut short: {decoded} samples decode, expected {self._frames}"
            )
        if decoded == 0:
            raise BadRecording(f"{self.path} holds no audio: 0 samples decode")

    def _make_resampler(self):
        if self._rate == RATE:
            return lambda samples, is_last: samples
        import soxr

        stream = soxr.ResampleStream(self._rate, RATE, 1, dtype="float32")
        return lambda samples, is_last: stream.resample_chunk(samples, last=is_last)

    def _require_soxr(self) -> None:
        try:
            import soxr  # noqa: F401
        except ModuleNotFoundError:
            raise BadRecording(
                f"{self.path} has a rate of {self._rate} Hz: resampling to {RATE} Hz needs soxr "
                "(pip install 'parp_fairseq[data]')"
            ) from None
