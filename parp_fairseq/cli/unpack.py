"""``parp unpack``: a checkpoint for fairseq, from a pack and its encoder."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .parsing.options import add_output

HELP = "a checkpoint for fairseq, from a pack and its encoder"
DESCRIPTION = """\
Make a checkpoint of fairseq from a file that `parp pack` wrote.

Its weights are those of the packed checkpoint, bit for bit. fairseq-generate reads it without the
plugin, too, where the packed checkpoint was one of wav2vec_ctc; and training can start from it with
checkpoint.finetune_from_model. It is no state of training that could be resumed."""
EXAMPLES = """\
  parp unpack es.safetensors --base xlsr_53_56k.pt -o es.pt
  parp unpack alone.safetensors -o checkpoint.pt"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("pack", type=Path, metavar="PACK", help="file that parp pack wrote")
    parser.add_argument(
        "--base",
        type=Path,
        metavar="ENCODER",
        help="the checkpoint that was given to parp pack as --base; another one is refused",
    )
    add_output(parser, "CHECKPOINT.pt")


def run(args: Namespace) -> None:
    from tabulate import tabulate

    from .files.packing import read_pack, read_weights, write_checkpoint
    from .files.writable import require_writable

    require_writable("--output", args.output, [".pt"])
    pack = read_pack(args.pack)
    base = None if args.base is None else read_weights(args.base).state["model"]
    try:
        weights = pack.unpack(base)
        write_checkpoint(args.output, weights, pack.settings)
    except ValueError as error:
        raise ValueError(f"pack {args.pack}: {error}") from None
    facts = [("checkpoint", args.output), ("weights", f"digest {pack.digest}, as packed")]
    print(tabulate(facts, tablefmt="plain", disable_numparse=True))
