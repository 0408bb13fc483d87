"""Writes docs/languages.md: what a sentence keeps in each language, which words phones tell apart.

python benchmarks/languages_page.py
"""

# ruff: noqa: RUF001  (letters that look alike are what this is about)

import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "manifests"))

from text.language import Language, Scripts
from text.phones import MARKS, espeak_phonemizer, espeak_voice
from text.sentences import LANGUAGES, BadText, language_of, normalise

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "languages.md"
PAIRS = HERE / "minimal_pairs.tsv"
PAPER = ("es", "fr", "it", "ky", "nl", "ru", "sv-SE", "tr", "tt", "zh-TW")
# Letters to show what becomes of an apostrophe between, before and after them.
SAMPLES = {"Latn": "a", "Cyrl": "а", "Hebr": "א", "Armn": "ա"}

HEAD = """\
# Languages

Made by `python benchmarks/languages_page.py`, from the rows of `manifests/text/languages.py` and
the words in `benchmarks/minimal_pairs.tsv`. It is how `manifests/commonvoice.py` reads sentences.

In all languages, sentences are composed (NFC) and in lower case. Ligatures and letters of another
width or shape (`ﬁ`, `ｗ`) become the usual letters. Joiners, soft hyphens and the like are deleted.
Punctuation becomes a space, and an apostrophe is deleted, except as the table says. A
sentence with any other character, be it a digit, a symbol or a letter of another alphabet, is
skipped. `--letters FILE` gives other letters. In a language without a row, every letter of its
script is kept.

Phones are those of `--lexicon`, or espeak-ng's. Stress is dropped, and words that differ by nothing
else get the same phones. So do words that differ by a pitch accent, which spelling does not show.
espeak-ng's IPA leaves out some tones, tense consonants and glottal stops; they are taken from its
mnemonics.

## The languages of the paper
"""
OTHERS = """
## Other languages with a row

Minimal pairs are counted where there are some.
"""


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    pairs = read_pairs()
    others = [code for code in LANGUAGES if code not in PAPER]
    merged = [
        f"`{code}`: {' and '.join(words)} ({'stress alone' if by == 'stress' else by})"
        for code, listed in pairs.items()
        for words, by in listed
        if by
    ]
    return "\n".join(
        [
            HEAD,
            *table(PAPER, pairs),
            OTHERS,
            *table(others, pairs),
            "",
            "Pairs that are not told apart:\n",
            *(f"- {line}" for line in merged),
            "",
        ]
    )


def read_pairs() -> dict[str, list[tuple[list[str], str]]]:
    """Language -> its pairs of words, and what merges them: "stress", "espeak-ng" or nothing."""
    pairs = defaultdict(list)
    with PAIRS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            pairs[row["language"]].append((row["words"].split(), row["merged by"]))
    return dict(pairs)


def table(codes: Iterable[str], pairs: dict[str, list[tuple[list[str], str]]]) -> list[str]:
    codes_of = defaultdict(list)  # of languages that are alike
    for code in codes:
        language = language_of(code)
        count = told_apart(code, [words for words, _ in pairs.get(code, ())])
        codes_of[letters(language), marks(language), source(code), count].append(f"`{code}`")
    lines = [row(["", "letters", "marks", "phones", "pairs told apart"]), row(["---"] * 5)]
    return lines + [row([", ".join(alike), *cells]) for cells, alike in codes_of.items()]


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def letters(language: Language) -> str:
    if isinstance(language.letters, Scripts):
        others = f" and {' '.join(language.letters.others)}" if language.letters.others else ""
        return f"script {' '.join(language.letters.scripts)}{others}"
    return str(language.letters)


def marks(language: Language) -> str:
    """What becomes of apostrophes, and what is replaced or deleted beside the rules for all."""
    told = []
    scripts = language.letters.scripts if isinstance(language.letters, Scripts) else ()
    letter = next((SAMPLES[s] for s in scripts if s in SAMPLES), None)
    letter = letter or next((c for c in "aа" if c in language.letters), None)
    if letter:
        shown = [f"{letter}'{letter}", f"{letter}'", f"'{letter}"]
        told += [f"`{typed}` → `{words(typed, language)}`" for typed in shown]
    told += [f"`{written}` kept by rule" for _, written in language.marks]
    deleted = [c for c, written in language.replaced.items() if not written]
    replaced = [f"{c} → {w}" for c, w in language.replaced.items() if w.strip()]
    if deleted:
        told.append(f"deleted: {ranges(deleted)}")
    if replaced:
        told.append(", ".join(replaced))
    if not language.spaced:
        told.append("spaces deleted; scored by characters")
    return "; ".join(told) or "no apostrophes"


def words(sentence: str, language: Language) -> str:
    try:
        return normalise(sentence, language, Counter())
    except BadText as error:
        return str(error)


def ranges(characters: Iterable[str]) -> str:
    """Code points, those that follow one another as first and last: U+0591-05BD."""
    found: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if found and found[-1][-1] == code - 1:
            found[-1][1:] = [code]
        else:
            found.append([code])
    return " ".join("U+" + "-".join(f"{code:04X}" for code in run) for run in found)


def source(code: str) -> str:
    try:
        voice = espeak_voice(code)
    except ValueError as error:
        reason = str(error).partition("trained on: ")[2].partition(";")[0] or "not in espeak-ng"
        return f"`--lexicon` ({reason})"
    return f"espeak-ng `{voice}`" + (
        f", {MARKS[voice].name} from mnemonics" if voice in MARKS else ""
    )


def told_apart(code: str, pairs: Sequence[Sequence[str]]) -> str:
    if not pairs:
        return ""
    read = espeak_phonemizer(code)
    return f"{sum(read(one) != read(other) for one, other in pairs)} of {len(pairs)}"


if __name__ == "__main__":
    main()
