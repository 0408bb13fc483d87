"""manifests/audio/files.py: what a clip becomes, and what is refused, with which words."""

import sys
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import soundfile
from corpora import MANIFESTS, noise

sys.path.insert(0, str(MANIFESTS))

from audio.files import BadAudio, Header, convert, decode, read_header, write_flac


def tone(hertz: float, rate: int, seconds: float = 1.0, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write_converted(tmp_path: Path, samples: np.ndarray, rate: int, form: str) -> np.ndarray:
    """What `convert` makes of samples that are written in some form."""
    source, target = tmp_path / f"clip.{form}", tmp_path / "clip.flac.flac"
    soundfile.write(source, samples, rate)
    frames = convert(source, target)
    info = soundfile.info(target)
    assert (info.format, info.subtype, info.samplerate) == ("FLAC", "PCM_16", 16000)
    assert (info.channels, info.frames) == (1, frames)
    assert read_header(target) == Header(frames, 16000, 1)
    return soundfile.read(target)[0]


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
def test_a_tone_stays_that_tone(rate: int, tmp_path: Path) -> None:
    converted = write_converted(tmp_path, tone(440, rate), rate, "wav")
    assert len(converted) == 16000
    inside = slice(200, -200)  # a filter does not know what was before and after
    np.testing.assert_allclose(converted[inside], tone(440, 16000)[inside], atol=2e-4)


def test_what_16_khz_cannot_hold_is_gone_and_not_mirrored(tmp_path: Path) -> None:
    converted = write_converted(tmp_path, tone(10_000, 48000), 48000, "wav")
    assert np.abs(converted[200:-200]).max() < 2e-4


def test_channels_are_mixed_down(tmp_path: Path) -> None:
    stereo = np.stack([tone(440, 48000), tone(1000, 48000)], axis=1)
    converted = write_converted(tmp_path, stereo, 48000, "wav")
    expected = (tone(440, 16000) + tone(1000, 16000)) / 2
    np.testing.assert_allclose(converted[200:-200], expected[200:-200], atol=2e-4)


def test_mp3(tmp_path: Path) -> None:
    """The coder changes the samples a little; the length is exact, and nothing is shifted."""
    converted = write_converted(tmp_path, tone(440, 48000), 48000, "mp3")
    assert len(converted) == 16000
    np.testing.assert_allclose(converted[800:-800], tone(440, 16000)[800:-800], atol=0.02)


def test_16_bit_speech_at_16_khz_keeps_every_bit(tmp_path: Path) -> None:
    samples = noise(16000)[:, 0]
    samples[:2] = -(2**15), 2**15 - 1
    source, target = tmp_path / "clip.wav", tmp_path / "clip.flac"
    soundfile.write(source, samples, 16000)
    convert(source, target)
    assert (soundfile.read(target, dtype="int16")[0] == samples).all()


def test_what_is_too_loud_is_clipped_and_does_not_wrap(tmp_path: Path) -> None:
    source, target = tmp_path / "clip.wav", tmp_path / "clip.flac"
    soundfile.write(source, tone(440, 16000, level=2.0), 16000, subtype="FLOAT")
    convert(source, target)
    converted = soundfile.read(target)[0]
    np.testing.assert_allclose(converted, np.clip(tone(440, 16000, level=2.0), -1, 1), atol=1e-4)


def mp3(seconds: float = 2.0, channels: int = 1, rate: int = 48000) -> Callable[[Path], None]:
    samples = np.stack([tone(440, rate, seconds)] * channels, axis=1)
    return lambda path: soundfile.write(path, samples, rate)


def cut(write: Callable[[Path], None], share: float) -> Callable[[Path], None]:
    def write_and_cut(path: Path) -> None:
        write(path)
        content = path.read_bytes()
        path.write_bytes(content[: round(share * len(content))])

    return write_and_cut


def wav(frames: int = 32000, rate: int = 16000) -> Callable[[Path], None]:
    return lambda path: soundfile.write(path, noise(frames), rate)


def text(path: Path) -> None:
    path.write_text("<html>404 not found</html>\n" * 50)


def changed(write: Callable[[Path], None], at: int, value: bytes) -> Callable[[Path], None]:
    def write_and_change(path: Path) -> None:
        write(path)
        content = bytearray(path.read_bytes())
        content[at : at + len(value)] = value
        path.write_bytes(content)

    return write_and_change


def drop_first_frame(mp3: Path) -> None:
    content = mp3.read_bytes()
    mp3.write_bytes(content[content.index(content[:2], 1) :])


BAD = {
    "cut.flac": (cut(wav(), 0.6), "expected audio, found what does not decode: "),
    "cut.mp3": (cut(mp3(), 0.6), "samples decode, expected the 96000 of its header"),
    "cut.wav": (cut(wav(), 0.6), "its header lies: RIFF : 64036 (should be "),
    "empty.flac": (lambda path: path.touch(), "0 bytes, expected audio"),
    "empty.mp3": (lambda path: path.touch(), "0 bytes, expected audio"),
    "text.mp3": (text, "expected audio, found what does not decode: "),
    "text.flac": (text, "expected audio, found what does not decode: "),
    "slow.wav": (wav(rate=8000), "8000 Hz, expected 16000 Hz or more"),
    "slow.mp3": (mp3(rate=8000), "8000 Hz, expected 16000 Hz or more"),
    "lying.wav": (
        changed(wav(), 24, (44100).to_bytes(4, "little")),
        "its header lies: Bytes/sec : 32000 (should be 88200)",
    ),
    "one sample.wav": (wav(1), "1 samples, 0.000 s, expected 0.1 to 60.0 s"),
    "no sample.wav": (wav(0), "0 samples, 0.000 s, expected 0.1 to 60.0 s"),
    "40 minutes.flac": (
        lambda path: soundfile.write(path, np.zeros(38400000, np.int16), 16000),
        "38400000 samples, 2400.000 s, expected 0.1 to 60.0 s",
    ),
    "silent.wav": (
        lambda path: soundfile.write(path, np.zeros(32000), 16000),
        "silent: all samples have the same value",
    ),
    "constant.mp3": (
        lambda path: soundfile.write(path, np.full(96000, 0.1), 48000),
        "silent: all samples have the same value",
    ),
    "opposite channels.wav": (
        lambda path: soundfile.write(path, noise(32000) * [1.0, -1.0] / 2**15, 16000),
        "silent: all samples have the same value",
    ),
    "infinite.wav": (
        lambda path: soundfile.write(path, [0.1, float("inf")] * 9000, 16000, "FLOAT"),
        "samples that are infinite or not a number",
    ),
}


def tagged(content: bytes) -> bytes:
    """An MP3 with a picture of 200 kB in its tag."""
    size = 200_000
    length = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + length + noise(size // 2).tobytes() + content


@pytest.mark.parametrize("name", BAD)
def test_bad_audio(name: str, tmp_path: Path) -> None:
    write, message = BAD[name]
    write(tmp_path / name)
    with pytest.raises(BadAudio) as caught:
        convert(tmp_path / name, tmp_path / "target.flac")
    assert message in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_stereo_at_48_khz_is_not_bad(tmp_path: Path) -> None:
    mp3(channels=2)(tmp_path / "clip.mp3")
    assert convert(tmp_path / "clip.mp3", tmp_path / "clip.flac") == 32000


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    mp3()(tmp_path / "clip.mp3")
    target = tmp_path / "not there" / "clip.flac"
    with pytest.raises(OSError, match=rf"{target}: cannot be written: "):
        convert(tmp_path / "clip.mp3", target)


def test_an_mp3_with_a_tag_at_its_end(tmp_path: Path) -> None:
    source = tmp_path / "clip.mp3"
    mp3()(source)
    source.write_bytes(source.read_bytes() + b"TAG".ljust(128, b"\0"))
    assert convert(source, tmp_path / "clip.flac") == 32000


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
def test_an_mp3_needs_no_length_table(rate: int, mode: str, tmp_path: Path) -> None:
    """Written to a pipe, where no encoder can come back to fill it in; tags change nothing."""
    source, target = tmp_path / "clip.mp3", tmp_path / "clip.flac"
    rising = tone(440, rate, 3.21) * np.linspace(0, 1, round(3.21 * rate))
    soundfile.write(source, rising, rate, bitrate_mode=mode, compression_level=0.6)
    drop_first_frame(source)
    frames = convert(source, target)
    assert frames / 16000 == pytest.approx(3.21, abs=3 * 1152 / rate)
    bare = target.read_bytes()
    source.write_bytes(tagged(source.read_bytes()))
    assert (convert(source, target), target.read_bytes()) == (frames, bare)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("has_tag", [False, True])
def test_an_mp3_without_a_length_table_is_refused_where_it_is_cut(mode, has_tag, tmp_path) -> None:
    source = tmp_path / "clip.mp3"
    soundfile.write(source, noise(96000), 48000, bitrate_mode=mode)
    drop_first_frame(source)
    content = source.read_bytes()
    prefix = tagged(b"") if has_tag else b""
    accepted = 0
    for end in np.random.default_rng(1).integers(1000, len(content), 40):
        source.write_bytes(prefix + content[:end])
        try:
            decode(source)
            accepted += 1
        except BadAudio as error:
            assert "of its last frame are missing" in str(error)
    assert accepted <= 1  # between two frames nothing in the file tells


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    target = tmp_path / "clip.flac"
    (tmp_path / ".clip.flac.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match=f"{target}: cannot be written: No space left on device"):
        write_flac(target, tone(440, 16000))
    assert not list(tmp_path.iterdir())
