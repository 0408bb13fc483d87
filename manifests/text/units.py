"""Sentencepiece units of words: training a model, and writing the labels of each split."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import sentencepiece
from manifest.writing import replacing, write_dictionary, write_labels


def train(words: Sequence[str], vocab_size: int) -> sentencepiece.SentencePieceProcessor:
    """A unigram model without symbols for the ends of sentences, which CTC does not use.

    Raises:
        ValueError: the words do not give so many units.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(words),
            model_writer=model,
            vocab_size=vocab_size,
            character_coverage=1.0,
            # Not NFKC, the default: the units are to spell the words to the letter.
            normalization_rule_name="identity",
            bos_id=-1,
            eos_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2]
        raise ValueError(f"--vocab-size {vocab_size} does not suit these words: {reason}") from None
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


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
    # Letters that the training split lacks are units of their own, together if they come so.
    heard_later = (line for split, lines in units.items() if split != "train" for line in lines)
    write_dictionary(data, "spm", units["train"], [*pieces, *heard_later])
    with replacing(data / "spm.model") as temporary:
        temporary.write_bytes(model.serialized_model_proto())
    for split, lines in units.items():
        write_labels(data, split, "spm", lines)
