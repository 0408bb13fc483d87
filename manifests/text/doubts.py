"""What is odd in the labels of a corpus, though each line is good: rare symbols, homophones."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Optional

from text.phones import Phonemizer
from text.sentences import BadText

HANDFUL = 5  # a symbol that occurs less often cannot be learnt
NAMED = 10
MOST_FREQUENT = 3000  # words that are compared
# Of the most frequent words of 40 languages, espeak-ng gives up to 11 % phones that another word
# has too (Vietnamese, Greek; most have 1 to 4 %), and in French, where plurals are mute, 41 %.
USUAL = 0.15
USUAL_OF = {"fr": 0.5}
FEW = 5


def rare_symbols(lines: Iterable[str]) -> Optional[str]:
    """A warning that names the symbols which occur fewer than HANDFUL times, if there are any.

    Args:
        lines: labels of the training split, symbols separated by spaces.
    """
    counts = Counter(symbol for line in lines for symbol in line.split())
    rare = sorted((n, symbol) for symbol, n in counts.items() if n < HANDFUL)
    if not rare:
        return None
    named = ", ".join(f"{symbol!r} {n}" for n, symbol in rare[:NAMED])
    more = f" and {len(rare) - NAMED} more" if len(rare) > NAMED else ""
    return (
        f"{len(rare)} of {len(counts)} symbols occur fewer than {HANDFUL} times in training, too"
        f" few to be learnt: {named}{more}"
    )


def homophones(transcripts: Iterable[str], phonemizer: Phonemizer, code: str) -> Optional[str]:
    """A warning if unusually many of the most frequent words share their phones with another word.

    Args:
        transcripts: words, separated by spaces.
        code: CommonVoice's code of the language.
    """
    counts = Counter(word for transcript in transcripts for word in transcript.split())
    words_of: dict[str, list[str]] = defaultdict(list)
    for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_FREQUENT]:
        try:
            words_of[phonemizer(word)].append(word)
        except BadText:
            continue  # it may be readable in a sentence
    total = sum(map(len, words_of.values()))
    groups = sorted((w for w in words_of.values() if len(w) > 1), key=len, reverse=True)
    shared = sum(map(len, groups))
    usual = USUAL_OF.get(code, USUAL)
    if shared < FEW or shared <= usual * total:
        return None
    examples = ", ".join(" = ".join(group[:3]) for group in groups[:3])
    return (
        f"{shared} of {total} words ({shared / total:.0%}) have the same phones as another word,"
        f" expected {usual:.0%} or less; tones or vowels may be missing: {examples}"
    )
