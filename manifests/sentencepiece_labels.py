"""Adds sentencepiece units to a folder of manifests: {split}.spm, dict.spm.txt and spm.model.

The units are trained on the words of the training split alone.
"""

import argparse
from pathlib import Path

from cli.options import above, run
from manifest.lines import read_lines
from text.units import train, write_units

EPILOG = """\
DATA is a folder that another script here wrote. Then finetune and evaluate with

  fairseq-hydra-train ... task.labels=spm criterion.post_process=sentencepiece
  fairseq-generate ... --labels spm --post-process sentencepiece

examples:
  python manifests/sentencepiece_labels.py data/fsdd
  python manifests/sentencepiece_labels.py data/es --vocab-size 200
"""


def read_words(data: Path) -> dict[str, list[str]]:
    """The transcripts of each split, from its .wrd file.

    Raises:
        ValueError: there is no training split, a file is not UTF-8, or there are no words.
    """
    words = {path.stem: list(read_lines(path)) for path in sorted(data.glob("*.wrd"))}
    if "train" not in words:
        raise ValueError(
            f"{data / 'train.wrd'}: not found, expected the words of the training split"
        )
    return words


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
        "--vocab-size",
        type=above(int, 0),
        metavar="N",
        help="number of units (default: 100, or as many as the words allow if these are fewer)",
    )
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
