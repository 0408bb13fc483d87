"""How a written sentence becomes words of letters: Unicode's rules, and a table of languages."""
# ruff: noqa: RUF001, RUF003  (letters and marks that look alike are what this is about)

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

LATIN = "abcdefghijklmnopqrstuvwxyz"
CYRILLIC = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
# As Unicode's SpecialCasing.txt has it: both i with a dot and ı without one have a capital.
DOTTED_I = {"I": "ı", "İ": "i", "\u0307": ""}
APOSTROPHES = frozenset("'’‘‛ʼʻ′`´＇")
# Unicode calls these punctuation, but they are read aloud.
SPOKEN = frozenset("%‰&@#§¶％＆＠＃")


class BadText(ValueError):
    """A sentence that cannot be used; str() is the reason."""


class AnyLetter(Container[str]):
    """Every letter and mark that Unicode knows, and the apostrophe."""

    def __contains__(self, character: object) -> bool:
        return character == "'" or unicodedata.category(str(character))[0] in "LM"


class Ideographs(Container[str]):
    """The Chinese characters, too many to list."""

    def __contains__(self, character: object) -> bool:
        return unicodedata.name(str(character), "").startswith("CJK UNIFIED IDEOGRAPH")


@dataclass(frozen=True)
class Language:
    """How one language is written.

    Attributes:
        letters: composed and in lower case; with the apostrophe where it can stand inside a word.
        replaced: characters that Unicode's rules would get wrong, and what stands for each.
        spaced: whether spaces separate words; if not, a sentence is one word.
    """

    letters: Container[str] = AnyLetter()
    replaced: Mapping[str, str] = field(default_factory=dict)
    spaced: bool = True


# By CommonVoice's codes. A language that is not here is one of AnyLetter.
LANGUAGES = {
    "az": Language(replaced=DOTTED_I),
    "es": Language(LATIN + "áéíñóúü"),
    "fr": Language(LATIN + "àâæçèéêëîïôùûüÿœ'"),
    "it": Language(LATIN + "àèéìíîòóùú'"),
    "ky": Language(CYRILLIC + "ңөү"),
    "nl": Language(LATIN + "àáâäçèéêëìíîïòóôöùúûü'", {"ĳ": "ij", "Ĳ": "ij"}),
    "ru": Language(CYRILLIC, {"\u0301": ""}),  # the stress, which dictionaries mark
    "sv-SE": Language(LATIN + "àäåéöü"),
    "tr": Language("abcçdefgğhıijklmnoöprsştuüvyzâîû", DOTTED_I),
    "tt": Language(CYRILLIC + "әҗңөүһ"),
    "zh-TW": Language(Ideographs(), spaced=False),
}


def language_of(code: str) -> Language:
    return LANGUAGES.get(code, Language())


def drop_invisible(text: str, language: Language) -> str:
    """Without soft hyphens, joiners, byte order marks, marks of direction."""
    return "".join(c for c in text if unicodedata.category(c) != "Cf")


def compose(text: str, language: Language) -> str:
    """In NFC: a letter with its marks is one character where Unicode has one."""
    return unicodedata.normalize("NFC", text)


def replace(text: str, language: Language) -> str:
    return "".join(language.replaced.get(c, c) for c in text)


def lower(text: str, language: Language) -> str:
    return unicodedata.normalize("NFC", text.lower())


def strip_punctuation(text: str, language: Language) -> str:
    """With a space for each mark of punctuation, hyphens too, but not for apostrophes."""
    kept = APOSTROPHES | SPOKEN
    return "".join(" " if unicodedata.category(c)[0] == "P" and c not in kept else c for c in text)


def strip_apostrophes(text: str, language: Language) -> str:
    """With one form of apostrophe, and none at the ends of words: those may be quotation marks."""
    text = "".join("'" if c in APOSTROPHES else c for c in text)
    if "'" in language.letters:
        return re.sub(r"(?<!\S)'+|'+(?!\S)", "", text)
    return text.replace("'", "")


def join_words(text: str, language: Language) -> str:
    return (" " if language.spaced else "").join(text.split())


STEPS: dict[str, Callable[[str, Language], str]] = {
    "invisible characters": drop_invisible,
    "normal form": compose,
    "letters of the language": replace,
    "case": lower,
    "punctuation": strip_punctuation,
    "apostrophes": strip_apostrophes,
    "spaces": join_words,
}


def normalise(sentence: str, language: Language, changed: Counter[str]) -> str:
    """The words of a sentence in lower-case letters of the language, one space between them.

    Both normal forms of a sentence give the same words, and words give themselves.

    Args:
        changed: counts, for each of STEPS, the sentences that it changed.

    Raises:
        BadText: there is no word, or a character that is no letter of the language.
    """
    text = sentence
    for name, step in STEPS.items():
        before, text = text, step(text, language)
        changed[name] += text != before
    if not text:
        raise BadText("no words")
    for character in text:
        if character != " " and character not in language.letters:
            name = unicodedata.name(character, "a character without a name")
            raise BadText(f"{character!r}, {name}, is no letter of the language")
    return text
