"""Promise 10 for CommonVoice: what is wrong with a clip stands in skipped.tsv, the rest is used;
what is wrong with a table or an option ends the run before a manifest is written."""
# ruff: noqa: RUF001  (letters that look alike are what this is about)

import shutil
import sys
from pathlib import Path
from typing import Dict

import pytest

pytest.importorskip("soxr", reason="the [data] extra is not installed")

import numpy as np
import soundfile
from commonvoice_tree import COLUMNS, commonvoice, row, texts, write_clip, write_release
from corpora import MANIFESTS

sys.path.insert(0, str(MANIFESTS))

import commonvoice as command
from corpus import commonvoice_release


def french(clip: str, sentence: str = "Bonjour", speaker: str = "anne") -> Dict[str, str]:
    return row(speaker, f"{clip}.mp3", sentence, "fr")


SENTENCES = {
    "ok spaces in the name": "Bonjour",
    "ok été": "Été",
    "ok composed": "d\u00e9j\u00e0",
    "ok decomposed": "de\u0301ja\u0300",
    "ok quotation": '"Bonjour"',
    "bad empty": "",
    "bad blank": "   ",
    "bad punctuation": "… !",
    "bad digits": "le 14 juillet",
    "bad emoji": "bonjour 😀",
    "bad right to left": "\u202bשלום\u202c",
    "bad symbol": "50 €",
    "bad alphabet": "bonjоur",  # the second o is Cyrillic
    "bad mark": "x\u0301",
    "bad bar": "oui|non",
}
AUDIO = {  # and what the reason tells
    "cut": "samples decode",
    "empty": "0 bytes",
    "text": "does not decode",
    "rate lies": "bytes are left",
    "length lies": "bytes are left",
    "one sample": "1 samples",
    "long": "2400.000 s",
    "8 kHz": "8000 Hz",
    "gone": "not found",
}


def spoil(clips: Path) -> None:
    """The clips named in AUDIO become what their names say."""
    good = (clips / "cut.mp3").read_bytes()
    (clips / "cut.mp3").write_bytes(good[: len(good) // 2])
    (clips / "empty.mp3").write_bytes(b"")
    (clips / "text.mp3").write_text("not found\n" * 100)
    header = good[:4]  # of the first frame; bits 2 and 3 of its third byte are the rate
    lying = bytes([header[2] & 0b11110011])
    (clips / "rate lies.mp3").write_bytes(good[:2] + lying + good[3:])
    (clips / "length lies.mp3").write_bytes(good * 20)
    write_clip(clips / "one sample.mp3", 1 / 48_000)
    soundfile.write(clips / "long.mp3", np.zeros(40 * 60 * 16_000), 16_000, format="MP3")
    write_clip(clips / "8 kHz.mp3", 0.5, rate=8_000)
    (clips / "gone.mp3").unlink()
    write_clip(clips / "stereo.mp3", 0.5, channels=2)


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with every kind of bad clip and bad row."""
    source = tmp_path_factory.mktemp("messy")
    train = [french(clip, sentence) for clip, sentence in SENTENCES.items()]
    train += [french(clip) for clip in [*AUDIO, "stereo", "twice"]]
    other = [french("valid", speaker="basile")]
    folder = write_release(
        source, "fr", {"train": train, "dev": other, "test": [french("test", speaker="chloé")]}
    )
    spoil(folder / "clips")

    def line(clip: str, sentence: str = "Bonjour", speaker: str = "anne", locale: str = "fr"):
        values = {**french(clip, sentence, speaker), "locale": locale}
        return "\t".join(values.get(column, "") for column in COLUMNS)

    lines = (folder / "train.tsv").read_text("utf-8").splitlines()
    lines += [
        line("twice", "Bonsoir"),
        line("test"),
        line("tab", "bon\tjour"),
        *line("break", "bon\njour").splitlines(),
        line("", "Bonjour").replace(".mp3", ""),
        line("../clips/cut"),
        line("two\u2028lines"),
        line("nobody", speaker=""),
        line("elsewhere", locale="de"),
    ]
    (folder / "train.tsv").write_text("".join(f"{text}\n" for text in lines), "utf-8")
    return source


SKIPPED = """\
clip\treason
twice.mp3\tagain in train, first in train
test.mp3\tagain in train, first in test
train.tsv, line 30\t11 columns, expected 10
train.tsv, line 31\t3 columns, expected 10
train.tsv, line 32\t8 columns, expected 10
train.tsv, line 33\tno path
train.tsv, line 34\tpath '../clips/cut.mp3', expected a file name
train.tsv, line 35\tpath 'two\\u2028lines.mp3', expected a file name
nobody.mp3\tno client_id
elsewhere.mp3\tlocale 'de', expected 'fr'
bad empty.mp3\tno words
bad blank.mp3\tno words
bad punctuation.mp3\tno words
bad digits.mp3\t'1', DIGIT ONE, is no letter of the language
bad emoji.mp3\t'😀', GRINNING FACE, is no letter of the language
bad right to left.mp3\t'ש', HEBREW LETTER SHIN, is no letter of the language
bad symbol.mp3\t'5', DIGIT FIVE, is no letter of the language
bad alphabet.mp3\t'о', CYRILLIC SMALL LETTER O, is no letter of the language
bad mark.mp3\t'\u0301', COMBINING ACUTE ACCENT, is no letter of the language
bad bar.mp3\t'|', VERTICAL LINE, is no letter of the language
"""


def test_each_has_its_reason_and_the_rest_is_used(messy: Path, tmp_path: Path) -> None:
    done = commonvoice(messy, tmp_path, "--lang=fr", "--max-skipped=0.9")
    assert done.returncode == 0, done.stderr
    written = texts(tmp_path)
    assert written["skipped.tsv"].startswith(SKIPPED)
    bad_audio = written["skipped.tsv"].removeprefix(SKIPPED).splitlines()
    for line, (clip, reason) in zip(bad_audio, AUDIO.items(), strict=True):
        assert line.startswith(f"{clip}.mp3\t")
        assert reason in line
    assert written["train.tsv"].splitlines() == [
        str(tmp_path / "audio"),
        "ok spaces in the name.flac\t9440",
        "ok été.flac\t9600",
        "ok composed.flac\t8960",
        "ok decomposed.flac\t9120",
        "ok quotation.flac\t9280",
        "stereo.flac\t8000",
        "twice.flac\t10560",
    ]
    assert written["train.wrd"] == "bonjour\nété\ndéjà\ndéjà\nbonjour\nbonjour\nbonjour\n"
    assert len(list((tmp_path / "audio").iterdir())) == 9


def test_too_much_is_skipped(messy: Path, tmp_path: Path) -> None:
    done = commonvoice(messy, tmp_path, "--lang=fr", "--max-skipped=0.7")
    assert done.returncode == 2
    assert f"{tmp_path / 'skipped.tsv'}: 29 of 36 clips of train" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"audio", "skipped.tsv"}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The folder of a language with a clip in each split."""
    tables = {name: [french(name, speaker=name)] for name in ("train", "dev", "test")}
    validated = [row for rows in tables.values() for row in rows]
    return write_release(tmp_path / "cv", "fr", {**tables, "validated": validated})


def assert_refused(message: str, folder: Path, *options: str) -> None:
    dest = folder.parents[1] / "dest"
    done = commonvoice(folder, dest, "--lang=fr", *options)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not dest.exists()


def test_tables(small: Path) -> None:
    table = small / "dev.tsv"
    good = table.read_bytes()
    table.write_bytes(good.replace(b"Bonjour", "café".encode("latin-1")))
    assert_refused(f"{table}, line 2: b'\\xe9', expected UTF-8", small)
    table.write_bytes(good.decode().encode("utf-16"))
    assert_refused(f"{table}, line 1: b'\\xff', expected UTF-8", small)
    table.write_bytes(good.replace(b"client_id", b"speaker").replace(b"path", b"file"))
    assert_refused(f"{table}, line 1: columns speaker, file, sentence", small)
    table.write_bytes(b"")
    assert_refused("expected client_id, path, sentence among them", small)
    table.unlink()
    delta = f"{small}: found no dev.tsv, as in a delta release, expected them; --train-minutes M"
    assert_refused(delta, small)


OPTIONS = {
    "lexicon without phones": (["--lexicon=x"], "--lexicon: --labels is ltr, expected phn"),
    "size without units": (["--vocab-size=9"], "--vocab-size: --labels is ltr, expected spm"),
    "one list": (["--test-list=x"], "--test-list: found no list for the other splits"),
    "subset by lists": (
        ["--train-list=x", "--valid-list=x", "--test-list=x", "--train-minutes=1"],
        "--train-minutes: --train-list is given too, expected one of them",
    ),
    "list not there": (
        ["--train-list=x", "--valid-list=x", "--test-list=x"],
        "x: not found, expected a text file",
    ),
    "a test of no subset": (["--test-minutes=1"], "--test-minutes: expected --train-minutes"),
    "no minutes": (["--train-minutes=0"], "'0', expected a number greater than 0"),
    "labels": (["--labels=wrd"], "invalid choice: 'wrd'"),
    "no such lexicon": (["--labels=phn", "--lexicon=x"], "x: not found, expected a text file"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options(case: str, small: Path) -> None:
    options, message = OPTIONS[case]
    assert_refused(message, small, *options)


def test_folders(small: Path, tmp_path: Path) -> None:
    message = f"found no clips/ in {tmp_path / 'cv' / 'de'} nor in {tmp_path / 'cv'}"
    done = commonvoice(tmp_path / "cv", tmp_path / "dest", "--lang=de")
    assert (done.returncode, "--lang could be fr there" in done.stderr) == (2, True)
    assert message in done.stderr
    # Another language's folder: every row has the wrong locale.
    done = commonvoice(small, tmp_path / "dest", "--lang=de")
    assert done.returncode == 2
    assert "1 of 1 clips of test" in done.stderr


def test_a_source_one_folder_too_high_or_too_deep(small: Path, tmp_path: Path) -> None:
    for source in (tmp_path, small / "clips"):
        assert commonvoice_release.language_folder(source, "fr") == small
    shutil.copytree(tmp_path / "cv", tmp_path / "cv2")
    with pytest.raises(ValueError, match=r"found fr in .*cv, .*cv2, expected one of them"):
        commonvoice_release.language_folder(tmp_path, "fr")


def in_process(capsys, folder: Path, dest: Path, *options: str) -> str:
    """What the command prints, or its last line of stderr if it fails."""
    try:
        command.main([str(folder), str(dest), "--lang=fr", *options])
        return capsys.readouterr().out
    except SystemExit as ended:
        assert ended.code == 2
        return capsys.readouterr().err.splitlines()[-1]


def test_half_of_a_split_is_missed_whatever_the_others_have(tmp_path: Path, capsys) -> None:
    words = ("un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix")
    train = [french(f"train {word}", word) for word in words * 1]
    test = [french(f"test {word}", word, "basile") for word in words[:2]]
    dev = [french("dev", "bonjour", "chloé")]
    folder = write_release(tmp_path / "cv", "fr", {"train": train, "dev": dev, "test": test})
    (folder / "clips" / "test deux.mp3").unlink()
    printed = in_process(capsys, folder, tmp_path / "dest", "--max-skipped=0.1")
    assert "1 of 2 clips of test (50.0%) are skipped, expected no more than 10.0%" in printed
    assert not list((tmp_path / "dest").glob("*.ltr"))


def test_clips_shorter_than_published_are_skipped(small: Path, tmp_path: Path, capsys) -> None:
    """Cut between two frames, where the file itself does not tell."""
    durations = "clip\tduration[ms]\ndev.mp3\t400\ntest.mp3\t410\ntrain.mp3\t2400\n"
    (small / "clip_durations.tsv").write_text(durations)
    printed = in_process(capsys, small, tmp_path / "dest")
    assert "1 of 1 clips of train" in printed
    reason = "train.mp3\t0.42 s, expected the 2.40 s that the release says"
    assert reason in (tmp_path / "dest" / "skipped.tsv").read_text()
    (small / "clip_durations.tsv").write_text(durations.replace("2400", "420"))
    assert "train: 1 clips" in in_process(capsys, small, tmp_path / "dest")
    (small / "clip_durations.tsv").write_text(durations.replace("2400", "?"))
    wrong = "clip_durations.tsv, line 4: 'train.mp3\\t?', expected a clip and milliseconds"
    assert wrong in in_process(capsys, small, tmp_path / "dest")


def test_a_dest_that_cannot_be_written(small: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.write_text("mine")
    done = commonvoice(small, dest, "--lang=fr")
    assert (done.returncode, dest.read_text()) == (2, "mine")
    assert str(dest) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_subset_longer_than_the_release(small: Path, tmp_path: Path) -> None:
    options = ["--train-minutes=9", "--valid-minutes=0.001", "--test-minutes=0.001"]
    done = commonvoice(small, tmp_path / "dest", "--lang=fr", *options)
    assert done.returncode == 2
    assert "--train-minutes: 9, expected no more than the 0.0 that its speakers" in done.stderr
    assert not list((tmp_path / "dest").glob("*.tsv"))


def test_a_split_of_which_nothing_is_left(small: Path, tmp_path: Path) -> None:
    (small / "clips" / "dev.mp3").write_bytes(b"")
    done = commonvoice(small, tmp_path / "dest", "--lang=fr", "--max-skipped=1")
    assert done.returncode == 2
    assert "no clip of valid can be used, expected one or more; see skipped.tsv" in done.stderr
