"""manifests/text/phones.py: the languages of the paper as espeak-ng reads them, and lexicons."""
# ruff: noqa: RUF001  (letters and phones that look alike are what this is about)

import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Tuple

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "manifests"))

from text import phones
from text.doubts import homophones, rare_symbols
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


PAIRS = Path(__file__).parents[1] / "benchmarks" / "minimal_pairs.tsv"
PAPER = ("es", "fr", "it", "ky", "nl", "ru", "sv-SE", "tr", "tt", "zh-TW")


def minimal_pairs() -> Dict[str, List[Tuple[str, str, str]]]:
    """Language -> two words, and what merges them; empty where phones must tell them apart."""
    pairs: Dict[str, List[Tuple[str, str, str]]] = {}
    for line in PAIRS.read_text("utf-8").splitlines()[1:]:
        code, words, merged_by = line.split("\t")
        one, other = words.split()
        pairs.setdefault(code, []).append((one, other, merged_by))
    return pairs


def test_there_are_minimal_pairs_of_each_language_of_the_paper() -> None:
    pairs = minimal_pairs()
    for code in PAPER:
        told_apart = [pair for pair in pairs[code] if not pair[2]]
        assert len(told_apart) >= 10, code


@pytest.mark.parametrize("code", minimal_pairs())
def test_minimal_pairs_are_told_apart(code: str) -> None:
    pytest.importorskip("phonemizer", reason="the [phones] extra is not installed")
    ask = phones.espeak_phonemizer(code)
    for one, other, merged_by in minimal_pairs()[code]:
        assert (ask(one) == ask(other)) == bool(merged_by), (one, other)


def test_all_tones_differ_within_a_sentence() -> None:
    pytest.importorskip("phonemizer", reason="the [phones] extra is not installed")
    ask = phones.espeak_phonemizer("zh-CN")
    assert [ask(c) for c in "妈麻马骂吗"] == ["m ɑ55", "m ɑ35", "m ɑ214", "m ɑ51", "m ɑ11"]
    assert ask("书树") == "s. u55 s. u51"
    assert [phones.espeak_phonemizer("vi")(w) for w in ("má", "mà")] == ["m aː3", "m aː2"]


@pytest.mark.parametrize("code", ["th", "my", "ja", "fo", "kaa"])
def test_languages_that_espeak_cannot_read(code: str) -> None:
    with pytest.raises(ValueError, match=f"--lang: {code}, but .* expected a --lexicon$"):
        phones.espeak_phonemizer(code)


def test_letters_that_espeak_would_name() -> None:
    pytest.importorskip("phonemizer", reason="the [phones] extra is not installed")
    assert phones.espeak_phonemizer("uz")("sanʼat") == "s æ n ʔ æ t"
    assert phones.espeak_phonemizer("gn")("mba'e") == "m b a ʔ e"
    assert phones.espeak_phonemizer("gn")("mbaʼe") == "m b a ʔ e"


def test_unusually_many_homophones() -> None:
    read = {word: f"p{number % 4}" for number, word in enumerate("abcdefgh")}.__getitem__
    warning = homophones(["a b c d", "e f g h"], read, "xx")
    assert warning.startswith("8 of 8 words (100%) have the same phones as another word, expected")
    assert warning.endswith("a = e, b = f, c = g")
    assert homophones(["a b c d"], read, "xx") is None


def test_french_has_many_homophones() -> None:
    pytest.importorskip("phonemizer", reason="the [phones] extra is not installed")
    ask = phones.espeak_phonemizer("fr")
    others = [word for pair in minimal_pairs()["fr"] for word in pair[:2]]
    words = ["parle parles parlent beau beaux eau eaux", *others]
    assert homophones(words, ask, "fr") is None
    assert "parle = parlent = parles" in homophones(words, ask, "xx")


def test_rare_symbols() -> None:
    assert rare_symbols(["a b |"] * 5) is None
    assert rare_symbols(["a b |"] * 5 + ["ö q q"]) == (
        "2 of 5 symbols occur fewer than 5 times in training, too few to be learnt: 'ö' 1, 'q' 2"
    )
    assert rare_symbols(["x" + str(n) for n in range(12)]).endswith("and 2 more")


def test_the_page_of_languages_is_up_to_date() -> None:
    pytest.importorskip("phonemizer", reason="the [phones] extra is not installed")
    sys.path.insert(0, str(PAIRS.parent))
    from languages_page import PAGE, page

    assert page() == PAGE.read_text("utf-8")


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
