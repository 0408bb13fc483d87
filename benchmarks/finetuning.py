"""Finetuning: updates per second, start-up and memory of PARP and of stock audio_finetuning.

Both finetune wav2vec 2.0 base, with random weights, on the same batches of the mini corpus. One run
uses the task parp and re-prunes every 50 updates. The other uses stock fairseq.
"""

import json
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Callable, Dict, List, Optional

import numpy as np
import torch
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq.data import iterators
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models.wav2vec import Wav2Vec2Config, Wav2Vec2Model
from fairseq.trainer import Trainer
from fresh import peak_gb
from omegaconf import OmegaConf
from torch import nn

import parp_fairseq

TASKS = {
    "parp": ["--task", "parp", "--arch", "parp_wav2vec_ctc", "--prune-interval", "50"],
    "stock": ["--task", "audio_finetuning", "--arch", "wav2vec_ctc"],
}


def write_base_encoder(path: Path) -> None:
    """wav2vec 2.0 base with random weights, in the form of a published checkpoint."""
    torch.manual_seed(0)
    cfg = OmegaConf.structured(Wav2Vec2Config(quantize_targets=True, final_dim=256))
    plain = OmegaConf.to_container(cfg, enum_to_str=True).items()
    model = {key: value for key, value in plain if not str(value).startswith("${")}
    state = {
        "args": None,
        "cfg": {
            "model": {**model, "_name": "wav2vec2"},
            "task": {"_name": "audio_pretraining", "data": "", "normalize": False},
            "criterion": None,
            "lr_scheduler": None,
        },
        "model": Wav2Vec2Model(cfg).state_dict(),
        "optimizer_history": [
            {
                "criterion_name": "Wav2vecCriterion",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {},
                "num_updates": 0,
            }
        ],
        "extra_state": {"train_iterator": {"epoch": 1}},
        "last_optimizer_state": None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


def run(task: str, encoder: str, data: str, updates: int) -> Dict:
    """What :func:`finetune` measures of one of ``TASKS``."""
    return finetune(TASKS[task], encoder, data, updates)


def finetune(
    chosen: List[str],
    encoder: str,
    data: str,
    updates: int,
    prepare: Optional[Callable[[nn.Module], None]] = None,
    max_tokens: int = 80_000,
) -> Dict:
    """Seconds of each update, of the start-up before them, and the most memory held, in GB.

    Args:
        chosen: options of the task and the model.
        prepare: called with the model before there is an optimizer.
        max_tokens: samples of audio in a batch, at most.
    """
    start = time.perf_counter()
    # Not by its name: in the root of a checkout, that is the folder there.
    utils.import_user_module(Namespace(user_dir=parp_fairseq.__path__[0]))
    line = [data, *chosen, "--w2v-path", encoder, "--criterion", "ctc", "--labels", "ltr"]
    line += ["--optimizer", "adam", "--lr", "[1e-5]", "--lr-scheduler", "fixed", "--zero-infinity"]
    line += ["--max-tokens", str(max_tokens), "--ddp-backend", "legacy_ddp", "--num-workers", "0"]
    line += ["--max-update", str(updates), "--log-format", "none", "--apply-mask"]
    args = options.parse_args_and_arch(options.get_training_parser(), line)
    cfg = convert_namespace_to_omegaconf(args)
    np.random.seed(1)
    torch.manual_seed(1)
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    if prepare is not None:
        prepare(model)
    trainer = Trainer(cfg, task, model, task.build_criterion(cfg.criterion))
    _, epoch_iterator = checkpoint_utils.load_checkpoint(cfg.checkpoint, trainer)
    seconds = [time.perf_counter() - start]
    while trainer.get_num_updates() < updates:
        trainer.begin_epoch(epoch_iterator.epoch)
        batches = epoch_iterator.next_epoch_itr(shuffle=True)
        for samples in iterators.GroupedIterator(batches, 1):
            if trainer.get_num_updates() == updates:
                break
            begun = time.perf_counter()
            trainer.train_step(samples)
            seconds.append(time.perf_counter() - begun)
    return {"startup": seconds[0], "first": seconds[1], "seconds": seconds[2:], "gb": peak_gb()}


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[2]))))
