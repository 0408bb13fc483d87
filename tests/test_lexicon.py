"""manifests/text/lexicon.py: the formats of lexicons in use, and what a word becomes."""

import sys
from pathlib import Path

import pytest
from corpora import MANIFESTS

sys.path.insert(0, str(MANIFESTS))

from text.lexicon import lexicon_phonemizer, read_lexicon
from text.sentences import BadText, language_of

FORMATS = {
    "plain": "the DH AH\nthe DH IY\n",
    "tabs": "the\tDH AH\nthe\tDH IY\n",
    "empty lines": "\nthe DH AH\n\n  \nthe DH IY\n\n",
    "byte order mark, CRLF": "\ufeffthe DH AH\r\nthe DH IY\r\n",
    "numbered variants": "the DH AH\nthe(2) DH IY\n",
    "variants numbered from 1": "the(1) DH AH\nthe(2) DH IY\n",
    "CMUdict": ";;; # a comment\nthe DH AH\nthe(2) DH IY # before vowels\n",
    "Kaldi's lexiconp": "the 1.0 DH AH\nthe 0.25 DH IY\n",
    "Kaldi's lexiconp, tabs": "the\t1\tDH AH\nthe\t0.25\tDH IY\n",
    "Kaldi's lexiconp, all 1": "the 1 DH AH\nthe 1 DH IY\n",
    "Kaldi's lexiconp_silprob": "the 1 0.2 0.9 1.1 DH AH\nthe 0.2 0.8 1.5 1 DH IY\n",
    "MFA, probabilities": "the\t0.99\tDH AH\nthe\t0.1\tDH IY\n",
    "MFA, silence": "the\t0.99\t0.14\t1.0\t1.0\tDH AH\nthe\t1e-3\t0.2\t1.0\t0.0\tDH IY\n",
    "MFA, the best is not the first": "the\t.01\tDH IY\nthe\t0.99\tDH AH\n",
    "MFA, a line by hand": "the\t0.9\t0.1\t1.0\t1.0\tDH AH\nthe\t.1\t1\t1\t1\tDH IY\nx\tEH K S\n",
}


def write(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "lexicon.txt"
    path.write_bytes(content.encode("utf-8"))
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_phones(form: str, tmp_path: Path) -> None:
    path = write(tmp_path, FORMATS[form])
    assert lexicon_phonemizer(path, language_of("en"))("the the") == "DH AH DH AH"
    phones = [phones for word, phones, _ in read_lexicon(path) if word == "the"]
    assert sorted(phones) == ["DH AH", "DH IY"]


def test_phones_may_be_numbers(tmp_path: Path) -> None:
    """X-SAMPA, without and with probabilities."""
    plain = write(tmp_path, "deux d 2\neux 2\nun 9 ~\n")
    assert [phones for _, phones, _ in read_lexicon(plain)] == ["d 2", "2", "9 ~"]
    weighted = write(tmp_path, "deux 0.5 d 2\neux 1.0 2\nun 1 9 ~\n")
    assert [phones for _, phones, _ in read_lexicon(weighted)] == ["d 2", "2", "9 ~"]


WITHOUT_PHONES = {
    "word": "the DH AH",
    "word 0.5": "the 0.9 DH AH",
    "word 0.5 1 1 1.5": "the 0.9 0.1 1.0 1.0 DH AH",
    "word 0.5 W": "the 0.9 0.1 1.0 1.0 DH AH",
}


@pytest.mark.parametrize("line", WITHOUT_PHONES)
def test_a_line_without_phones_or_with_other_columns_is_named(line: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{WITHOUT_PHONES[line]}\n\n{line}\n")
    with pytest.raises(ValueError, match=f"line 3: '{line}', expected a word and its phones"):
        list(read_lexicon(path))


def test_no_word_of_the_language(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found no word of the language, expected a lexicon"):
        lexicon_phonemizer(write(tmp_path, "\n"), language_of("es"))
    with pytest.raises(BadText, match=r"^the lexicon lacks 'no'$"):
        lexicon_phonemizer(write(tmp_path, "sí s i\n"), language_of("es"))("sí no")
