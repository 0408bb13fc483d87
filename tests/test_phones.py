"""manifests/text/phones.py: the languages of the paper as espeak-ng reads them, and lexicons."""
# ruff: noqa: RUF001  (letters and phones that look alike are what this is about)

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "manifests"))

from text import phones
from text.sentences import BadText, language_of

MANIFESTS = Path(phones.__file__).parents[1]

READ = [
    ("es", "el niño come", "e l n i ɲ o k o m e"),
    ("fr", "j'aime ça", "ʒ ɛ m s a"),
    ("it", "l'amico è qui", "l a m i k o e k w i"),
    ("ky", "кыргыз", "q ɯ r ʁ ɯ z"),
    ("nl", "zo'n ding", "z oː n d ɪ ŋ"),
    ("ru", "кто то", "k t o t ʌ"),
    ("sv-SE", "räksmörgås", "r ɛː k s m œ r ɡ oː s"),
    ("tr", "ışık izmir", "ɯ ʃ ɯ k ɪ z m ɪ r"),
    ("tt", "әни җил", "æ n i ʑ i l"),
    ("zh-TW", "就差當天", "tɕ iou51 ts.h ɑ51 t ɑ51 ŋ th iɛ55 n"),
]


@pytest.mark.parametrize("code, words, read", READ)
def test_espeak(code: str, words: str, read: str) -> None:
    pytest.importorskip("phonemizer", reason="the [phones] extra is not installed")
    assert phones.espeak_phonemizer(code)(words) == read


# A loan word; a syllable that espeak-ng's Mandarin lacks, of which it reads the pinyin in English.
FOREIGN = [("fr", "c'est le football"), ("zh-TW", "兄弟")]


@pytest.mark.parametrize("code, words", FOREIGN)
def test_what_espeak_takes_for_another_language(code: str, words: str) -> None:
    pytest.importorskip("phonemizer", reason="the [phones] extra is not installed")
    ask = phones.espeak_phonemizer(code)
    with pytest.raises(BadText, match="espeak-ng reads some of it as another language"):
        ask(words)


def test_a_language_that_espeak_does_not_know() -> None:
    pytest.importorskip("phonemizer", reason="the [phones] extra is not installed")
    with pytest.raises(ValueError, match="--lang: espeak-ng does not know 'tok', expected a --lex"):
        phones.espeak_phonemizer("tok")


def test_without_the_extra() -> None:
    program = (
        "import sys; sys.modules['phonemizer.backend'] = None; from text import phones;"
        "phones.espeak_phonemizer('es')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=MANIFESTS, capture_output=True, text=True
    )
    assert "ValueError: --labels phn:" in done.stderr
    assert "expected the [phones] extra (pip install '.[phones]'), or a --lexicon" in done.stderr


def lexicon(tmp_path: Path, code: str, content: str):
    path = tmp_path / "lexicon.txt"
    path.write_text(content, "utf-8")
    return phones.lexicon_phonemizer(path, language_of(code))


def test_the_words_of_a_lexicon_are_normalised(tmp_path: Path) -> None:
    look_up = lexicon(tmp_path, "tr", "IŞIK\tɯ ʃ ɯ k\r\nİzmir  i z m i r\nizmir(2) x\nizmir y\n")
    assert look_up("ışık izmir") == "ɯ ʃ ɯ k i z m i r"
    with pytest.raises(BadText, match=r"^the lexicon lacks 'ankara', 'van'$"):
        look_up("ankara ışık van")


def test_a_lexicon_of_characters(tmp_path: Path) -> None:
    look_up = lexicon(tmp_path, "zh-TW", "你 n i3\n好 x au3\n")
    assert look_up("你好好") == "n i3 x au3 x au3"
    with pytest.raises(BadText, match=r"^the lexicon lacks '嗎'$"):
        look_up("你好嗎")
