"""manifests/check.py: a good folder passes, and each kind of damage is found and named."""

import re
import shutil
import sys
from pathlib import Path
from typing import Callable, Tuple

import numpy as np
import pytest
import soundfile

pytest.importorskip("soxr", reason="the [data] extra is not installed")

from corpora import MANIFESTS, noise, prepare
from languages import SENTENCES, write_language

sys.path.insert(0, str(MANIFESTS))

import check

REAL = MANIFESTS.parents[1] / "shared" / "data" / "fsdd" / "recordings"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Spanish of languages.py: 4 utterances to train on, 1 each in valid and test."""
    return write_language(tmp_path_factory.mktemp("good") / "año nuevo", SENTENCES["es"])


@pytest.fixture
def data(good: Path, tmp_path: Path) -> Path:
    """A copy of the good folder, whose manifests name the copied audio."""
    folder = Path(shutil.copytree(good, tmp_path / good.name))
    for tsv in (folder / f"{split}.tsv" for split in SENTENCES["es"]):
        tsv.write_text(tsv.read_text("utf-8").replace(str(good), str(folder)), "utf-8")
    return folder


def run(capsys: pytest.CaptureFixture, *arguments: object) -> Tuple[int, str]:
    """Exit status of check.py in this process, and what it prints."""
    try:
        check.main([*map(str, arguments)])
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return status, printed.out if status < 2 else printed.err


GOOD = """\
split    utterances    hours    speakers    words    ltr    phn    min s    median s    max s
-------  ------------  -------  ----------  -------  -----  -----  -------  ----------  -------
train    4             0.00     1           5        10     9      0.4      0.4         0.5
valid    1             0.00     1           2        6      5      0.4      0.4         0.4
test     1             0.00     1           3        8      7      0.4      0.4         0.4

warning: symbols never trained (2)
  dict.ltr.txt: 'u': never in training
  dict.phn.txt: 'u': never in training

DATA: 0 problems, 2 warnings
"""


def test_a_good_folder_is_told_whole(good: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(capsys, good, "--jobs=2") == (0, GOOD.replace("DATA", str(good)))


def test_mini_corpus_is_good(tmp_path: Path) -> None:
    assert prepare("mini.py", MANIFESTS / "mini", tmp_path / "mini").returncode == 0
    done = prepare("check.py", tmp_path / "mini")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^train +305 +0\.33 ", done.stdout, re.MULTILINE)
    assert ": 0 problems, " in done.stdout


@pytest.mark.skipif(not REAL.is_dir(), reason="the real recordings are not beside this checkout")
def test_digit_strings_are_good(tmp_path: Path) -> None:
    assert prepare("fsdd.py", REAL, tmp_path / "fsdd", "--train-minutes=1").returncode == 0
    done = prepare("check.py", tmp_path / "fsdd")
    assert done.returncode == 0, done.stdout
    assert ": 0 problems, " in done.stdout


def rewrite(name: str, before: str, after: str) -> Callable[[Path], None]:
    def damage(data: Path) -> None:
        text = (data / name).read_text("utf-8")
        assert before in text
        (data / name).write_text(text.replace(before, after, 1), "utf-8")

    return damage


def audio(data: Path, split: str = "train", number: int = 1) -> Path:
    return data / "audio" / split / f"né {number}.flac"


def cut_short(data: Path) -> None:
    audio(data).write_bytes(audio(data).read_bytes()[:-2000])


def copied(to: str) -> Callable[[Path], object]:
    """The first utterance's samples, in another file."""
    return lambda data: shutil.copy(audio(data, "train", 0), data / "audio" / to)


PROBLEMS = {
    "audio missing": (
        lambda data: audio(data).unlink(),
        "audio",
        "train.tsv, line 3: train/né 1.flac: not found",
    ),
    "audio empty": (
        lambda data: audio(data).write_bytes(b""),
        "audio",
        "train.tsv, line 3: train/né 1.flac: 0 bytes, expected audio",
    ),
    "audio cut short": (
        cut_short,
        "audio",
        "train.tsv, line 3: train/né 1.flac: expected audio, found what does not decode",
    ),
    "no audio": (
        lambda data: audio(data).write_text("not audio"),
        "audio",
        "train.tsv, line 3: train/né 1.flac: expected audio, found what does not decode",
    ),
    "a folder for audio": (
        lambda data: (audio(data).unlink(), audio(data).mkdir()),
        "audio",
        "train.tsv, line 3: train/né 1.flac: ",
    ),
    "a file for a folder": (
        lambda data: (shutil.rmtree(data / "audio/valid"), (data / "audio/valid").write_text("")),
        "audio",
        "valid.tsv, line 2: valid/né 0.flac: cannot be read: Not a directory",
    ),
    "48 kHz": (
        lambda data: soundfile.write(audio(data), noise(6720), 48000),
        "audio",
        "train.tsv, line 3: train/né 1.flac: 48000 Hz, expected 16000 Hz",
    ),
    "8 kHz": (
        lambda data: soundfile.write(audio(data), noise(6720), 8000),
        "audio",
        "train.tsv, line 3: train/né 1.flac: 8000 Hz, expected 16000 Hz",
    ),
    "stereo": (
        lambda data: soundfile.write(audio(data), noise(6720, channels=2), 16000),
        "audio",
        "train.tsv, line 3: train/né 1.flac: 2 channels, expected 1",
    ),
    "another length": (
        lambda data: soundfile.write(audio(data), noise(6721), 16000),
        "audio",
        "train.tsv, line 3: train/né 1.flac: 6721 samples, expected 6720 as the manifest says",
    ),
    "one sample": (
        lambda data: soundfile.write(audio(data), noise(1), 16000),
        "audio",
        "train.tsv, line 3: train/né 1.flac: 1 samples, expected 6720 as the manifest says",
    ),
    "too short for the encoder": (
        lambda data: [
            soundfile.write(audio(data), noise(399), 16000),
            rewrite("train.tsv", "6720", "399")(data),
        ],
        "audio",
        "né 1.flac: 399 samples, expected 400 or more for one frame of the encoder",
    ),
    "no split to validate on": (
        lambda data: [path.unlink() for path in data.glob("valid.*")],
        "splits",
        "train, test: no split to validate on, expected valid.tsv",
    ),
    "no end of a word": (
        lambda data: [
            path.write_text(path.read_text("utf-8").replace("|", ""), "utf-8")
            for path in data.glob("train.ltr")
        ],
        "labels",
        "train.ltr, line 1: no '|' in this or any other line, expected one after each word",
    ),
    "no end of a word, and no words": (
        lambda data: [
            (data / "test.ltr").write_text("s í u n a ñ o\n", "utf-8"),
            (data / "test.wrd").unlink(),
        ],
        "labels",
        "test.ltr, line 1: no '|' in this or any other line, expected one after each word",
    ),
    "a symbol that is fairseq's own": (
        lambda data: (data / "dict.ltr.txt").write_text(
            (data / "dict.ltr.txt").read_text("utf-8") + "<pad> 0\n", "utf-8"
        ),
        "dictionary",
        "'<pad>', which fairseq adds by itself, expected a file without it",
    ),
    "a byte order mark in labels": (
        rewrite("train.ltr", "e l |", "\ufeffe l |"),
        "text",
        "train.ltr, line 1: begins with a byte order mark (BOM), expected UTF-8 without",
    ),
    "no root": (
        rewrite("train.tsv", "año nuevo", "año viejo"),
        "manifest",
        "año viejo/audio', expected the folder of the audio",
    ),
    "no utterances": (
        lambda data: [(data / f"valid.{end}").write_text("/\n" * (end == "tsv")) for end in ENDS],
        "manifest",
        "valid.tsv: no utterances, expected at least one",
    ),
    "an empty manifest": (
        lambda data: (data / "valid.tsv").write_text(""),
        "manifest",
        "valid.tsv, line 1: '', expected the folder of the audio",
    ),
    "a byte order mark": (
        lambda data: rewrite("train.tsv", str(data), f"\ufeff{data}")(data),
        "text",
        "train.tsv, line 1: begins with a byte order mark (BOM), expected UTF-8 without",
    ),
    "no length": (
        rewrite("train.tsv", "né 2.flac\t7040", "né 2.flac"),
        "manifest",
        "train.tsv, line 4: 'train/né 2.flac', expected a path, a tab, and the number of samples",
    ),
    "a file twice": (
        rewrite("train.tsv", "né 3.flac\t7360", "né 0.flac\t6400"),
        "file twice in a split",
        "train.tsv, line 5: 'train/né 0.flac' is also in line 2, expected it once",
    ),
    "labels of fewer lines": (
        rewrite("train.ltr", "n o |\n", ""),
        "labels",
        "train.ltr: 3 lines, expected 4 as in train.tsv",
    ),
    "labels of more lines": (
        rewrite("test.phn", "\n", "\na\n"),
        "labels",
        "test.phn: 2 lines, expected 1 as in test.tsv",
    ),
    # fairseq reads on at a lone carriage return.
    "a carriage return": (
        rewrite("test.wrd", "sí un", "sí\run"),
        "labels",
        "test.wrd: 2 lines, expected 1 as in test.tsv",
    ),
    "an empty line": (
        rewrite("train.phn", "s í\n", " \n"),
        "labels",
        "train.phn, line 2: an empty line, expected labels",
    ),
    "other letters": (
        rewrite("train.ltr", "s í |", "s i |"),
        "spelling",
        "train.ltr, line 2: spells 'si', expected 'sí' as in train.wrd",
    ),
    "words run together": (
        rewrite("train.ltr", "e l | a ñ o |", "e l a ñ o |"),
        "spelling",
        "train.ltr, line 4: spells 'elaño', expected 'el año' as in train.wrd",
    ),
    "a symbol that the dictionary lacks": (
        rewrite("dict.ltr.txt", "í 1\n", ""),
        "symbols",
        "train.ltr, line 2: 'í', expected one of the 10 of dict.ltr.txt",
    ),
    "no dictionary": (
        lambda data: (data / "dict.phn.txt").unlink(),
        "dictionary",
        "dict.phn.txt: not found, expected the symbols of the .phn files",
    ),
    "a dictionary without counts": (
        rewrite("dict.phn.txt", "í 1", "í"),
        "dictionary",
        "line 9: 'í', expected a symbol, a space, and its count",
    ),
    "a dictionary with a symbol twice": (
        rewrite("dict.phn.txt", "í 1", "o 1"),
        "dictionary",
        "'o' again, expected it once",
    ),
    "no labels of a split": (
        lambda data: (data / "valid.phn").unlink(),
        "labels",
        "valid.phn: not found, expected it as in other splits",
    ),
    "no labels": (
        lambda data: [path.unlink() for path in data.iterdir() if path.suffix in (".ltr", ".phn")],
        "labels",
        "nuevo: none, expected .ltr, .phn or .spm files",
    ),
    "not UTF-8": (
        lambda data: (data / "train.wrd").write_bytes("el\nsí\nno\nel\n".encode("latin-1")),
        "text",
        "train.wrd, line 2: b'\\xed', expected UTF-8",
    ),
    "a table that is none": (
        lambda data: (data / "speakers.tsv").write_text("x\n"),
        "speakers",
        "speakers.tsv, line 1: 'x', expected 'path\\tspeaker'",
    ),
    "a file without speaker": (
        rewrite("speakers.tsv", "\tspeaker of test", ""),
        "speakers",
        "speakers.tsv, line 7: 'test/né 0.flac', expected a path, a tab, a speaker",
    ),
    "a speaker of two splits": (
        rewrite("speakers.tsv", "speaker of test", "speaker of train"),
        "speaker in two splits",
        "test.tsv, line 2: 'speaker of train' also speaks in train.tsv, line 2",
    ),
    "a speaker by LibriSpeech's names": (
        lambda data: librispeech_names(data, "84-121123-0000", "84-121550-0007"),
        "speaker in two splits",
        "test.tsv, line 2: '84' also speaks in train.tsv, line 2",
    ),
    "the same audio in two splits": (
        copied("test/né 0.flac"),
        "audio in two splits",
        "test.tsv, line 2: test/né 0.flac: the audio of train.tsv, line 2",
    ),
}
ENDS = ("tsv", "ltr", "phn", "wrd")


def librispeech_names(data: Path, train: str, test: str) -> None:
    (data / "speakers.tsv").unlink()
    for split, name in (("train", train), ("test", test)):
        audio(data, split, 0).rename(data / "audio" / split / f"{name}.flac")
        rewrite(f"{split}.tsv", f"{split}/né 0", f"{split}/{name}")(data)


@pytest.mark.parametrize("case", PROBLEMS)
def test_damage_is_a_problem(case: str, data: Path, capsys: pytest.CaptureFixture) -> None:
    damage, kind, message = PROBLEMS[case]
    damage(data)
    status, printed = run(capsys, data)
    assert status == 1
    section = re.search(rf"^problem: {kind} \(\d+\)\n((?:  .*\n)+)", printed, re.MULTILINE)
    assert section, printed
    assert message in section[1]


def test_languages_without_spaces_need_no_ends_of_words(tmp_path: Path, capsys) -> None:
    data = write_language(tmp_path / "zh", {s: ["你好", "好"] for s in ("train", "valid", "test")})
    for ltr in data.glob("*.ltr"):
        ltr.write_text(ltr.read_text("utf-8").replace("|", ""), "utf-8")
    assert run(capsys, data)[0] == 0
    for wrd in data.glob("*.wrd"):
        wrd.unlink()
    assert run(capsys, data)[0] == 0


WARNINGS = {
    "silence": (
        lambda data: soundfile.write(audio(data), np.zeros(6720), 16000),
        "silent audio",
        "train.tsv, line 3: train/né 1.flac: all samples have the same value",
    ),
    "a twentieth of a second": (
        lambda data: [
            soundfile.write(audio(data), noise(800), 16000),
            rewrite("train.tsv", "6720", "800")(data),
        ],
        "unusual length",
        "train.tsv, line 3: train/né 1.flac: 0.050 s, expected 0.1 to 60.0 s",
    ),
    "nothing to train on": (
        lambda data: [path.unlink() for path in data.glob("train.*")],
        "splits",
        "valid, test: no training split, for evaluation alone",
    ),
    "the same audio twice": (
        lambda data: (copied("train/né 3.flac")(data), rewrite("train.tsv", "7360", "6400")(data)),
        "audio twice in a split",
        "train.tsv, line 5: train/né 3.flac: the audio of train.tsv, line 2",
    ),
    "sentences in two splits": (
        lambda data: [
            rewrite("test.wrd", "sí un año", "no")(data),
            rewrite("test.ltr", "s í | u n | a ñ o |", "n o |")(data),
        ],
        "sentences in two splits",
        "test.tsv, line 2: 1 of 1 (100.0%) are also in train, the first at train.tsv, line 4",
    ),
    "labels too many for the audio": (
        lambda data: rewrite("train.phn", "s í", " ".join("o" * 11))(data),
        "too many labels",
        "train.phn, line 2: 20 frames of the encoder, expected 21 or more for CTC",
    ),
    "speakers not known": (
        rewrite("speakers.tsv", "valid/né 0.flac", "valid/né.flac"),
        "speakers not known",
        "valid.tsv: of 1 in 1 files, so their leaks cannot be seen",
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_a_warning_does_not_keep_from_training(
    case: str, data: Path, capsys: pytest.CaptureFixture
) -> None:
    damage, kind, message = WARNINGS[case]
    damage(data)
    status, printed = run(capsys, data)
    assert status == 0, printed
    section = re.search(rf"^warning: {kind} \(\d+\)\n((?:  .*\n)+)", printed, re.MULTILINE)
    assert section, printed
    assert message in section[1]


def test_labels_that_just_fit_are_no_warning(data: Path, capsys: pytest.CaptureFixture) -> None:
    rewrite("train.phn", "s í", "n " + " ".join("o" * 10))(data)
    assert "too many labels" not in run(capsys, data)[1]


def test_many_findings_of_a_kind_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = write_language(tmp_path, {"train": [f"no{'o' * n}" for n in range(8)]})
    shutil.rmtree(data / "audio" / "train")
    (data / "audio" / "train").mkdir()
    status, printed = run(capsys, data)
    assert status == 1
    assert "problem: audio (8)\n  train.tsv, line 2: " in printed
    assert "\n  train.tsv, line 6: train/né 4.flac: not found\n  ... and 3 more\n" in printed


def test_parts_are_no_leaks_and_a_copy_is(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture
) -> None:
    other = write_language(tmp_path / "fr", SENTENCES["fr"], seed=1)
    assert prepare("joint.py", data, other, tmp_path / "all").returncode == 2  # named "año nuevo"
    assert prepare("joint.py", f"es={data}", other, tmp_path / "all").returncode == 0
    assert run(capsys, tmp_path / "all")[0] == 0
    for end in ENDS:
        shutil.copy(data / f"train.{end}", data / f"train_es.{end}")
        shutil.copy(data / f"train.{end}", data / f"valid.{end}")
    status, printed = run(capsys, data)
    assert status == 1
    assert "problem: audio in two splits (4)\n  valid.tsv, line 2: train/né 0.flac" in printed
    assert "train_es.tsv, line" not in printed
    for end in ENDS:
        shutil.copy(data / f"test.{end}", data / f"train_es.{end}")
    status, printed = run(capsys, data)
    assert "test.tsv, line 2: test/né 0.flac: the audio of train_es.tsv, line 2\n" in printed


def nothing(data: Path) -> None:
    """No damage."""


USAGE = {
    "no folder": (nothing, ["xx"], "xx: not found, expected a folder of manifests"),
    "no manifest": (nothing, ["audio"], "audio: found no manifest, expected train.tsv and others"),
    "jobs": (nothing, [".", "--jobs=0"], "--jobs: '0', expected a whole number greater than 0"),
    "form of the picture": (
        nothing,
        [".", "--plot=x.txt"],
        "--plot: x.txt, expected a name that ends in .png, .pdf, .svg",
    ),
    "place of the picture": (
        nothing,
        [".", "--plot=no/x.png"],
        "--plot: no/x.png, expected a file in a folder that exists",
    ),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_use(
    case: str, data: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    damage, (folder, *options), message = USAGE[case]
    damage(data)
    before = sorted(data.rglob("*"))
    status, error = run(capsys, folder, *options)
    assert status == 2
    assert message in error
    assert sorted(data.rglob("*")) == before


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_picture_is_drawn(
    suffix: str, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    matplotlib_image = pytest.importorskip("matplotlib.image")
    picture = tmp_path / f"año.{suffix}"
    assert run(capsys, good, f"--plot={picture}")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == [picture.name]
    if suffix == "png":
        pixels = matplotlib_image.imread(picture)
        assert pixels.shape[1] == 1350
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 50
