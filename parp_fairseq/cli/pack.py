"""``parp pack``: a finetuned checkpoint as what differs from its encoder."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .parsing.options import add_corpus, add_output

HELP = "a finetuned checkpoint as what differs from its encoder"
DESCRIPTION = """\
Store a finetuned checkpoint as what differs from the encoder that it was trained from.

A learned mask takes one bit for each weight. A finetuned subnetwork takes one bit for each weight
and the values that are not zero. The CTC head is stored whole. The file also holds the settings and
the dictionary, so that `parp unpack` needs nothing but the encoder to make a checkpoint again, with
the same weights bit for bit. What only training needs is left out: optimizer, scores, and the
weights under the mask.

A checkpoint of task.mask_per_corpus=true holds a subnetwork for each corpus over shared weights.
--corpus packs one of them. With the checkpoint itself as --base, each takes one bit for each
weight. Without --corpus the pack holds what one mask or another keeps.

Without --base the file stands alone, and holds all values that are not zero."""
EXAMPLES = """\
  parp pack es/checkpoint_best.pt --base xlsr_53_56k.pt -o es.safetensors
  parp pack s3_router_p/checkpoint_best.pt --base dense/checkpoint_best.pt -o pruned.safetensors
  parp pack parp/checkpoint_best.pt -o alone.safetensors
  parp pack shared.pt --corpus es --base shared.pt -o es.safetensors
  parp info es.safetensors"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="fairseq checkpoint")
    parser.add_argument(
        "--base",
        type=Path,
        metavar="ENCODER",
        help="the checkpoint that the weights are stored as a difference to: the pre-trained "
        "encoder, or the finetuned model that a mask was learned over (default: none)",
    )
    add_corpus(parser, "pack the subnetwork of this corpus")
    add_output(parser, "PACK.safetensors")


def run(args: Namespace) -> None:
    from tabulate import tabulate

    from parp_fairseq.pruning.pack import Pack

    from .files.packing import describe, read_weights, settings_of
    from .files.writable import require_writable

    require_writable("--output", args.output, [".safetensors"])
    checkpoint = read_weights(args.checkpoint)
    corpora = list(checkpoint.masks)
    if args.corpus is not None:
        checkpoint = checkpoint.subnetwork(args.corpus)
    base = None if args.base is None else read_weights(args.base).state["model"]
    settings = settings_of(checkpoint, args.base)
    try:
        pack = Pack.of(checkpoint.state["model"], base, settings)
    except ValueError as error:
        raise ValueError(f"{args.checkpoint}: {error}") from None
    pack.save(args.output)
    dense = sum(w.numel() * w.element_size() for w in checkpoint.state["model"].values())
    size = args.output.stat().st_size
    facts = [
        ("pack", args.output),
        *([("corpus", args.corpus or f"all: {', '.join(corpora)}")] if corpora else []),
        *describe(pack),
        ("size", f"{size:,} bytes, {size / dense:.1%} of the checkpoint's weights"),
    ]
    print(tabulate(facts, tablefmt="plain", disable_numparse=True))
