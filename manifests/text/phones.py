"""Words as phones, by espeak-ng: IPA without stress, with the tones that its IPA leaves out."""
# ruff: noqa: RUF001  (phones that look alike are what this is about)

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from text.lexicon import lexicon_phonemizer
from text.sentences import BadText

__all__ = ["Phonemizer", "espeak_phonemizer", "lexicon_phonemizer"]

# "phones" of "words"; raises BadText where there are none. All are separated by one space.
Phonemizer = Callable[[str], str]

# espeak-ng's names of languages, where they are not the first part of CommonVoice's.
VOICES = {
    "en": "en-us",
    "fr": "fr-fr",
    "kmr": "ku",
    "nn-NO": "nb",
    "quy": "qu",
    "zh": "cmn",
    "zh-CN": "cmn",
    "zh-HK": "yue",
    "zh-TW": "cmn",
}
# What is wrong with the output of espeak-ng 1.52, by its name of the language.
UNTRAINABLE = {
    "fo": "it has no dictionary, and every word gets the same phones",
    "ja": "it does not read Chinese characters",
    "kaa": "it has no dictionary, and every word gets the same phones",
    "my": "vowels and tones are missing",
    "th": "tones and some vowels are missing",
}

# Arguments of espeak_TextToPhonemes. SEPARATOR is in no phone; spaces separate words.
SEPARATOR = "·"
UTF8 = 1
MNEMONICS = ord(SEPARATOR) << 8
IPA = MNEMONICS | 2
STRESS = re.compile("[ˈˌ]")
# Letters that espeak-ng takes for symbols, and would name.
TYPED = str.maketrans({"ʼ": "'", "ꞌ": "'", "״": ""})


@dataclass(frozen=True)
class Mark:
    """What espeak-ng's IPA cuts or merges, and its own notation, the mnemonics, keeps.

    Attributes:
        kept: pattern of the mark in a mnemonic.
        cut: pattern of what IPA has in its place.
        written: what is to stand there; None for the mark itself.
    """

    kept: str
    cut: str
    written: Optional[str] = None

    def copy_to(self, phone: str, mnemonic: str) -> str:
        """The phone with the mark of the mnemonic, if there is one."""
        mark = re.search(self.kept, mnemonic)
        return re.sub(self.cut, self.written or mark[0], phone, count=1) if mark else phone


# Mandarin 55 (tone 1) and 51 (tone 4) are both 5 in IPA, and any 3 is ɜ there.
TONE = Mark(kept=r"[0-9]+$", cut=r"[0-9ɜ]*$")
TENSE = Mark(kept=r"-$", cut=r"-?$")
GLOTTAL_STOP = Mark(kept=r"^_!$", cut=r"^$", written="ʔ")
MARKS = {
    "cmn": TONE,
    "gn": GLOTTAL_STOP,
    "haw": GLOTTAL_STOP,
    "ko": TENSE,
    "vi": TONE,
    "yue": TONE,
}


def espeak_phonemizer(code: str) -> Phonemizer:
    """Asks espeak-ng for IPA, without stress, in which tones are kept.

    Raises:
        ValueError: the [phones] extra is not installed, espeak-ng has no such language, or what it
            has cannot be trained on.
    """
    voice = VOICES.get(code, code.partition("-")[0])
    if voice in UNTRAINABLE:
        raise ValueError(
            f"--lang: {code}, but espeak-ng's phones of it cannot be trained on:"
            f" {UNTRAINABLE[voice]}; expected a --lexicon"
        )
    try:
        import espeakng_loader
        from phonemizer.backend.espeak.api import EspeakAPI
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
    except ImportError as error:
        raise ValueError(
            f"--labels phn: {error}, expected the [phones] extra (pip install '.[phones]'),"
            " or a --lexicon"
        ) from None
    # The version that pip installed, with its data: another one may pronounce words otherwise.
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    wrapper = EspeakWrapper()
    # Where two voices have one language, the first is the usual one.
    identifiers = {v.language: v.identifier for v in reversed(wrapper.available_voices())}
    # phonemizer's wrapper gives IPA alone.
    espeak = EspeakAPI(wrapper.library(), wrapper.data_path)
    if voice not in identifiers:
        raise ValueError(
            f"--lang: espeak-ng does not know {voice!r}, expected a --lexicon, or one of"
            f" {', '.join(sorted(identifiers))}"
        )
    espeak.set_voice_by_name(identifiers[voice].encode())
    mark: Optional[Mark] = MARKS.get(voice)

    def read(words: str, notation: int) -> list[list[str]]:
        """The phones of each word; some have nothing to show for themselves in IPA."""
        text = ctypes.pointer(ctypes.c_char_p(words.translate(TYPED).encode()))
        clauses = []
        while text.contents.value is not None:  # espeak-ng moves on by one clause at a time
            clauses.append(espeak.text_to_phonemes(text, UTF8, notation) or b"")
        return [word.split(SEPARATOR) for word in b" ".join(clauses).decode().split()]

    def ask(words: str) -> str:
        spoken = read(words, IPA)
        if any("(" in phone for word in spoken for phone in word):
            # A loan word, or pinyin that its Mandarin lacks and that it then reads in English.
            raise BadText("espeak-ng reads some of it as another language")
        if mark:
            pairs = zip(spoken, read(words, MNEMONICS), strict=True)
            spoken = [list(map(mark.copy_to, *pair)) for pair in pairs]
        phones = STRESS.sub("", " ".join(phone for word in spoken for phone in word)).split()
        if not phones:
            raise BadText("espeak-ng reads nothing of it")
        return " ".join(phones)

    return ask
