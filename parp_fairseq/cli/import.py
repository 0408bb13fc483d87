"""``parp import``: a pre-trained wav2vec 2.0 of ``transformers`` as a file for ``w2v_path``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .parsing.options import add_output

HELP = "write a Hugging Face wav2vec 2.0 as a file for model.w2v_path"
DESCRIPTION = """\
Write a pre-trained wav2vec 2.0 of transformers as the file that model.w2v_path takes.

Weights are read from safetensors. A pytorch_model.bin is read too if it holds tensors only; a file
that would run code is refused. The quantizer comes along where there is one, a CTC head is left
out. Finetune with task.normalize as it is printed. Needs transformers
(pip install 'parp_fairseq[hf]')."""
EXAMPLES = """\
  parp import wav2vec2-base -o wav2vec2-base.pt
  parp import wav2vec2-base/model.safetensors -o wav2vec2-base.pt --normalize false"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=Path,
        metavar="DIR_OR_FILE",
        help="folder with config.json and model.safetensors, or a file of weights beside its "
        "config.json",
    )
    add_output(parser, "ENCODER.pt")
    parser.add_argument(
        "--normalize",
        choices=("true", "false"),
        help="whether the encoder was pre-trained on normalised audio (default: do_normalize of "
        "preprocessor_config.json)",
    )


def run(args: Namespace) -> None:
    from tabulate import tabulate

    from .parsing.extras import require_transformers

    require_transformers()
    from parp_fairseq.huggingface.importing import Imported

    from .files.writable import require_writable

    require_writable("--output", args.output, [".pt"])
    imported = Imported(args.source, args.normalize and args.normalize == "true")
    imported.save(args.output)
    facts = [
        ("encoder", args.output),
        ("weights", f"{sum(weight.numel() for weight in imported.encoder.values()):,}"),
        ("quantizer", "yes" if imported.architecture.quantizer else "no"),
        ("finetune with", f"task.normalize={str(imported.normalize).lower()}"),
    ]
    if imported.dropped:
        facts.append(("left out", ", ".join(imported.dropped)))
    print(tabulate(facts, tablefmt="plain", disable_numparse=True))
