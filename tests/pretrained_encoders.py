"""Small encoders of other kinds than wav2vec 2.0, pre-trained by stock fairseq for two updates."""

import shutil
from pathlib import Path

import numpy as np
from fairseq_runs import finetune, training_config

SETTINGS = {
    "conv_feature_layers": "[(16, 10, 5)] + [(16, 8, 4)] + [(16, 4, 4)] * 2",
    "encoder_layers": 2,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 32,
    "encoder_attention_heads": 2,
    "conv_pos_groups": 2,
}
FRAME = 320  # samples


def pretrain(data: Path, folder: Path, **options) -> Path:
    """Run ``fairseq-train`` on ``data`` and return the checkpoint."""
    no_finetuning = dict.fromkeys(["w2v_path", "zero_infinity", "apply_mask", "labels"])
    cfg = training_config(
        data, None, folder, max_update=2, **{**no_finetuning, **SETTINGS, **options}
    )
    finetune(cfg)
    return folder / "checkpoint_last.pt"


def pretrain_hubert(corpus: Path, folder: Path, **options) -> Path:
    """A HuBERT with random targets of five clusters.

    The targets and their dictionary lie in a folder that is removed afterwards, as everyone who
    downloads a HuBERT is without them.
    """
    targets = folder / "targets"
    targets.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = (corpus / "train.tsv").read_text().splitlines()[1:]
    clips = [rng.integers(5, size=int(line.split("\t")[1]) // FRAME) for line in lines]
    (targets / "train.km").write_text("".join(" ".join(map(str, clip)) + "\n" for clip in clips))
    (targets / "dict.km.txt").write_text("".join(f"{cluster} 1\n" for cluster in range(5)))
    path = pretrain(
        corpus,
        folder,
        task="hubert_pretraining",
        arch="hubert",
        criterion="hubert",
        label_dir=targets,
        labels="['km']",
        label_rate=16000 // FRAME,
        final_dim=8,
        conv_pos=8,
        pred_masked_weight=1.0,
        min_sample_size=5000,
        **options,
    )
    shutil.rmtree(targets)
    return path


def pretrain_data2vec(corpus: Path, folder: Path, **options) -> Path:
    """A data2vec, of which fairseq's checkpoint holds the teacher too."""
    import fairseq.examples.data2vec.models.data2vec_audio  # noqa: F401

    return pretrain(
        corpus,
        folder,
        task="audio_pretraining",
        arch="data2vec_audio",
        criterion="model",
        average_top_k_layers=2,
        conv_pos=19,
        pos_conv_depth=5,
        **options,
    )
