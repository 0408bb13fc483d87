"""Sentencepiece units of words: training a model, and writing the labels of each split."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

import sentencepiece
from manifest.writing import replacing, write_dictionary, write_labels

DEFAULT_SIZE = 100


def train(words: Sequence[str], vocab_size: Optional[int]) -> sentencepiece.SentencePieceProcessor:
    """A unigram model without symbols for the ends of sentences, which CTC does not use.

    Args:
        words: transcripts.
        vocab_size: number of units. None stands for 100, or as many as the words allow; if these
            are fewer, a line says how many.

    Raises:
        ValueError: the words do not allow so many or so few units. The message says how many do.
    """
    if not any(line.split() for line in words):
        raise ValueError("no words, expected some to train sentencepiece units on")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(words),
            model_writer=model,
            vocab_size=vocab_size or DEFAULT_SIZE,
            hard_vocab_limit=vocab_size is not None,
            character_coverage=1.0,
            # Not NFKC, the default: the units are to spell the words to the letter.
            normalization_rule_name="identity",
            bos_id=-1,
            eos_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(f"{_size(vocab_size)}: {_reason(error)}") from None
    units = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    if units.get_piece_size() < (vocab_size or DEFAULT_SIZE):
        print(f"sentencepiece: {units.get_piece_size()} units, as many as the words allow")
    return units


def _size(vocab_size: Optional[int]) -> str:
    return (
        f"--vocab-size: {vocab_size}" if vocab_size else f"--vocab-size: {DEFAULT_SIZE} (default)"
    )


def _reason(error: RuntimeError) -> str:
    """What a message of sentencepiece says in terms of the option."""
    if greatest := re.search(r"value <= ([0-9]+)", str(error)):
        return f"expected no more than the {greatest[1]} units that the words allow"
    if least := re.search(r"required_chars. [0-9]+ vs ([0-9]+)", str(error)):
        return f"expected no fewer than {least[1]}, one for each letter and two more"
    return str(error).rpartition("] ")[2]


def write_units(
    data: Path, model: sentencepiece.SentencePieceProcessor, words: Mapping[str, Sequence[str]]
) -> None:
    """Writes the units of each split's words, the dictionary of all units, and the model."""
    units = {
        split: [" ".join(line) for line in model.encode(list(lines), out_type=str)]
        for split, lines in words.items()
    }
    pieces = (
        model.id_to_piece(i) for i in range(model.get_piece_size()) if not model.is_unknown(i)
    )
    # Letters that the training split lacks become units; adjacent ones become one unit.
    heard_later = (line for split, lines in units.items() if split != "train" for line in lines)
    write_dictionary(data, "spm", units["train"], [*pieces, *heard_later])
    with replacing(data / "spm.model") as temporary:
        temporary.write_bytes(model.serialized_model_proto())
    for split, lines in units.items():
        write_labels(data, split, "spm", lines)
