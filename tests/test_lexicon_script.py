"""manifests/lexicon.py: the words of a folder or a file, spelled in its symbols."""

import subprocess
import sys
from pathlib import Path

import pytest

from parp_fairseq.decoding import read_lexicon

SCRIPT = Path(__file__).parents[1] / "manifests" / "lexicon.py"


@pytest.fixture
def data(tmp_path):
    (tmp_path / "train.wrd").write_text("TWO ONE\nONE TWO ZERO\n")
    (tmp_path / "dict.ltr.txt").write_text("| 5\nO 5\nT 2\nW 2\nN 2\nE 3\nR 1\nZ 1\n")
    (tmp_path / "dict.phn.txt").write_text("t 1\nu: 1\nw 1\nV 1\nn 1\n")
    return tmp_path


def run(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_letters_of_the_training_split(data):
    output = data / "lexicon.txt"
    done = run(data, "-o", output)
    assert done.returncode == 0, done.stderr
    assert output.read_text() == "TWO\tT W O |\nONE\tO N E |\nZERO\tZ E R O |\n"
    symbols = {symbol: i for i, symbol in enumerate("|OTWNERZ")}
    assert read_lexicon(output, symbols, "dict.ltr.txt").words == ["TWO", "ONE", "ZERO"]


def test_words_of_a_file_and_those_that_cannot_be_spelled(data):
    (data / "vocabulary.txt").write_text("TEN\nSIX\n")
    done = run(data / "vocabulary.txt", "--data", data, "-o", data / "lexicon.txt")
    assert done.returncode == 0
    assert (data / "lexicon.txt").read_text() == "TEN\tT E N |\n"
    assert "1 words cannot be spelled and are left out: SIX" in done.stderr


def test_phones_of_all_variants(data):
    (data / "words.dict").write_text("TWO\t0.99\t0.1\t1.0\t1.0\tt u:\nONE 0.5 0.1 1 1 w V n\n"
                                     "ONE(2) 0.5 0.1 1 1 V n\n")  # fmt: skip
    arguments = (data, "--labels", "phn", "-o", data / "lexicon.txt")
    done = run(*arguments, "--pronunciations", data / "words.dict")
    assert done.returncode == 0, done.stderr
    assert (data / "lexicon.txt").read_text() == "TWO\tt u:\nONE\tw V n\nONE\tV n\n"
    assert "ZERO" in done.stderr
    assert "expected a pronunciation lexicon" in run(*arguments).stderr


@pytest.mark.parametrize(
    "words, message",
    [("", "found no words"), ("two\n", "none of the 1 words can be spelled, as 'two'")],
)
def test_words_that_give_no_lexicon_are_an_error(data, words, message):
    (data / "words.txt").write_text(words)
    done = run(data / "words.txt", "--data", data, "-o", data / "lexicon.txt")
    assert done.returncode == 2 and message in done.stderr
    assert not (data / "lexicon.txt").exists()
