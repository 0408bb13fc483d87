"""Words as phones: by a lexicon, or by espeak-ng."""

import logging
from collections.abc import Callable

from text.lexicon import lexicon_phonemizer  # noqa: F401
from text.sentences import BadText

# "phones" of "words"; raises BadText where there are none. All are separated by one space.
Phonemizer = Callable[[str], str]

# espeak-ng's names of languages, where they are not the first part of CommonVoice's.
VOICES = {"en": "en-us", "fr": "fr-fr", "zh-CN": "cmn", "zh-HK": "yue", "zh-TW": "cmn"}


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
