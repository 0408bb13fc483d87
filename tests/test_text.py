"""manifests/text/sentences.py: what a sentence becomes, by language, and what always holds."""
# ruff: noqa: RUF001  (letters and marks that look alike are what this is about)

import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "manifests"))

from text.sentences import LANGUAGES, BadText, language_of, normalise

# Of each language of the paper, a line of its own; and what is thorny in it.
SENTENCES = [
    ("es", "¿Qué dijo el ÑANDÚ, «ayer»?", "qué dijo el ñandú ayer"),
    ("fr", "L’ŒUVRE d'hier : c'est « ça », dit-il !", "l'œuvre d'hier c'est ça dit il"),
    ("it", "L'amico è un po' 'strano'…", "l'amico è un po strano"),
    ("ky", "Кыргыз ТИЛИ — Өзгөчө, үй, таң.", "кыргыз тили өзгөчө үй таң"),
    ("nl", "’s Avonds eet de Ĳsbeer zo’n ĳsje.", "s avonds eet de ijsbeer zo'n ijsje"),
    ("ru", "За\u0301мок и ЁЛКА: кто-то съел.", "замок и ёлка кто то съел"),
    ("sv-SE", "RÄKSMÖRGÅS på Öland, idé!", "räksmörgås på öland idé"),
    ("tr", "IŞIK İstanbul'da mı, ÇİĞ mi?", "ışık istanbulda mı çiğ mi"),
    ("tr", "i\u0307stanbul I\u0307zmir", "istanbul izmir"),
    ("tt", "ӘНИ, җиләк; Һава ҮЗГӘРӘ.", "әни җиләк һава үзгәрә"),
    ("zh-TW", "就差當天，沒直接訂。", "就差當天沒直接訂"),
    ("zh-TW", "你好 嗎？", "你好嗎"),
    ("az", "IŞIQ İki", "ışıq iki"),
    ("de", "STRASSE, Straße und GROẞ", "strasse straße und groß"),
    ("el", "ΟΔΟΣ ΣΟΦΙΑΣ", "οδος σοφιας"),
    ("uk", "М’який ʼ знак", "м'який знак"),
    ("hi", "हिन्दी, है।", "हिन्दी है"),
    ("es", "  dos\tpalabras\nsueltas  ", "dos palabras sueltas"),
    ("es", "jun\u00adto\u200b s\ufeff\u202a", "junto s"),
    ("es", "nin\u0303o", "niño"),
    ("es", "a\u200d\u0301rbol", "árbol"),
    ("tr", "I\u200d\u0307zmir", "izmir"),
    ("any", "J\u030c", "ǰ"),
    ("es", "O'Higgins", "ohiggins"),
]  # fmt: skip


@pytest.mark.parametrize("code, sentence, words", SENTENCES)
def test_words(code: str, sentence: str, words: str) -> None:
    assert normalise(sentence, language_of(code), Counter()) == words


REFUSED = [
    ("es", "", "no words"),
    ("es", " \t\n", "no words"),
    ("es", "¡«…»!", "no words"),
    ("es", "' ’", "no words"),
    ("es", "a las 3", "'3', DIGIT THREE, is no letter of the language"),
    ("es", "risa 😀", "'😀', GRINNING FACE, is no letter of the language"),
    ("es", "שלום", "'ש', HEBREW LETTER SHIN, is no letter of the language"),
    ("es", "Björk", "'ö', LATIN SMALL LETTER O WITH DIAERESIS, is no letter of the language"),
    ("es", "x\u0301", "'\u0301', COMBINING ACUTE ACCENT, is no letter of the language"),
    ("es", "uno\x00", "'\\x00', a character without a name, is no letter of the language"),
    ("es", "uno|dos", "'|', VERTICAL LINE, is no letter of the language"),
    ("fr", "R&D", "'&', AMPERSAND, is no letter of the language"),
    ("fr", "cent %", "'%', PERCENT SIGN, is no letter of the language"),
    ("fr", "deux €", "'€', EURO SIGN, is no letter of the language"),
    ("tr", "Washington", "'w', LATIN SMALL LETTER W, is no letter of the language"),
    ("ru", "мoре", "'o', LATIN SMALL LETTER O, is no letter of the language"),
    ("zh-TW", "我用PC", "'p', LATIN SMALL LETTER P, is no letter of the language"),
    ("de", "Größe ²", "'²', SUPERSCRIPT TWO, is no letter of the language"),
]


@pytest.mark.parametrize("code, sentence, reason", REFUSED)
def test_reasons(code: str, sentence: str, reason: str) -> None:
    with pytest.raises(BadText) as caught:
        normalise(sentence, language_of(code), Counter())
    assert str(caught.value) == reason


def outcome(sentence: str, code: str) -> str:
    try:
        return normalise(sentence, language_of(code), Counter())
    except BadText as error:
        return f"bad: {error}"


CODES = st.sampled_from([*LANGUAGES, "any"])
# Letters of all the languages, in either case, with marks and punctuation between them.
COMMON = sorted(
    set("áàâäãåæçéèêëíìîïñóòôöœúùûüÿğışİI ĳßΣσς abcxyz ABCXYZ ёңөүәҗһЁЙй 就差")
    | set("\u0300\u0301\u0303\u0307\u0308\u030a\u0323\u0327\u200d\u00ad'’`´-—.,;«»¿|3%\t\n")
)
TEXTS = st.text(st.sampled_from(COMMON)) | st.text(st.sampled_from(COMMON) | st.characters())


@given(TEXTS, CODES)
def test_both_normal_forms_are_one_sentence(sentence: str, code: str) -> None:
    forms = [unicodedata.normalize(form, sentence) for form in ("NFC", "NFD")]
    assert outcome(forms[0], code) == outcome(forms[1], code) == outcome(sentence, code)


@given(TEXTS, CODES)
def test_words_give_themselves_in_letters_of_the_language(sentence: str, code: str) -> None:
    language = language_of(code)
    try:
        words = normalise(sentence, language, Counter())
    except BadText:
        return
    again: Counter[str] = Counter()
    assert normalise(words, language, again) == words
    assert not any(again.values())
    assert words == unicodedata.normalize("NFC", words)
    assert all(word.strip("'") for word in words.split(" "))
    assert all(letter in language.letters for letter in words if letter != " ")


def test_what_was_changed_is_counted() -> None:
    changed: Counter[str] = Counter()
    for sentence in ("Sí.", "si\u0301", "sí", "  sí 'sí'", "s\u00adí", "¡sí!"):
        normalise(sentence, language_of("es"), changed)
    assert changed == {
        "invisible characters": 1,
        "normal form": 1,
        "letters of the language": 0,
        "case": 1,
        "punctuation": 2,
        "apostrophes": 1,
        "spaces": 3,
    }
