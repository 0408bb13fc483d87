"""manifests/manifest/writing.py: the files of a split, whole or not at all."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "manifests"))

from manifest.writing import Utterance, replacing, write_letter_dictionary, write_split

GOOD = [Utterance("a/1.flac", 16000, "GO ON"), Utterance("a/2 b.wav", 1, " ÇOK  GÜZEL ")]


def test_a_split_and_its_dictionary(tmp_path: Path) -> None:
    dest = tmp_path / "new" / "folder"
    write_split(dest, "train", tmp_path / "audio", GOOD)
    write_letter_dictionary(dest, [utterance.words for utterance in GOOD])
    assert {path.name: path.read_text(encoding="utf-8") for path in dest.iterdir()} == {
        "train.tsv": f"{tmp_path / 'audio'}\na/1.flac\t16000\na/2 b.wav\t1\n",
        "train.wrd": "GO ON\nÇOK GÜZEL\n",
        "train.ltr": "G O | O N |\nÇ O K | G Ü Z E L |\n",
        "dict.ltr.txt": "| 4\nO 3\nG 2\nE 1\nK 1\nL 1\nN 1\nZ 1\nÇ 1\nÜ 1\n",
    }


def test_a_relative_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_split(tmp_path, "valid", Path("audio"), GOOD)
    assert (tmp_path / "valid.tsv").read_text().startswith(f"{tmp_path / 'audio'}\n")


BAD = {
    "tab": (Utterance("a\tb.wav", 1, "go"), r"path 'a\tb.wav', expected a path without tabs"),
    "line break": (Utterance("a\n.wav", 1, "go"), r"path 'a\n.wav', expected a path without tabs"),
    "space before": (Utterance(" a.wav", 1, "go"), "path ' a.wav', expected a path without tabs"),
    "no path": (Utterance("", 1, "go"), "path '', expected a path without tabs"),
    "absolute": (Utterance("/a.wav", 1, "go"), "path '/a.wav', expected one relative to the audio"),
    "twice": (Utterance("a/1.flac", 1, "go"), "path 'a/1.flac' is also in line 2"),
    "no frames": (Utterance("a.wav", 0, "go"), "0 frames in 'a.wav', expected more than 0"),
    "no words": (Utterance("a.wav", 1, " "), "transcript ' ' of 'a.wav', expected some words"),
    "bar": (Utterance("a.wav", 1, "g|o"), "transcript 'g|o' of 'a.wav', expected no '|'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_utterances(case: str, tmp_path: Path) -> None:
    utterance, message = BAD[case]
    with pytest.raises(ValueError) as caught:
        write_split(tmp_path, "train", tmp_path, [*GOOD, utterance])
    assert str(caught.value).startswith(f"{tmp_path / 'train.tsv'}, line 4: {message}")
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.tsv: found no utterances, expected at least one"):
        write_split(tmp_path, "train", tmp_path, [])
    with pytest.raises(ValueError, match=r"dict\.ltr\.txt: found no symbols, expected"):
        write_letter_dictionary(tmp_path, ["", " "])
    with pytest.raises(ValueError, match=r"train\.tsv: audio root .*, expected a path on one line"):
        write_split(tmp_path, "train", tmp_path / "a\nb", GOOD)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_file_stays_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("file", "old")]


def test_labels_that_were_not_all_written_have_no_tsv(tmp_path: Path) -> None:
    write_split(tmp_path, "train", tmp_path, GOOD)
    (tmp_path / "train.ltr").unlink()
    (tmp_path / "train.ltr").mkdir()
    with pytest.raises(OSError, match=r"train\.ltr"):
        write_split(tmp_path, "train", tmp_path, GOOD[:1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.ltr", "train.wrd"]
