"""``parp shrink``: a checkpoint without the channels that were pruned."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .parsing.options import add_output

HELP = "take pruned channels out of a checkpoint"
DESCRIPTION = """\
Take the hidden channels of the feed-forward layers that are zero out of a finetuned checkpoint.

The result is a smaller and faster wav2vec_ctc with the same output. Stock fairseq evaluates and
finetunes it without this plugin, and parp export and parp transcribe take it like any other. A
HuBERT becomes a smaller parp_hubert_ctc, which needs --user-dir parp_fairseq. Train
with task.prune_pattern=ffn_channels to prune whole channels: the other patterns leave hardly any
channel without a weight."""
EXAMPLES = """\
  parp shrink checkpoint_best.pt -o small.pt"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="finetuned checkpoint of fairseq"
    )
    add_output(parser, "SMALL.pt")


def run(args: Namespace) -> None:
    import torch
    from tabulate import tabulate

    from parp_fairseq.pruning.replacing import replacing

    from .files.checkpoint import require_one_subnetwork
    from .files.shrinkable import load_shrinkable, shrunk_state
    from .files.writable import require_writable

    require_writable("--output", args.output, [".pt"])
    state = load_shrinkable(args.checkpoint)
    require_one_subnetwork(args.checkpoint, state["model"])
    try:
        small, shrunk = shrunk_state(state)
    except ValueError as error:
        raise ValueError(f"{args.checkpoint}: {error}") from None
    if shrunk.before == shrunk.after:
        raise ValueError(
            f"{args.checkpoint} has no channel to take out: all {shrunk.before} hidden channels of "
            "some feed-forward layer have weights; expected a checkpoint that was trained with "
            "task.prune_pattern=ffn_channels"
        )
    with replacing(args.output) as partial:
        torch.save(small, partial)
    before, after = (sum(w.numel() for w in one["model"].values()) for one in (state, small))
    facts = [
        ("checkpoint", args.output),
        ("hidden channels", f"{shrunk.after:,} of {shrunk.before:,} in each layer"),
        ("weights", f"{after:,} of {before:,} ({after / before:.1%})"),
    ]
    print(tabulate(facts, tablefmt="plain", disable_numparse=True))
