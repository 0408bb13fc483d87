"""manifests/arabic_speech_commands.py: strings of Arabic digits, from a clone made small."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from corpora import MANIFESTS, contents

soundfile = pytest.importorskip("soundfile", reason="the [data] extra is not installed")
pytest.importorskip("soxr", reason="the [data] extra is not installed")

from word_strings import listen, pitch_of, read_split, tone  # noqa: E402

sys.path.insert(0, str(MANIFESTS))

import arabic_speech_commands  # noqa: E402

ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ARABIC = ["صفر", "واحد", "اثنان", "ثلاثة", "أربعة", "خمسة", "ستة", "سبعة", "ثمانية", "تسعة"]
TRAIN = ("01", "05")
SPEAKERS = (*TRAIN, *arabic_speech_commands.VALID, *arabic_speech_commands.TEST)
SMALL = ["--train-minutes", 0.5, "--valid-minutes", 0.3, "--test-minutes", 1]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings of each speaker, and a word that is no digit."""
    folder = tmp_path_factory.mktemp("clone")
    for number, (speaker, digit) in enumerate(recordings()):
        path = folder / "dataset" / ENGLISH[digit] / f"000000{speaker}_NO_01.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(pitch_of(number), 0.3, 16000), 16000)
    other = folder / "dataset" / "zoom in"
    other.mkdir()
    soundfile.write(other / "00000001_NO_01.wav", tone(200, 0.3, 16000), 16000)
    return folder


def recordings() -> list[tuple[str, int]]:
    return [(name, (n + k) % 10) for n, name in enumerate(SPEAKERS) for k in range(4)]


def run(*arguments: object) -> None:
    arabic_speech_commands.main([str(argument) for argument in (*arguments, "--jobs", 1)])


def test_strings_say_what_one_speaker_of_the_split_said(clone: Path, tmp_path: Path) -> None:
    run(clone, tmp_path, *SMALL)
    known = recordings()
    speakers = {
        "train": set(TRAIN),
        "valid": set(arabic_speech_commands.VALID),
        "test": set(arabic_speech_commands.TEST),
    }
    rows = (tmp_path / "speakers.tsv").read_text().splitlines()[1:]
    speaker_of = dict(row.split("\t") for row in rows)
    for split, expected in speakers.items():
        heard: Counter[int] = Counter()
        for path, _, words, letters in read_split(tmp_path, split):
            numbers, lengths, _ = listen(path)
            heard.update(numbers)
            assert words == " ".join(ARABIC[known[number][1]] for number in numbers)
            assert letters == " ".join(words.replace(" ", "|")) + " |"
            assert {known[n][0] for n in numbers} == {speaker_of[f"{split}/{path.name}"]}
            assert all(length == pytest.approx(0.3 * 16000, abs=60) for length in lengths)
        assert {known[number][0] for number in heard} == expected
    run(clone / "dataset", tmp_path / "again", *SMALL)
    for name, data in contents(tmp_path / "again").items():
        ours = data.replace(str(tmp_path / "again").encode(), str(tmp_path).encode())
        assert (tmp_path / name).read_bytes() == ours


def test_the_twenty_speakers_of_test_are_in_no_other_split() -> None:
    named = [*arabic_speech_commands.VALID, *arabic_speech_commands.TEST]
    assert len(set(named)) == len(named) == 23
    assert set(named) <= {f"{number:02d}" for number in range(1, 31)}


@pytest.mark.parametrize(
    "name, message",
    [
        ("seven/00000021.wav", "expected a name like 00000021_NO_06.wav (speaker_NO_round)"),
        (None, "SOURCE: found no .wav file in"),
    ],
)
def test_what_is_no_clone_is_refused(tmp_path: Path, capsys, name, message) -> None:
    source = tmp_path / "clone"
    source.mkdir()
    for english in ENGLISH if name else ():
        path = source / english / "00000001_NO_01.wav"
        path.parent.mkdir()
        soundfile.write(path, tone(300, 0.3, 16000), 16000)
    if name:
        soundfile.write(source / name, tone(300, 0.3, 16000), 16000)
    with pytest.raises(SystemExit) as stopped:
        run(source, tmp_path / "dest")
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "dest").exists()
