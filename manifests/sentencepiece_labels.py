"""Adds sentencepiece units to a folder of manifests: {split}.spm, dict.spm.txt and spm.model.

The units are trained on the words of the training split alone.
"""

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import sentencepiece
from command import run
from lines import read_lines
from manifest import replacing, write_dictionary, write_labels

EPILOG = """\
DATA is a folder that another script here wrote. Then finetune and evaluate with

  fairseq-hydra-train ... task.labels=spm criterion.post_process=sentencepiece
  fairseq-generate ... --labels spm --post-process sentencepiece

example:
  python manifests/sentencepiece_labels.py data/fsdd --vocab-size 40
"""


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


def read_words(data: Path) -> dict[str, list[str]]:
    """The transcripts of each split, from its .wrd file.

    Raises:
        ValueError: there is no training split, or a file is not UTF-8.
    """
    words = {path.stem: list(read_lines(path)) for path in sorted(data.glob("*.wrd"))}
    if "train" not in words:
        raise ValueError(
            f"{data / 'train.wrd'}: not found, expected the words of the training split"
        )
    return words


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


def prepare(args: argparse.Namespace) -> None:
    words = read_words(args.data)
    write_units(args.data, train(words["train"], args.vocab_size), words)
    for split, lines in words.items():
        print(f"{split}: {len(lines)} utterances")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", metavar="DATA", type=Path, help="folder of manifests with .wrd files"
    )
    parser.add_argument(
        "--vocab-size", type=int, default=100, metavar="N", help="units (default: %(default)s)"
    )
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
