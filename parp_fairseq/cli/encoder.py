"""``parp encoder``: make an encoder file from a pre-training checkpoint."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .parsing.options import add_output

HELP = "make an encoder file from a pre-training checkpoint"
DESCRIPTION = """\
Make the file that model.w2v_path takes from a checkpoint of pre-training.

CHECKPOINT is a HuBERT (recipes/pretraining/masked_prediction.yaml) or a wav2vec 2.0
(recipes/pretraining/contrastive.yaml) that fairseq-hydra-train wrote. The encoder file holds its
settings and fp32 weights, without the optimizer and what only pre-training needs. It is always a
wav2vec 2.0, which stock wav2vec_ctc finetunes."""
EXAMPLES = """\
  parp encoder /runs/pretraining/checkpoint_last.pt -o encoder.pt

Then finetune it: model.w2v_path="$PWD/encoder.pt" """


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint of pre-training"
    )
    add_output(parser, "ENCODER.pt")
    parser.add_argument(
        "--half", action="store_true", help="write the weights in fp16: half the size"
    )


def run(args: Namespace) -> None:
    import torch

    from parp_fairseq.models.pretrained import finetunable
    from parp_fairseq.pruning.plain_file import load_plain
    from parp_fairseq.pruning.replacing import replacing

    from .files.writable import require_writable

    require_writable("--output", args.output, [".pt"])
    with args.checkpoint.open("rb"):  # a missing file is named
        pass
    try:
        state = load_plain(args.checkpoint)
    except ValueError as error:
        raise ValueError(f"{args.checkpoint}: {error}") from None
    exported = finetunable(state, str(args.checkpoint))
    if args.half:
        exported["model"] = {name: weight.half() for name, weight in exported["model"].items()}
    with replacing(args.output) as temporary:
        torch.save(exported, temporary)
    count = sum(weight.numel() for weight in exported["model"].values())
    print(f"{args.output}: {count:,} weights")
