"""Tokenizers of ``transformers`` that decode a CTC path to the words that fairseq prints."""

import json
from pathlib import Path
from typing import Dict, Sequence

WORD_END = "|"
WORD_START = "▁"
_NAMES = {"<s>": "<pad>", "<pad>": "<s>"}
_SPACES = 1000  # at either end of a transcript: more than there are


def make_tokenizer(symbols: Sequence[str], folder: Path):
    """A tokenizer for the symbols of a target dictionary.

    Letters (with ``|`` at the end of words) get a ``Wav2Vec2CTCTokenizer``. Phones, which are
    printed with spaces between them, get a ``Wav2Vec2PhonemeCTCTokenizer``. For units of
    sentencepiece neither decodes to words, and the tokenizer is made of the parts of
    ``tokenizers``; it takes units with spaces between them, as .spm files hold them.

    Args:
        symbols: those of the dictionary, in order; the blank is the first.
        folder: where the tokenizer may write its vocabulary.
    """
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2PhonemeCTCTokenizer

    vocabulary = ctc_vocabulary(symbols)
    if any(symbol.startswith(WORD_START) for symbol in symbols):
        return _of_units(vocabulary)
    file = folder / "vocab.json"
    file.write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    if WORD_END in vocabulary:
        return Wav2Vec2CTCTokenizer(str(file), word_delimiter_token=WORD_END)
    # The delimiter of words is none of the symbols. Without one the tokenizer complains each time.
    return Wav2Vec2PhonemeCTCTokenizer(str(file), do_phonemize=False, word_delimiter_token=WORD_END)


def ctc_vocabulary(symbols: Sequence[str]) -> Dict[str, int]:
    """Symbols and their indices, by the names of ``transformers``.

    fairseq's CTC blank is ``<s>``, that of ``transformers`` is ``<pad>``: they change places, and
    the indices stay.

    Raises:
        ValueError: a symbol is there twice.
    """
    vocabulary: Dict[str, int] = {}
    for index, symbol in enumerate(symbols):
        if symbol in symbols[:index]:
            raise ValueError(f"symbol {symbol!r} is in the dictionary twice, expected once")
        vocabulary[_NAMES.get(symbol, symbol)] = index
    return vocabulary


def _of_units(vocabulary: Dict[str, int]):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.decoder = decoders.Sequence(
        [
            decoders.CTC(pad_token="<pad>", word_delimiter_token=WORD_START, cleanup=False),
            decoders.Replace(WORD_START, " "),
            decoders.Fuse(),
            decoders.Strip(" ", _SPACES, _SPACES),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )
