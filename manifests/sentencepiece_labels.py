"""Adds sentencepiece units to a folder of manifests: {split}.spm, dict.spm.txt and spm.model.

The units are trained on the words of the training split alone.
"""

import argparse
import io
from collections import Counter
from pathlib import Path

import sentencepiece
from manifest import replacing

EPILOG = """\
DATA is a folder that another script here wrote. Then finetune and evaluate with

  fairseq-hydra-train ... task.labels=spm criterion.post_process=sentencepiece
  fairseq-generate ... --labels spm --post-process sentencepiece

example:
  python manifests/sentencepiece_labels.py data/fsdd --vocab-size 40
"""


def train(words: list[str], vocab_size: int) -> sentencepiece.SentencePieceProcessor:
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
            bos_id=-1,
            eos_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2]
        raise ValueError(f"--vocab-size {vocab_size} does not suit these words: {reason}") from None
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def write_labels(data: Path, vocab_size: int) -> dict[str, int]:
    """Write the files; returns the utterances of each split."""
    transcripts = {path.stem: path for path in sorted(data.glob("*.wrd"))}
    if "train" not in transcripts:
        raise ValueError(
            f"{data / 'train.wrd'}: not found, expected the words of the training split"
        )
    words = {
        split: path.read_text(encoding="utf-8").splitlines() for split, path in transcripts.items()
    }
    model = train(words["train"], vocab_size)
    pieces = {split: model.encode(lines, out_type=str) for split, lines in words.items()}
    counts = Counter(piece for line in pieces["train"] for piece in line)
    units = [model.id_to_piece(i) for i in range(model.get_piece_size()) if not model.is_unknown(i)]
    ranked = sorted(units, key=lambda unit: (-counts[unit], unit))
    _write(data / "dict.spm.txt", "".join(f"{unit} {counts[unit]}\n" for unit in ranked).encode())
    _write(data / "spm.model", model.serialized_model_proto())
    for split, lines in pieces.items():
        text = "".join(" ".join(line) + "\n" for line in lines)
        _write(data / f"{split}.spm", text.encode())
    return {split: len(lines) for split, lines in words.items()}


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


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
    args = parser.parse_args(argv)
    try:
        counts = write_labels(args.data, args.vocab_size)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    for split, lines in counts.items():
        print(f"{split}: {lines} utterances")


if __name__ == "__main__":
    main()
