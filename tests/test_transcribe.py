"""parp transcribe: recordings of any format, rate and length, in windows that lose no words."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fairseq_runs import finetune, training_config, transcribe, write_corpus
from torch import Tensor

from parp_fairseq.cli import main
from parp_fairseq.transcription import BadRecording, Recording, Transcriber
from parp_fairseq.transcription.passages import find_join, join_windows
from parp_fairseq.transcription.windows import CONTEXT, Window, cut, find_seam

RATE = 16000
HOP = 320
MINI = Path(__file__).parents[1] / "manifests" / "mini"
CLIPS = sorted((MINI / "audio" / "test").glob("*.ogg"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The shipped encoder after a few updates, in a folder without its corpus."""
    top = tmp_path_factory.mktemp("transcribe")
    data = write_corpus(top / "corpus", "train", 8)
    cfg = training_config(
        data, MINI / "encoder.pt", top / "run", normalize=True, max_update=4, lr="[0.001]"
    )
    finetune(cfg)
    (top / "corpus").rename(top / "moved")
    return top / "run" / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def transcriber(checkpoint):
    return Transcriber.load(checkpoint, cpu=True, window=12)


def speech(index: int) -> np.ndarray:
    return soundfile.read(CLIPS[index], dtype="float32")[0]


def with_pauses(clips, seconds=0.8):
    pause = np.zeros(int(seconds * RATE), np.float32)
    return np.concatenate([part for clip in clips for part in (clip, pause)])


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(seconds * RATE))).astype(np.float32)


# The words ------------------------------------------------------------------------------------


def test_a_short_file_has_the_words_of_fairseq(checkpoint, transcriber, tmp_path):
    """fairseq-generate and parp transcribe print the same words for the same clips."""
    data = tmp_path / "data"
    data.mkdir()
    manifest = [str(data)]
    for index in range(3):
        soundfile.write(data / f"{index}.flac", speech(index), RATE)
        manifest.append(f"{index}.flac\t{len(speech(index))}")
    (data / "valid.tsv").write_text("\n".join(manifest) + "\n")
    (data / "valid.ltr").write_text("A |\n" * 3)
    (data / "dict.ltr.txt").write_text((checkpoint.parents[1] / "moved/dict.ltr.txt").read_text())
    output = transcribe(data, checkpoint, tmp_path / "out", normalize=True, batch_size=1)
    for index in range(3):
        [line] = [line for line in output if line.startswith(f"D-{index}\t")]
        expected = line.split("\t")[2].split()
        assert transcriber.transcribe(data / f"{index}.flac").text.split() == expected


def test_ten_minutes_are_the_pieces_cut_at_silences(transcriber, tmp_path):
    clips = [speech(index % len(CLIPS)) for index in range(20)]
    whole = with_pauses(clips)
    whole = np.tile(whole, int(np.ceil(600 * RATE / len(whole))))
    soundfile.write(tmp_path / "whole.flac", whole, RATE)
    largest = 0

    def blocks():
        nonlocal largest
        for window in cut(Recording(tmp_path / "whole.flac").blocks(), 12, transcriber.hop):
            largest = max(largest, len(window.samples))
            yield window

    windows = list(blocks())
    assert not any(window.follows for window in windows)
    assert sum(len(window.samples) for window in windows) == len(whole)
    assert largest <= 12 * RATE
    # Whole words only: a seam lies in silence.
    for window in windows[1:]:
        around = whole[window.start - RATE // 10 : window.start + RATE // 10]
        assert np.abs(around).max() < 0.01
    pieces = []
    for number, window in enumerate(windows[:8]):
        soundfile.write(tmp_path / f"{number}.wav", window.samples, RATE, subtype="FLOAT")
        pieces += transcriber.transcribe(tmp_path / f"{number}.wav").text.split()
    soundfile.write(tmp_path / "part.flac", whole[: windows[8].start], RATE, subtype="PCM_16")
    found = transcriber.transcribe(tmp_path / "part.flac")
    assert found.text.split() == pieces and len(pieces) > 8
    assert found.seconds == pytest.approx(windows[8].start / RATE)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_no_symbol_is_lost_or_doubled_where_windows_overlap(shift):
    """A network that hears a symbol every eight frames, one frame off in every other window."""
    symbols, period, frames = 40, 8, 3000
    windows = list(cut([noise(frames * HOP / RATE)], 10, HOP))
    assert len(windows) > 5 and all(window.follows for window in windows[1:])
    starts = [window.start for window in windows]

    def emit(window: Window) -> Tensor:
        first, count = window.start // HOP, len(window.samples) // HOP
        log_probs = torch.full((count, symbols), -10.0)
        log_probs[:, 0] = -1.0
        moved = shift * (starts.index(window.start) % 2)
        for index in range(frames // period):
            frame = index * period + 3 + moved - first
            if 0 <= frame < count:
                log_probs[frame, 1 + index % (symbols - 1)] = 0.0
        return log_probs

    [passage] = join_windows(windows, emit, HOP)
    path = passage.log_probs.argmax(dim=1).unique_consecutive()
    heard = path[path != 0].tolist()
    expected = [1 + index % (symbols - 1) for index in range(frames // period)]
    assert heard == expected[: len(heard)] and len(expected) - len(heard) <= 1
    assert len(passage.log_probs) == len(noise(frames * HOP / RATE)) // HOP


def test_without_overlap_the_joined_emission_is_that_of_one_window():
    log_probs = torch.randn(50, 5)
    assert find_join(log_probs, log_probs) == 25


# Windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.01, 4.9, 5, 5.5, 9.99, 10, 61.3])
@pytest.mark.parametrize("block", [777, 160000])
def test_windows_cover_a_recording_of_any_length(seconds, block):
    samples = noise(seconds)
    blocks = [samples[i : i + block] for i in range(0, len(samples), block)]
    windows = list(cut(blocks, 5, HOP))
    reached = 0
    for window in windows:
        assert np.array_equal(
            window.samples, samples[window.start : window.start + len(window.samples)]
        )
        assert window.start % HOP == 0
        shared = reached - window.start
        assert shared == (2 * CONTEXT * RATE if window.follows else 0)
        assert len(window.samples) <= (5 + 2 * CONTEXT) * RATE
        reached = window.start + len(window.samples)
    assert reached == len(samples)


def test_a_seam_lies_in_the_middle_of_the_pause():
    samples = noise(10)
    samples[int(6.2 * RATE) : int(7 * RATE)] = 0
    seam = find_seam(samples, 5 * RATE, 9 * RATE)
    assert seam.is_silent and seam.position / RATE == pytest.approx(6.6, abs=0.03)
    assert not find_seam(noise(10), 5 * RATE, 9 * RATE).is_silent


# Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, rate, channels, options",
    [
        ("a.wav", 44100, 2, dict(subtype="PCM_24")),
        ("a.flac", 8000, 1, {}),
        ("a.mp3", 22050, 1, {}),
        ("a.ogg", 48000, 2, {}),
        ("a.opus", 48000, 1, dict(format="OGG", subtype="OPUS")),
    ],
)
def test_any_format_and_rate(name, rate, channels, options, tmp_path):
    time = np.arange(int(2.5 * rate)) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / name, np.stack([tone] * channels, axis=1), rate, **options)
    samples = np.concatenate(list(Recording(tmp_path / name).blocks()))
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert len(samples) / RATE == pytest.approx(2.5, abs=0.12)
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * RATE / len(samples) == pytest.approx(440, abs=1)


def test_broken_files_are_named_and_the_others_go_on(checkpoint, tmp_path, capsys):
    good = tmp_path / "good.flac"
    soundfile.write(good, speech(0), RATE)
    cut_short = tmp_path / "cut.flac"
    cut_short.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    header = tmp_path / "header.wav"
    soundfile.write(header, speech(0), RATE)
    header.write_bytes(header.read_bytes()[:-2000])
    text = tmp_path / "text.wav"
    text.write_text("not audio")
    short = tmp_path / "short.wav"
    soundfile.write(short, speech(0)[:50], RATE)
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, speech(0)[:0], RATE)
    missing = tmp_path / "missing.wav"
    nan = tmp_path / "nan.wav"
    soundfile.write(nan, np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    bad = [cut_short, header, text, short, empty, missing, nan, tmp_path]
    files = [good, *bad, CLIPS[1]]
    assert main(["transcribe", str(checkpoint), *map(str, files), "--format", "json"]) == 1
    printed = capsys.readouterr()
    records = [json.loads(line) for line in printed.out.splitlines()]
    assert [record["file"] for record in records] == [str(good), str(CLIPS[1])]
    told = [line for line in printed.err.splitlines() if line.startswith("parp: ")]
    assert len(told) == len(bad) + 1
    for line, file in zip(told, bad):
        assert str(file) in line
    assert told[-1] == f"parp: {len(bad)} of {len(files)} files were not transcribed"


def test_json_has_the_times_of_words(checkpoint, transcriber, tmp_path, capsys):
    silence = np.zeros(6 * RATE, np.float32)
    silence[: len(speech(0))] = speech(0)
    soundfile.write(tmp_path / "late.flac", np.concatenate([silence, speech(0)]), RATE)
    command = ["transcribe", str(checkpoint), str(tmp_path / "late.flac"), "--window", "6"]
    assert main([*command, "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["seconds"] == pytest.approx(6 + len(speech(0)) / RATE, abs=0.001)
    assert " ".join(word["word"] for word in record["words"]) == record["text"]
    times = [time for word in record["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times) and times[0] >= 0 and 6 < times[-1] <= record["seconds"]
    assert main(command) == 0
    assert capsys.readouterr().out == record["text"] + "\n"


def test_wrong_checkpoints_and_options_are_named(checkpoint, tmp_path, capsys):
    def refused(*arguments):
        with pytest.raises(SystemExit):
            main(["transcribe", *map(str, arguments), str(CLIPS[0])])
        printed = capsys.readouterr()
        assert not printed.out and printed.err.count("\n") == 1
        return printed.err

    assert "missing.pt does not exist" in refused(tmp_path / "missing.pt")
    assert "expected a finetuned checkpoint" in refused(tmp_path)
    (tmp_path / "a.pt").write_text("no checkpoint")
    assert "a.pt is not a finetuned checkpoint" in refused(tmp_path / "a.pt")
    assert "encoder.pt is not a finetuned checkpoint" in refused(MINI / "encoder.pt")
    assert "--window is 1: expected 4" in refused("--window", 1, checkpoint)
    state = torch.load(checkpoint, weights_only=True)
    state["cfg"]["model"]["w2v_args"]["model"]["conv_feature_layers"] = "print('code ran')"
    torch.save(state, tmp_path / "code.pt")
    assert "conv_feature_layers" in refused(tmp_path / "code.pt")


def test_a_recording_that_is_too_short_is_named(transcriber, tmp_path):
    soundfile.write(tmp_path / "short.wav", speech(0)[:50], RATE)
    with pytest.raises(BadRecording, match=r"short.wav has 50 samples at 16000 Hz: expected"):
        transcriber.transcribe(tmp_path / "short.wav")
