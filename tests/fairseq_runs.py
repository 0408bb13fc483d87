"""Runs of the real fairseq on networks and corpora made small, for the tests to look at."""

import logging
import shutil
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np
import soundfile
import torch
from fairseq import checkpoint_utils, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq.models.wav2vec import Wav2Vec2Config, Wav2Vec2Model
from fairseq.trainer import Trainer
from fairseq_cli import generate, train
from omegaconf import OmegaConf

SAMPLE_RATE = 16000
WORDS = ("AB", "CAB", "BAD", "DAB", "ADA")

# What else published checkpoints hold, and fairseq will not load them without.
_HISTORY = {
    "optimizer_history": [
        {
            "criterion_name": "Wav2vecCriterion",
            "optimizer_name": "FairseqAdam",
            "lr_scheduler_state": {},
            "num_updates": 400000,
        }
    ],
    "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
    "last_optimizer_state": None,
}


def write_encoder(path: Path, seed: int = 0, large: bool = False, **changes) -> Path:
    """A random wav2vec 2.0 checkpoint in the form of the published ones that hold a ``cfg``.

    ``large`` has what sets wav2vec 2.0 large and XLSR-53 apart: layer norms in the feature
    extractor and before each block, and normalised input.
    """
    torch.manual_seed(seed)
    model_cfg = OmegaConf.structured(Wav2Vec2Config())
    settings = dict(
        conv_feature_layers="[(16, 10, 5)] + [(16, 8, 4)] + [(16, 4, 4)] * 2",
        extractor_mode="layer_norm" if large else "default",
        layer_norm_first=large,
        conv_bias=large,
        encoder_layers=2,
        encoder_embed_dim=16,
        encoder_ffn_embed_dim=32,
        encoder_attention_heads=2,
        final_dim=8,
        quantize_targets=True,
        latent_vars=8,
        conv_pos=8,
        conv_pos_groups=2,
    )
    settings.update(changes)
    for key, value in settings.items():
        model_cfg[key] = value
    model = Wav2Vec2Model(model_cfg)
    container = {
        key: value
        for key, value in OmegaConf.to_container(model_cfg, enum_to_str=True).items()
        if not str(value).startswith("${")
    }
    task = {"_name": "audio_pretraining", "data": "", "normalize": large}
    cfg = {
        "model": {**container, "_name": "wav2vec2"},
        "task": task,
        "criterion": None,
        "lr_scheduler": None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"args": None, "cfg": cfg, "model": model.state_dict(), **_HISTORY}, path)
    return path


def write_corpus(folder: Path, split: str, utterances: int, seed: int = 0) -> Path:
    """Noise of 0.4 to 0.8 s with random words, as a manifest with letters, words and phones."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tsv, words = [str(folder)], []
    for index in range(utterances):
        frames = int(rng.integers(int(0.4 * SAMPLE_RATE), int(0.8 * SAMPLE_RATE)))
        name = f"{split}-{index}.wav"
        soundfile.write(folder / name, 0.1 * rng.standard_normal(frames), SAMPLE_RATE)
        tsv.append(f"{name}\t{frames}")
        words.append(" ".join(rng.choice(WORDS, size=2)))
    letters = [" ".join(sentence.replace(" ", "|")) + " |" for sentence in words]
    (folder / f"{split}.tsv").write_text("\n".join(tsv) + "\n")
    (folder / f"{split}.wrd").write_text("\n".join(words) + "\n")
    (folder / f"{split}.ltr").write_text("\n".join(letters) + "\n")
    phones = [" ".join(sentence.replace(" ", "").lower()) for sentence in words]
    (folder / f"{split}.phn").write_text("\n".join(phones) + "\n")
    (folder / "dict.ltr.txt").write_text("| 9\nA 9\nB 9\nC 9\nD 9\n")
    (folder / "dict.phn.txt").write_text("a 9\nb 9\nc 9\nd 9\n")
    return folder


# What fairseq can train in on a CPU, beside float32, as switches of its ``common`` options.
PRECISIONS = [
    {},
    {"bf16": True, "fp16_no_flatten_grads": True},
    {"bf16": True, "memory_efficient_bf16": True},
    {"amp": True},
]


def training_config(
    data: Path, encoder: Optional[Path], save_dir: Path, precision: Optional[Dict] = None, **changes
):
    """Config of a short finetuning run on the CPU, through fairseq's own argparse front.

    ``changes`` are options by their argparse names, dashes as underscores; True is a bare flag,
    None and False leave the option out.
    """
    arguments = dict(
        task="parp",
        arch="parp_wav2vec_ctc",
        criterion="ctc",
        labels="ltr",
        optimizer="adam",
        lr_scheduler="fixed",
        lr="[0.003]",
        max_update=30,
        max_tokens=30000,
        seed=7,
        save_dir=save_dir,
        log_format="none",
        no_epoch_checkpoints=True,
        num_workers=0,
        cpu=True,
        valid_subset="valid",
        w2v_path=encoder,
        zero_infinity=True,
        apply_mask=True,
        mask_prob=0.3,
        mask_length=2,
        ddp_backend="legacy_ddp",
        disable_validation=True,
    )
    arguments.update(changes)
    line: List[str] = [str(data)]
    for name, value in arguments.items():
        if value is None or value is False:
            continue
        line.append("--" + name.replace("_", "-"))
        if value is not True:
            line.append(str(value))
    cfg = parse(options.get_training_parser(), line)
    for switch, value in (precision or {}).items():  # on the command line --bf16 means a TPU
        cfg.common[switch] = value
    return cfg


def parse(parser, line: List[str]):
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, line))


def forget_last_run() -> None:
    """fairseq keeps the best score and the meters of a run in module globals."""
    metrics.reset()
    if hasattr(checkpoint_utils.save_checkpoint, "best"):
        del checkpoint_utils.save_checkpoint.best


def make_trainer(cfg) -> Trainer:
    """The trainer that ``fairseq-train`` would make, before its first update."""
    forget_last_run()
    np.random.seed(cfg.common.seed)
    torch.manual_seed(cfg.common.seed)
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    return Trainer(cfg, task, model, task.build_criterion(cfg.criterion))


def finetune(cfg) -> Dict:
    """Run ``fairseq-train`` to its end and return the last checkpoint."""
    forget_last_run()
    logging.disable(logging.WARNING)
    try:
        train.main(cfg)
    finally:
        logging.disable(logging.NOTSET)
    return load(Path(cfg.checkpoint.save_dir) / "checkpoint_last.pt")


def load(path: Path) -> Dict:
    return torch.load(path, map_location="cpu", weights_only=True)


def stop_at(update: int, whole: Path, resumed: Path) -> None:
    """Make the folder of a run that was stopped after ``update``; ``whole`` kept the checkpoint."""
    resumed.mkdir()
    kept = next(whole.glob(f"checkpoint_*_{update}.pt"))
    kept.rename(resumed / "checkpoint_last.pt")


def transcribe(data: Path, checkpoint: Path, output: Path, **changes) -> List[str]:
    """Run ``fairseq-generate`` and return the lines it printed."""
    arguments = dict(
        task="parp",
        labels="ltr",
        path=checkpoint,
        gen_subset="valid",
        scoring="wer",
        post_process="letter",
        results_path=output,
        cpu=True,
        max_tokens=100000,
        num_workers=0,
    )
    arguments.update(changes)
    line = [str(data)]
    for name, value in arguments.items():
        if value is not None and value is not False:
            line.append("--" + name.replace("_", "-"))
            line += [] if value is True else [str(value)]
    shutil.rmtree(output, ignore_errors=True)
    cfg = parse(options.get_generation_parser(default_task="parp"), line)
    generate.main(cfg)
    return (output / f"generate-{arguments['gen_subset']}.txt").read_text().splitlines()
