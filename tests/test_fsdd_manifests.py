"""manifests/fsdd.py: what it writes is compared whole with what was spoken.

The recordings of the made-up data set are those of word_strings.py.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile", reason="the [data] extra is not installed")
pytest.importorskip("soxr", reason="the [data] extra is not installed")

from word_strings import listen, pitch_of, read_split, tone  # noqa: E402

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "manifests" / "fsdd.py"
REAL = ROOT.parent / "shared" / "data" / "fsdd" / "recordings"
WORDS = ["ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"]
STUDIED = ("george", "jackson", "lucas", "theo", "yweweler")
SPEAKERS = ("ann", "bob", "cy", "dee", "eve")
SPLIT_OF = {"ann": "train", "bob": "train", "cy": "train", "dee": "valid", "eve": "test"}
MINUTES = {"train": 0.6, "valid": 0.15, "test": 0.2}
SMALL = [f"--{split}-minutes={minutes}" for split, minutes in MINUTES.items()]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 recordings, `pitch(speaker, digit, index)` Hz each, of different lengths."""
    folder = tmp_path_factory.mktemp("recordings")
    for number, (speaker, digit, index) in enumerate(recordings()):
        samples = tone(pitch_of(number), 0.2 + 0.001 * number)
        soundfile.write(folder / f"{digit}_{speaker}_{index}.wav", samples, 8000)
    (folder / "README.md").write_text("not audio, and no error")
    return folder


def recordings() -> list[tuple[str, int, int]]:
    return [(s, d, i) for s in SPEAKERS for d in range(10) for i in range(2)]


def fsdd(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def fsdd_ok(*arguments: object) -> None:
    done = fsdd(*arguments)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def dest(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fsdd") / "not" / "there" / "yet"
    fsdd_ok(source, folder, *SMALL)
    return folder


def test_each_utterance_is_what_its_transcript_says(dest: Path) -> None:
    known = recordings()
    header, *rows = (dest / "speakers.tsv").read_text().splitlines()
    assert header == "path\tspeaker"
    speaker_of = dict(row.split("\t") for row in rows)
    for split, minutes in MINUTES.items():
        utterances = read_split(dest, split)
        for path, frames, words, letters in utterances:
            info = soundfile.info(path)
            assert (info.format, info.subtype, info.channels) == ("FLAC", "PCM_16", 1)
            assert len(soundfile.read(path)[0]) == frames
            numbers, lengths, pauses = listen(path)
            assert 3 <= len(numbers) <= 7
            assert words == " ".join(WORDS[known[number][1]] for number in numbers)
            assert letters == " ".join(words.replace(" ", "|")) + " |"
            speakers = {known[number][0] for number in numbers}
            assert len(speakers) == 1
            speaker = speakers.pop()
            assert SPLIT_OF[speaker] == split
            assert speaker_of[f"{split}/{path.name}"] == speaker
            for number, length in zip(numbers, lengths):
                assert length == pytest.approx(2 * int((0.2 + 0.001 * number) * 8000), abs=60)
            assert all(0.05 * 16000 - 60 <= pause <= 0.2 * 16000 + 60 for pause in pauses)
        total = sum(frames for _, frames, _, _ in utterances) / 16000 / 60
        longest = max(frames for _, frames, _, _ in utterances) / 16000 / 60
        assert minutes <= total < minutes + longest
    assert sorted(path.name for path in dest.iterdir()) == sorted(
        ["audio", "dict.ltr.txt", "speakers.tsv"]
        + [f"{s}.{e}" for s in MINUTES for e in ("ltr", "tsv", "wrd")]
    )


def test_recordings_are_used_evenly(source: Path, tmp_path: Path) -> None:
    fsdd_ok(source, tmp_path, *SMALL, "--train-minutes=1.5")
    heard = Counter()
    for path, *_ in read_split(tmp_path, "train"):
        heard.update(listen(path)[0])
    uses = {speaker: [heard[20 * n + i] for i in range(20)] for n, speaker in enumerate(SPEAKERS)}
    assert all(min(uses[s]) >= 1 and max(uses[s]) - min(uses[s]) <= 1 for s in SPEAKERS[:3])
    totals = [sum(uses[s]) for s in SPEAKERS[:3]]
    assert max(totals) - min(totals) <= 7


def test_letter_dictionary_counts_the_training_transcripts(dest: Path) -> None:
    letters = Counter(" ".join(u[3] for u in read_split(dest, "train")).split())
    expected = sorted(letters.items(), key=lambda item: (-item[1], item[0]))
    lines = (dest / "dict.ltr.txt").read_text().splitlines()
    assert lines == [f"{symbol} {count}" for symbol, count in expected]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_same_seed_same_bytes_whatever_the_jobs(source: Path, tmp_path: Path) -> None:
    fsdd_ok(source, tmp_path, *SMALL, "--jobs=1")
    first = contents(tmp_path)
    fsdd_ok(source, tmp_path, *SMALL, "--jobs=2")
    assert contents(tmp_path) == first
    fsdd_ok(source, tmp_path, *SMALL, "--seed=2")
    assert all(contents(tmp_path)[name] != first[name] for name in ("train.wrd", "test.wrd"))


def test_speakers_and_lengths_are_options(source: Path, tmp_path: Path) -> None:
    options = ["--test-speakers=bob,ann", "--valid-speakers=eve", "--min-digits=2"]
    fsdd_ok(source, tmp_path, *SMALL, *options, "--max-digits=2")
    heard = {}
    for split in MINUTES:
        utterances = read_split(tmp_path, split)
        assert {len(words.split()) for _, _, words, _ in utterances} == {2}
        heard[split] = {path.name.split("_")[0] for path, *_ in utterances}
    assert heard == {"train": {"cy", "dee"}, "valid": {"eve"}, "test": {"ann", "bob"}}


BAD_OPTIONS = {
    "unknown test speaker": (
        ["--test-speakers=zoe"],
        "--test-speakers: 'zoe', expected one of ann",
    ),
    "unknown valid speaker": (["--valid-speakers=ann,"], "'ann,', expected names separated by"),
    "speaker twice": (
        ["--test-speakers=ann", "--valid-speakers=ann"],
        "ann is also in --test-speakers",
    ),
    "none to train": (
        ["--test-speakers=ann,bob,cy,dee"],
        "leave too few speakers, expected one or",
    ),
    "no minutes": (["--train-minutes=0"], "--train-minutes: '0', expected a number greater than 0"),
    "endless": (["--test-minutes=inf"], "--test-minutes: 'inf', expected a number greater than 0"),
    "minutes not a number": (["--valid-minutes=ten"], "'ten', expected a number greater than 0"),
    "jobs": (["--jobs=0"], "--jobs: '0', expected a whole number greater than 0"),
    "digits": (["--min-digits=8"], "--min-digits: 8, expected no more than --max-digits 7"),
    "part of a digit": (["--max-digits=2.5"], "'2.5', expected a whole number greater than 0"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options(case: str, source: Path, tmp_path: Path) -> None:
    options, message = BAD_OPTIONS[case]
    expect_refusal(message, source, tmp_path / "dest", *options)


def expect_refusal(message: str, source: Path, dest: Path, *options: str) -> None:
    done = fsdd(source, dest, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not dest.exists()


BAD_FILES = {
    "name": ("seven_ann_0.wav", tone(440, 0.2), 8000, "expected a name like 7_theo_12.wav"),
    "stereo": ("7_ann_9.wav", np.stack([tone(440, 0.2)] * 2, 1), 8000, "2 channels, expected 1"),
    "empty": ("7_ann_9.wav", np.zeros(0), 8000, "0 samples, expected at least one"),
    "rate": ("7_ann_9.wav", tone(440, 0.2), 16000, "16000 Hz, expected 8000 Hz"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_recordings(case: str, tmp_path: Path) -> None:
    name, samples, rate, message = BAD_FILES[case]
    source = tmp_path / "recordings"
    source.mkdir()
    soundfile.write(source / name, samples, rate)
    expect_refusal(f"{source / name}: {message}", source, tmp_path / "dest")


def test_bad_folders(tmp_path: Path) -> None:
    source = tmp_path / "recordings"
    dest = tmp_path / "dest"
    expect_refusal(f"SOURCE: {source} is not a folder", source, dest)
    source.mkdir()
    expect_refusal(f"SOURCE: found no .wav file in {source}", source, dest)
    for speaker in ("ann", "bob"):
        soundfile.write(source / f"0_{speaker}_0.wav", tone(440, 0.2), 8000)
    expect_refusal("SOURCE: 2 speakers (ann, bob), expected 3 or more", source, dest)
    (source / "0_cy_0.wav").write_bytes(b"RIFF, and then nothing of the kind")
    expect_refusal(f"{source / '0_cy_0.wav'}: expected audio", source, dest)
    (source / "0_cy_0.wav").write_bytes(b"")
    expect_refusal(f"{source / '0_cy_0.wav'}: expected audio", source, dest)


def test_dest_that_is_a_file(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.write_text("mine")
    done = fsdd(source, dest)
    assert (done.returncode, dest.read_text()) == (2, "mine")
    assert str(dest) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not REAL.is_dir(), reason="the real recordings are not beside this checkout")
def test_real_recordings(tmp_path: Path) -> None:
    fsdd_ok(REAL, tmp_path, "--jobs=2")
    speakers = {}
    for split, minutes in {"train": 10, "valid": 2, "test": 3}.items():
        utterances = read_split(tmp_path, split)
        for path, frames, words, letters in utterances:
            samples, rate = soundfile.read(path)
            assert (rate, len(samples)) == (16000, frames)
            assert 3 <= len(words.split()) <= 7
            assert letters == " ".join(words.replace(" ", "|")) + " |"
            assert np.abs(samples).max() > 0.005
        assert sum(frames for _, frames, _, _ in utterances) >= minutes * 60 * 16000
        speakers[split] = {path.name.split("_")[0] for path, *_ in utterances}
        spoken = Counter(" ".join(words for _, _, words, _ in utterances).split())
        assert set(spoken) == set(WORDS)
    assert speakers == {
        "train": {"george", "jackson", "lucas"},
        "valid": {"theo"},
        "test": {"yweweler"},
    }


def write_recordings(folder: Path, speakers: tuple[str, ...]) -> Path:
    folder.mkdir(parents=True)
    for speaker in speakers:
        for digit in range(3):
            soundfile.write(folder / f"{digit}_{speaker}_0.wav", tone(300, 0.3), 8000)
    return folder


def test_speakers_are_those_of_the_study_unless_others_are_named(tmp_path: Path) -> None:
    """A clone of today has a sixth speaker."""
    clone = tmp_path / "clone"
    write_recordings(clone / "recordings", (*STUDIED, "nicolas"))
    done = fsdd(clone, tmp_path / "five", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "speakers left out: nicolas (--speakers all takes all)" in done.stdout
    assert "recordings: not those of v1.0.10, so results differ from docs/results.md" in done.stdout
    assert "speakers george, jackson, lucas" in done.stdout
    assert (
        "speakers george, jackson, lucas, nicolas"
        in fsdd(clone, tmp_path / "six", *SMALL, "--speakers=all").stdout
    )
    three = fsdd(clone, tmp_path / "three", *SMALL, "--speakers=theo,nicolas,lucas").stdout
    assert "test: " in three and "speakers theo" in three
    expect_refusal(
        "--speakers: found no recordings of zoe in", clone, tmp_path / "none", "--speakers=zoe"
    )


@pytest.mark.skipif(not REAL.is_dir(), reason="the real recordings are not beside this checkout")
def test_the_recordings_of_the_study_are_known(tmp_path: Path) -> None:
    done = fsdd(REAL, tmp_path, *SMALL)
    assert "not those of" not in done.stdout


def test_no_audio_of_a_longer_run_is_left(source: Path, tmp_path: Path) -> None:
    for minutes in (0.4, 0.1):
        fsdd_ok(source, tmp_path, *SMALL[1:], f"--train-minutes={minutes}")
    for split in MINUTES:
        listed = {path for path, *_ in read_split(tmp_path, split)}
        assert set((tmp_path / "audio" / split).iterdir()) == listed
