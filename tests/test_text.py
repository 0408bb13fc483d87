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

from text.sentences import LANGUAGES, BadText, Language, language_of, normalise, read_letters

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
    # Marks that belong to words.
    ("ca", "L'al·lota és intel·ligent", "l'al·lota és intel·ligent"),
    ("ca", "Col.legi paraŀlel, il‧lusió IL・LUSIÓ.", "col·legi paral·lel il·lusió il·lusió"),
    ("ca", "· fi·ns · l· l", "fi ns l l"),
    ("oc", "dins·hèr", "dins·hèr"),
    ("hy-AM", "Դու գալի՞ս ես։ Ո՜վ, եկե՛ք և՝ հա", "դու գալիս ես ով եկեք և հա"),
    ("uz", "Togʻ bogʻ", "togʻ bogʻ"),
    ("uz", "To‘g‘ri yog‘, O`zbek O'zbek Oʼzbek", "toʻgʻri yogʻ oʻzbek oʻzbek oʻzbek"),
    ("uz", "San'at, ma’no, mavqeʼ", "sanʼat maʼno mavqeʼ"),
    ("uz", "‘kitob’ va 'yog'' ‘salom do‘st’", "kitob va yogʻ salom doʻst"),
    ("haw", "‘O ia ka `ōlelo Hawai'i", "ʻo ia ka ʻōlelo hawaiʻi"),
    ("haw", "ʻo 'aloha' koʻu", "ʻo aloha koʻu"),
    ("to", "faka’apa’apa ‘Ofa", "fakaʻapaʻapa ʻofa"),
    ("mt", "Ktieb ta' Pawlu ma’ t'għajn f'Malta", "ktieb ta' pawlu ma' t'għajn f'malta"),
    ("mt", "'Kelma' ta' Alla, 'Dar ta' Sagra'", "kelma ta' alla dar ta' sagra"),
    ("he", "צה\"ל, ג'ירפה ד״ר תנ''ך", "צה״ל ג׳ירפה ד״ר תנ״ך"),
    ("he", "\"ג׳ורג'\" אמר 'שלום'", "ג׳ורג׳ אמר שלום"),
    ("he", "שָׁלוֹם בית־ספר", "שלום בית ספר"),
    ("ha", "'Yan jama'a 'kasa'", "ʼyan jamaʼa kasa"),
    ("so", "go' lo'da 'kitaab'", "go' lo'da kitaab"),
    ("quc", "K'iche' ch’o’j", "kʼicheʼ chʼoʼj"),
    ("af", "Dit is 'n ŉ hond, 'huis'", "dit is 'n 'n hond huis"),
    ("br", "C’hoar ar c'hi", "c'hoar ar c'hi"),
    ("be", "З’ява аб'ект", "з'ява аб'ект"),
    ("gn", "Mba’éichapa g̃uahẽ", "mba'éichapa g̃uahẽ"),
    ("any", "ʻa bʼ 'c'", "ʻa bʼ c"),
    # Optional marks, and letters that are typed in several ways.
    ("uk", "за́мок", "замок"),
    ("ar", "مُحَمَّدٌ كتـــاب ﻻ", "محمد كتاب لا"),
    ("fa", "می\u200cخواهم كتابي", "میخواهم کتابی"),
    ("ur", "كتاب", "کتاب"),
    ("ro", "Şi ţară", "și țară"),
    ("kab", "Aγrum yiε", "aɣrum yiɛ"),
    ("cv", "Чăваш", "чӑваш"),
    ("ce", "гIала", "гӏала"),
    ("ml", "അവന്\u200d", "അവൻ"),
    ("el", "ΟΔΟΣ.Α, Σ' ΑΓΑΠΩ", "οδος α σ αγαπω"),
    ("ka", "ᲒᲐᲛᲐᲠᲯᲝᲑᲐ", "გამარჯობა"),
    # Marks that are letters.
    ("yo", "Ọjọ́ ẹ̀kọ́", "ọjọ́ ẹ̀kọ́"),
    ("vi", "Hoà bình, Việt!", "hoà bình việt"),
    ("ta", "தமிழ் மொழி.", "தமிழ் மொழி"),
    ("yi", "אַ ייִד ס'איז", "אַ ייִד ס'איז"),
    # Compatibility forms; where Unicode takes too much apart, letters stay whole.
    ("en", "ﬁne ｗords", "fine words"),
    ("en", "naïve 𝐜𝐚𝐟é ſo", "naïve café so"),
    ("ja", "ｶﾞﾝﾊﾞﾙ、コーヒー・々", "ガンバルコーヒー々"),
    ("ko", "안녕 ㅋㅋ", "안녕 ㅋㅋ"),
    ("ko", "진짜~ 좋아요^^ 아～", "진짜 좋아요 아"),
    ("zh-CN", "⼈", "人"),
    # Without spaces.
    ("zh-CN", "你好，世界", "你好世界"),
    ("zh-HK", "你好，世界", "你好世界"),
    ("yue", "约翰·史密斯，二〇二", "约翰史密斯二〇二"),
    ("th", "น้ำ กิน เเม่ นํ้า", "น้ำกินแม่น้ำ"),
    ("lo", "ນ້ຳ ເເມ່", "ນ້ຳແມ່"),
    ("my", "မြန်မာ ဘာသာ။", "မြန်မာဘာသာ"),
    ("km", "សួស្តី ។ ភាសា", "សួស្តីភាសា"),
    # Codes that are not in the table as they stand.
    ("sv", "Ål", "ål"),
    ("pa-IN", "ਪੰਜਾਬੀ।", "ਪੰਜਾਬੀ"),
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
    ("en", "½ cup", "'½', VULGAR FRACTION ONE HALF, is no letter of the language"),
    ("pt", "n.º", "'º', MASCULINE ORDINAL INDICATOR, is no letter of the language"),
    ("en", "Пётр said hi", "'п', CYRILLIC SMALL LETTER PE, is no letter of the language"),
    ("de", "東京 ist groß", "'東', CJK UNIFIED IDEOGRAPH-6771, is no letter of the language"),
    ("gl", "α", "'α', GREEK SMALL LETTER ALPHA, is no letter of the language"),
    ("hi", "hello", "'h', LATIN SMALL LETTER H, is no letter of the language"),
    ("th", "pc", "'p', LATIN SMALL LETTER P, is no letter of the language"),
    ("uk", "объект", "'ъ', CYRILLIC SMALL LETTER HARD SIGN, is no letter of the language"),
    ("uz", "Вашингтон", "'в', CYRILLIC SMALL LETTER VE, is no letter of the language"),
    ("sah", "latin", "'l', LATIN SMALL LETTER L, is no letter of the language"),
    ("zh-HK", "かな", "'か', HIRAGANA LETTER KA, is no letter of the language"),
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
    set('ʻʼꞌ‘"“”״׳·•״ოგoglnyhvkקצهאתԱա՞՛․ـىيكـำําเນ')
    | set("áàâäãåæçéèêëíìîïñóòôöœúùûüÿğışİI ĳßΣσς abcxyz ABCXYZ ёңөүәҗһЁЙй 就差")
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
    assert all(words.split(" "))
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


def letters(path: Path, content: str, code: str) -> Language:
    path.write_text(content, "utf-8")
    return read_letters(path, language_of(code))


def test_letters_of_a_file_replace_those_of_the_language(tmp_path: Path) -> None:
    language = letters(tmp_path / "letters.txt", "A b\nİ ı Ö -\ufeff", "tr")
    assert normalise("BIö i-a, 'b-'", language, Counter()) == "bıö i-a b"
    with pytest.raises(BadText, match=r"^'c', LATIN SMALL LETTER C"):
        normalise("abc", language, Counter())


def test_an_apostrophe_is_kept_where_the_file_has_it(tmp_path: Path) -> None:
    path = tmp_path / "letters.txt"
    assert normalise("l’a", letters(path, "al'", "fr"), Counter()) == "l'a"
    assert normalise("l’a", letters(path, "al", "fr"), Counter()) == "la"


@pytest.mark.parametrize(
    "content, found",
    [(b" \n", "found no letters, expected"), (b"a|b", r"found '\|', expected"), (b"\xff", "utf-8")],
)
def test_files_of_letters_that_are_refused(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "letters.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"letters.txt: .*{found}"):
        read_letters(path, language_of("es"))
