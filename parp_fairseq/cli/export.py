"""``parp export``: a finetuned checkpoint as a folder for ``transformers``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "write a finetuned checkpoint as a Hugging Face folder"
DESCRIPTION = """\
Write a finetuned checkpoint as a folder that transformers loads with from_pretrained.

The folder holds the weights of a Wav2Vec2ForCTC as safetensors, the tokenizer, the feature
extractor and a model card. It needs no code of this project. Zeros stay zeros. Letters, phones and
units of sentencepiece decode to what fairseq-generate prints. Needs transformers
(pip install 'parp_fairseq[hf]')."""
EXAMPLES = """\
  parp export checkpoint_best.pt my-model
  parp export checkpoint_best.pt my-model --error-rate "WER 12.3 % on test-other" \\
      --license cc-by-4.0"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="finetuned checkpoint of fairseq, or with --dictionary a pre-trained encoder, which "
        "gets a new head to be trained",
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="folder to write; it must be new or empty"
    )
    parser.add_argument(
        "--dictionary",
        type=Path,
        metavar="FILE",
        help="dict.ltr.txt that the checkpoint was trained with, or that a new head is made for; "
        "only published checkpoints and encoders need it, because others hold theirs (default: the "
        "one in the checkpoint)",
    )
    parser.add_argument(
        "--error-rate",
        metavar="TEXT",
        help="error rate for the model card, with the name of the test set (default: not measured)",
    )
    parser.add_argument(
        "--license",
        metavar="ID",
        help="licence for the model card, by its identifier on the Hugging Face hub, such as "
        "cc-by-4.0 (default: left to fill in)",
    )


def run(args: Namespace) -> None:
    from tabulate import tabulate

    from .parsing.extras import require_transformers

    require_transformers()
    from parp_fairseq.huggingface.exporting import describe_sparsity, export
    from parp_fairseq.huggingface.finetuned import Finetuned
    from parp_fairseq.pruning import Mask

    from .files.dictionary import read_dictionary
    from .files.reading import load
    from .files.writable import require_writable_folder

    require_writable_folder("DIR", args.folder)
    symbols = read_dictionary(args.dictionary) if args.dictionary else None
    checkpoint = load(args.checkpoint)
    if isinstance(checkpoint, Mask):
        raise ValueError(f"{args.checkpoint} is a mask: expected a checkpoint")
    checkpoint.require_one_subnetwork()
    try:
        model = Finetuned.of(checkpoint.state, symbols)
        sparsity = describe_sparsity(model)
    except ValueError as error:
        raise ValueError(f"{args.checkpoint}: {error}") from None
    export(model, args.folder, args.error_rate, args.license)
    facts = [
        ("folder", args.folder),
        ("symbols", len(model.symbols)),
        ("normalised audio", "yes" if model.normalize else "no"),
        ("sparsity", sparsity),
    ]
    print(tabulate(facts, tablefmt="plain", disable_numparse=True))
