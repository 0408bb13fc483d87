"""From a task of GLUE to the data of parp_sentence_prediction: sentences and their classes.

The official validation set becomes the test set, because GLUE keeps the classes of its test sets
secret. The validation set is drawn from the training set.
"""

import argparse
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from cli.options import above, corpus_parser, names, run
from sentences.table import Example, read_examples
from sentences.vocabulary import DICTIONARY, Pieces

LONGEST = 512  # pieces that a BERT reads
SPLITS = ("train", "valid", "test")

EPILOG = """\
SOURCE is a folder with train.tsv and dev.tsv: tables with a header whose columns are separated by
tabs. The columns of SST-2, MRPC, QNLI, QQP, RTE and WNLI are known; name others with --columns. A
task with two columns of sentences is one of pairs.

ENCODER is the folder that manifests/bert.py wrote. Its tokenizer splits the sentences into pieces.

Of the training set, examples with the sentences of an earlier one or of the test set are left out.
The rest is shuffled. The first examples are the validation set, and the next ones the training set,
so a smaller training set is a part of a larger one.

DEST gets input0/, input1/ for pairs, and label/, each with {train,valid,test}.{bin,idx} and
dict.txt. The same options give the same bytes. Set task.num_classes to the number that is printed.

examples:
  python manifests/glue.py SST-2 data/sst2 --encoder models/minilm
  python manifests/glue.py SST-2 data/sst2-2000 --encoder models/minilm --sentences 2000
  python manifests/glue.py RTE data/rte --encoder models/minilm --valid 250
"""


def draw(
    train: Sequence[Example], test: Sequence[Example], valid: int, count: Optional[int], seed: int
) -> tuple[dict[str, list[Example]], int]:
    """Draws the validation set and the training set.

    Args:
        valid: examples of the validation set.
        count: examples of the training set; None takes all that are left.

    Returns:
        The examples of each split, and how many were left out because of their sentences.

    Raises:
        ValueError: there are not enough examples.
    """
    seen = {example.sentences for example in test}
    usable = []
    for example in train:
        if example.sentences not in seen:
            seen.add(example.sentences)
            usable.append(example)
    random.Random(seed).shuffle(usable)
    left = len(usable) - valid
    if left < (count or 1):
        option = f"--sentences {count}" if count and left > 0 else f"--valid {valid}"
        raise ValueError(
            f"{option}: expected no more examples than there are: {len(usable)} for train and valid"
        )
    drawn = {
        "train": usable[valid : None if count is None else valid + count],
        "valid": usable[:valid],
        "test": list(test),
    }
    return drawn, len(train) - len(usable)


def prepare(args: argparse.Namespace) -> None:
    """Writes the three splits. Bad tables and options are refused before that."""
    train = read_examples(args.source / args.train, args.columns)
    test = read_examples(args.source / args.test, args.test_columns or args.columns)
    classes = sorted({example.label for example in train})
    unknown = sorted({example.label for example in test} - set(classes))
    if unknown:
        raise ValueError(
            f"{args.source / args.test}: class {unknown[0]!r}, expected those of the training set,"
            f" {', '.join(classes)}; a test set of GLUE has no classes"
        )
    inputs = len(train[0].sentences)
    if len(test[0].sentences) != inputs:
        raise ValueError(
            f"--test-columns: {len(test[0].sentences)} columns of sentences, expected {inputs}"
        )
    drawn, left_out = draw(train, test, args.valid, args.sentences, args.seed)
    encoder = args.encoder if args.encoder.is_dir() else args.encoder.parent
    pieces = Pieces(encoder)
    split_into: dict[str, list[list[list[str]]]] = {}
    for split, examples in drawn.items():
        columns = zip(*(example.sentences for example in examples))
        split_into[split] = [pieces.split(list(column)) for column in columns]
        for example, *parts in zip(examples, *split_into[split]):
            length = sum(map(len, parts)) + len(parts) + 1
            if length > LONGEST:
                raise ValueError(
                    f"{args.source}: {length} pieces in {example.sentences[0][:40]!r}..., expected"
                    f" at most {LONGEST}"
                )
    _write(args.dest, drawn, split_into, pieces.dictionary, classes)
    print(f"left out of train: {left_out} examples with sentences that were there before")
    for split, examples in drawn.items():
        counts = Counter(example.label for example in examples)
        shares = ", ".join(f"{label}: {counts[label]}" for label in classes)
        print(f"{split}: {len(examples)} examples ({shares})")
    print(f"task.num_classes={len(classes)}")


def _write(
    dest: Path,
    drawn: dict[str, list[Example]],
    split_into: dict[str, list[list[list[str]]]],
    dictionary: list[str],
    classes: list[str],
) -> None:
    from sentences.binarized import Binarized  # imports fairseq, which takes seconds

    inputs = len(split_into["train"])
    # An interrupted run must not leave an old split beside a new one.
    for key in ("label", "input0", "input1"):
        for path in (dest / key).glob("*.*"):
            if path.name == DICTIONARY or path.stem in SPLITS:
                path.unlink()
    for place in range(inputs):
        folder = Binarized(dest / f"input{place}", dictionary)
        for split, columns in split_into.items():
            folder.write(split, columns[place])
    counts = Counter(example.label for example in drawn["train"])
    labels = Binarized(dest / "label", [f"{label} {counts[label]}" for label in classes])
    for split, examples in drawn.items():
        labels.write(split, [[example.label] for example in examples])


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = corpus_parser(__doc__, EPILOG, "folder of a task of GLUE")
    add = parser.add_argument
    count = above(int, 0)
    add(
        "--encoder",
        type=Path,
        required=True,
        metavar="ENCODER",
        help="folder with dict.txt and tokenizer.json, or the encoder.pt beside them",
    )
    add("--train", default="train.tsv", metavar="FILE", help="in SOURCE; default: %(default)s")
    add("--test", default="dev.tsv", metavar="FILE", help="in SOURCE; default: %(default)s")
    add(
        "--columns",
        type=names,
        metavar="A,B",
        help="one or two columns with sentences and the one with the class; default: as in GLUE",
    )
    add("--test-columns", type=names, metavar="A,B", help="of the test file; default: --columns")
    add(
        "--sentences",
        type=count,
        metavar="N",
        help="examples of the training set; default: all that the validation set leaves",
    )
    add(
        "--valid",
        type=count,
        default=1000,
        metavar="N",
        help="examples to hold out from the training set; default: %(default)s",
    )
    add("--seed", type=int, default=1, metavar="N", help="of the drawing; default: 1")
    run(parser, prepare, argv)


if __name__ == "__main__":
    main()
