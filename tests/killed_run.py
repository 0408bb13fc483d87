"""fairseq-hydra-train, sent SIGNAL (as KILL or TERM) inside the n-th of what MOMENT names.

usage: python killed_run.py SIGNAL MOMENT N [arguments of fairseq-hydra-train]
"""

import io
import os
import pydoc
import signal
import sys
from pathlib import Path

from fairseq.trainer import Trainer
from fairseq_cli.hydra_train import cli_main


def half_a_prune(mask, params, *_) -> None:
    for name in list(params)[: len(params) // 2]:
        params[name].data[~mask[name]] = 0


def half_a_replacement(mask, before, params, source) -> None:
    for name in list(params)[: len(params) // 2]:
        params[name].data.copy_(source[name] * mask[name])


def half_a_save(state, file, *_) -> None:
    whole = io.BytesIO()
    original(state, whole)
    file.write(whole.getvalue()[: whole.tell() // 2])
    file.flush()


def half_a_copy(source, target) -> None:
    content = Path(source).read_bytes()
    Path(target).write_bytes(content[: len(content) // 2])


def nothing(*_, **__) -> None:
    pass


MOMENTS = {
    "prune": ("parp_fairseq.pruning.mask.Mask", "apply_", half_a_prune),
    "replacement": ("parp_fairseq.pruning.mask.Mask", "replace_", half_a_replacement),
    "save": ("torch", "save", half_a_save),
    "copy": ("shutil", "copyfile", half_a_copy),
    "update": ("fairseq.trainer.Trainer", "train_step", nothing),
    "validation": ("fairseq.trainer.Trainer", "valid_step", nothing),
    "optimizer step": ("fairseq.optim.adam.FairseqAdam", "step", nothing),
}

number = signal.Signals["SIG" + sys.argv.pop(1)]
moment, left = sys.argv.pop(1), int(sys.argv.pop(1))
owner_name, name, begin = MOMENTS[moment]
original = None


def count_down(*args, **kwargs):
    global left
    left -= 1
    if left == 0:
        begin(*args, **kwargs)
        os.kill(os.getpid(), number)
    return original(*args, **kwargs)


def arm_and_build(trainer, *args, **kwargs):
    """Not before there is a trainer: only then has fairseq imported its user dir."""
    global original
    owner = pydoc.locate(owner_name)
    original = getattr(owner, name)
    setattr(owner, name, count_down)
    return build(trainer, *args, **kwargs)


build, Trainer.__init__ = Trainer.__init__, arm_and_build
cli_main()
