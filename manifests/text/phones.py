"""Words as phones: by a lexicon, or by espeak-ng."""

import logging
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from manifest.lines import read_lines

from text.sentences import BadText, Language, normalise

# "phones" of "words"; raises BadText where there are none. All are separated by one space.
Phonemizer = Callable[[str], str]

# espeak-ng's names of languages, where they are not the first part of CommonVoice's.
VOICES = {"en": "en-us", "fr": "fr-fr", "zh-CN": "cmn", "zh-HK": "yue", "zh-TW": "cmn"}


def lexicon_phonemizer(path: Path, language: Language) -> Phonemizer:
    """Looks words up in a file with a line "word phone phone ..." for each.

    Words are normalised as transcripts are; in a language without spaces they are characters. Of
    several pronunciations the first counts, whether others repeat the word or number it: "read(2)".

    Raises:
        ValueError: a line has no phone, or there is no line; the message names the file.
    """
    phones_of: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        word, *phones = line.split() or [""]
        if not phones:
            raise ValueError(f"{path}, line {number}: {line!r}, expected a word and its phones")
        try:
            word = normalise(re.sub(r"\([0-9]+\)$", "", word), language, Counter())
        except BadText:
            continue  # no transcript holds it
        phones_of.setdefault(word, " ".join(phones))
    if not phones_of:
        raise ValueError(f"{path}: found no word of the language, expected a lexicon")

    def look_up(words: str) -> str:
        keys = words.split() if language.spaced else list(words)
        missing = [key for key in keys if key not in phones_of]
        if missing:
            raise BadText(f"the lexicon lacks {', '.join(map(repr, missing))}")
        return " ".join(phones_of[key] for key in keys)

    return look_up


def espeak_phonemizer(code: str) -> Phonemizer:
    """Asks espeak-ng, by phonemizer: IPA without stress; tones, in Chinese, stay.

    Raises:
        ValueError: the [phones] extra is not installed, or espeak-ng has no such language.
    """
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
        from phonemizer.separator import Separator
    except ImportError as error:
        raise ValueError(
            f"--labels phn: {error}, expected the [phones] extra (pip install '.[phones]'),"
            " or a --lexicon"
        ) from None
    # The one that pip installed, with its data: another version may pronounce otherwise.
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    voice = VOICES.get(code, code.partition("-")[0])
    known = EspeakBackend.supported_languages()
    if voice not in known:
        raise ValueError(
            f"--lang: espeak-ng does not know {voice!r}, expected a --lexicon, or one of"
            f" {', '.join(sorted(known))}"
        )
    quiet = logging.getLogger("espeak")
    quiet.setLevel(logging.ERROR)
    espeak = EspeakBackend(voice, language_switch="remove-utterance", logger=quiet)
    separator = Separator(phone=" ", word="\t")

    def ask(words: str) -> str:
        [phones] = espeak.phonemize([words], separator, strip=True)
        if not phones:
            # A loan word, or pinyin that its Mandarin lacks and that it then reads in English.
            raise BadText("espeak-ng reads some of it as another language")
        return " ".join(phones.split())

    return ask
