"""How a written sentence becomes words of letters, by Unicode's rules and those of a language."""
# ruff: noqa: RUF001  (letters and marks that look alike are what this is about)

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import regex

from text.language import APOSTROPHE, APOSTROPHES, LETTER, Language, is_punctuation
from text.languages import LANGUAGES, language_of

__all__ = ["LANGUAGES", "STEPS", "BadText", "Language", "language_of", "normalise", "read_letters"]

# Unicode calls these punctuation, but they are read aloud.
SPOKEN = "%‰&@#§¶％＆＠＃"
# Malayalam letters that older texts spell with an invisible joiner at the end.
CHILLUS = dict(zip(("ണ്", "ന്", "ര്", "ല്", "ള്", "ക്"), "ൺൻർൽൾൿ"))
# Compatibility forms that stand for the same letter in another shape; not ª and ½, for instance.
SHAPES = re.compile("<(wide|narrow|initial|medial|final|isolated|font|compat|vertical|small)>")
# Letters in use that Unicode would take apart: Armenian, Thai, Lao, Kazakh, and Korean jamo.
WHOLE = frozenset("\u0587\u0e33\u0eb3\u0edc\u0edd\u0675\u0676\u0677\u0678") | frozenset(
    map(chr, range(0x3131, 0x318F))
)
WORD_END = "|"


class BadText(ValueError):
    """A sentence that cannot be used; str() is the reason."""


def drop_invisible(text: str, language: Language) -> str:
    """Without soft hyphens, joiners, byte order marks, marks of direction, and the like."""
    for spelling, letter in CHILLUS.items():
        text = text.replace(f"{spelling}\u200d", letter)
    return regex.sub(r"[\p{Cf}\p{Default_Ignorable_Code_Point}]", "", text)


def compose(text: str, language: Language) -> str:
    """In NFC, with ligatures and letters of another width or shape as the usual ones."""
    text = "".join(map(_usual, unicodedata.normalize("NFD", text)))
    return unicodedata.normalize("NFC", text)


@cache
def _usual(character: str) -> str:
    """The letters for which `character` is a compatibility form, or itself."""
    tag, *codes = unicodedata.decomposition(character).split() or [""]
    letter = unicodedata.category(character)[0] in "LM"
    radical = unicodedata.name(character, "").startswith("KANGXI RADICAL")
    # Those that begin with a space are accents without a letter.
    if (
        not SHAPES.fullmatch(tag)
        or character in WHOLE
        or codes[0] == "0020"
        or not (letter or radical)
    ):
        return character
    return "".join(_usual(chr(int(code, 16))) for code in codes)


def replace_letters(text: str, language: Language) -> str:
    """With the language's own replacements, and without the Arabic stretching line."""
    return language.replace(text.replace("\N{ARABIC TATWEEL}", ""))


def lower(text: str, language: Language) -> str:
    """In lower case; a Greek sigma is final before a full stop too, where str.lower thinks not."""
    text = regex.sub(rf"(?<={LETTER})σ(?!{LETTER}|{APOSTROPHE})", "ς", text.lower(), flags=regex.V1)
    return unicodedata.normalize("NFC", text)


def strip_punctuation(text: str, language: Language) -> str:
    """With a space for each mark that does not belong to a word; apostrophes stay."""
    return language.strip_punctuation(text, APOSTROPHES + SPOKEN)


def strip_apostrophes(text: str, language: Language) -> str:
    """With one form of each apostrophe that belongs to a word, and without all others."""
    return language.strip_apostrophes(text)


def join_words(text: str, language: Language) -> str:
    return (" " if language.spaced else "").join(text.split())


STEPS: dict[str, Callable[[str, Language], str]] = {
    "invisible characters": drop_invisible,
    "normal form": compose,
    "letters of the language": replace_letters,
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
        BadText: there is no word, or a character that is not a letter of the language.
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


def read_letters(path: Path, language: Language) -> Language:
    """The language with the letters of a file instead of its own.

    The letters are normalised as sentences are, so the file may have either case. White space
    between them does not count. A mark of punctuation in the file is kept between two letters.

    Raises:
        ValueError: the file is not UTF-8, holds no letters, or ``|``, which ends a word in labels.
    """
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {error}, expected letters in UTF-8") from None
    for step in (drop_invisible, compose, replace_letters, lower):
        text = step(text, language)
    letters = frozenset(text) - frozenset(c for c in text if c.isspace())
    if not letters:
        raise ValueError(f"{path}: found no letters, expected the letters of the language")
    if WORD_END in letters:
        raise ValueError(
            f"{path}: found {WORD_END!r}, expected letters; labels end each word with {WORD_END!r}"
        )
    marks = tuple(
        (rf"(?<={LETTER}){regex.escape(c)}(?={LETTER})", c)
        for c in sorted(letters)
        if is_punctuation(c) and c not in APOSTROPHES + SPOKEN
    )
    return replace(language, letters=letters, marks=language.marks + marks)
