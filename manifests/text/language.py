"""How one language is written: its letters, and the marks that belong to its words."""
# ruff: noqa: RUF001, RUF003  (letters and marks that look alike are what this is about)

import unicodedata
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import regex

# One mark, typed in many ways. The last three are letters in Unicode: ʻ (U+02BB), ʼ and ꞌ.
APOSTROPHES = "'’‘‛′`´＇՚ʻʼꞌ"
# Classes for regular expressions. A letter is a letter or a mark on one, but not an apostrophe.
LETTER = rf"[[\p{{L}}\p{{M}}]--[{APOSTROPHES}]]"
APOSTROPHE = rf"[{APOSTROPHES}]"
QUOTE = rf"[{APOSTROPHES}--[ʻʼꞌ]]"  # an apostrophe that may be a quotation mark

# A rule: a mark as a regular expression over the lower-case sentence, and how it is written.
Rule = tuple[str, str]

INSIDE: Rule = (rf"(?<={LETTER}){APOSTROPHE}+(?={LETTER})", "'")
# What Unicode calls a letter is not stripped from the ends of words.
AT_EDGE = tuple((rf"(?<={LETTER}){c}|{c}(?={LETTER})", c) for c in "ʻʼꞌ")


def quoted(kept: str = "") -> str:
    """A pattern for what stands between single quotation marks, in its first group.

    It is for languages in which an apostrophe at either end of a word may be a letter. Quotation
    marks come in pairs, and quotations do not hold one another.

    Args:
        kept: words, separated by ``|``, whose last apostrophe never closes a quotation.
    """
    opening = rf"(?<!{LETTER}|{APOSTROPHE}){QUOTE}(?={LETTER})"
    word = rf"(?<!(?<!{LETTER})(?:{kept}))" if kept else ""
    closing = rf"{word}{QUOTE}(?!{LETTER}|{APOSTROPHE})"
    return rf"{opening}((?:(?!{opening}|{closing}).)*){closing}"


class Scripts(Container[str]):
    """The letters and combining marks of scripts, named as in Unicode: ``Latn``, ``Cyrl``.

    Args:
        others: characters that are letters of the language too.
    """

    def __init__(self, *scripts: str, others: str = "") -> None:
        self.scripts, self.others = scripts, others
        one_of = "||".join(rf"\p{{scx={script}}}" for script in scripts)
        # Marks of no script stand on the letters of many. ª and º are abbreviations, not letters.
        self._pattern = regex.compile(
            rf"[[\p{{L}}\p{{M}}]&&[{one_of}]--[ªº]]|[\p{{M}}&&[\p{{sc=Zinh}}||\p{{sc=Zyyy}}]]",
            regex.V1,
        )

    def __contains__(self, character: object) -> bool:
        return str(character) in self.others or bool(self._pattern.fullmatch(str(character)))


@dataclass(frozen=True)
class Language:
    """How one language is written.

    Attributes:
        letters: composed and in lower case, and the marks that rules write.
        replaced: characters, or sequences of them, and what is written instead; "" deletes.
        marks: rules for punctuation that belongs to a word. All other punctuation becomes a space.
        apostrophes: rules for apostrophes that belong to a word. All others are deleted, and so
            are those that a rule writes as something that is not among `letters`.
        quotation: a pattern; its first group is what quotation marks of the same form surround.
        spaced: whether spaces separate words. If not, a sentence is one word.
    """

    letters: Container[str] = Scripts("Latn", others="'ʻʼʹ")
    replaced: Mapping[str, str] = field(default_factory=dict)
    marks: tuple[Rule, ...] = ()
    apostrophes: tuple[Rule, ...] = (INSIDE, *AT_EDGE)
    quotation: str = ""
    spaced: bool = True

    def replace(self, text: str) -> str:
        if not self.replaced:
            return text
        return self._replaced.sub(lambda match: self.replaced[match[0]], text)

    def strip_punctuation(self, text: str, kept: str) -> str:
        """With a space for each mark that no rule writes and that is not in `kept`."""
        return _apply(self._marks, self.marks, text, lambda c: c if c in kept else " ")

    def strip_apostrophes(self, text: str) -> str:
        """With the apostrophes that rules write, and no others."""
        if self.quotation:
            text = self._quotation.sub(r" \1 ", text)
        rules = tuple((p, w if w in self.letters else "") for p, w in self.apostrophes)
        return _apply(self._apostrophes, rules, text, lambda c: "")

    @cached_property
    def _replaced(self) -> regex.Pattern:
        longest_first = sorted(self.replaced, key=len, reverse=True)
        return regex.compile("|".join(map(regex.escape, longest_first)))

    @cached_property
    def _marks(self) -> regex.Pattern:
        return _either(self.marks, r"\p{P}")

    @cached_property
    def _apostrophes(self) -> regex.Pattern:
        return _either(self.apostrophes, APOSTROPHE)

    @cached_property
    def _quotation(self) -> regex.Pattern:
        return regex.compile(self.quotation, regex.V1)


def _either(rules: tuple[Rule, ...], otherwise: str) -> regex.Pattern:
    """A pattern whose n-th group is the n-th rule; what is in no group is `otherwise`."""
    return regex.compile("|".join([*(f"({pattern})" for pattern, _ in rules), otherwise]), regex.V1)


def _apply(pattern: regex.Pattern, rules: tuple[Rule, ...], text: str, otherwise) -> str:
    return pattern.sub(
        lambda m: rules[m.lastindex - 1][1] if m.lastindex else otherwise(m[0]), text
    )


def is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"
