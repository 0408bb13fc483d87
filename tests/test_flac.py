"""manifests/audio/flac.py: a whole FLAC file is known by its ends, and no cut passes."""

import sys
from pathlib import Path

import pytest
import soundfile
from corpora import MANIFESTS, noise
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(MANIFESTS))

from audio import flac
from audio.files import BadAudio, Header
from audio.flac import _crc16, read_whole_header


def crc_bit_by_bit(data: bytes) -> int:
    """CRC-16 as RFC 9639 defines it: polynomial x^16 + x^15 + x^2 + 1, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x8005 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


@given(st.binary(min_size=1, max_size=3000))
def test_checksum(data: bytes) -> None:
    assert _crc16(data) == crc_bit_by_bit(data)


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(1600, 40000),
    compression=st.sampled_from([0.0, 0.5, 1.0]),  # the size of blocks follows it
    channels=st.sampled_from([1, 2]),
    rate=st.sampled_from([16000, 44100, 17123]),
    data=st.data(),
)
def test_whole_files_are_known_and_cut_ones_refused(
    tmp_path_factory, frames, compression, channels, rate, data
) -> None:
    path = tmp_path_factory.mktemp("flac") / "clip.flac"
    frames = max(frames, rate // 10 + 1)
    soundfile.write(path, noise(frames, channels), rate, compression_level=compression)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flac, "decode", None)  # the ends alone suffice
        assert read_whole_header(path) == Header(frames, rate, channels)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(BadAudio):
        read_whole_header(path)


def write(path: Path, frames: int = 20000) -> bytearray:
    soundfile.write(path, noise(frames), 16000)
    return bytearray(path.read_bytes())


def test_what_has_tags_at_its_end_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    path.write_bytes(write(path) + b"TAG".ljust(128, b"\0"))
    assert read_whole_header(path) == Header(20000, 16000, 1)


def test_a_header_that_lies(tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    for first, value, message in [
        (18, (44100 << 4).to_bytes(3, "big"), "44100 Hz in its header, 16000 Hz in its frames"),
        (22, (15000).to_bytes(4, "big"), "frames follow the 15000 samples of its header"),
        (22, (10000).to_bytes(4, "big"), "bytes are left after the 10000 samples of its header"),
        (22, (30000).to_bytes(4, "big"), "expected audio, found what does not decode"),
        (22, (0).to_bytes(4, "big"), "expected 0.1 to 60.0 s"),
        (18, bytes(8), "0 Hz, expected 16000 Hz or more"),
    ]:
        content = write(path)
        content[first : first + len(value)] = value
        path.write_bytes(content)
        with pytest.raises(BadAudio, match=message):
            read_whole_header(path)
