"""recipes/pretraining: in fresh processes, as a user starts, stops and resumes a pre-training."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import noise
from fairseq_runs import load

RECIPES = Path(__file__).parents[1] / "recipes" / "pretraining"
PROGRAM = Path(sys.executable).parent / "fairseq-hydra-train"
CLUSTERS = 5
SMALL = [
    *("model.encoder_layers=1", "model.encoder_embed_dim=16", "model.encoder_ffn_embed_dim=32"),
    *("model.encoder_attention_heads=2", "model.final_dim=16", "model.conv_pos_groups=4"),
    *("dataset.num_workers=0", "dataset.max_tokens=40000", "common.log_interval=1"),
    *("common.cpu=true", "lr_scheduler.warmup_updates=1"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of a second and random targets: what manifests/unlabelled.py writes."""
    folder = tmp_path_factory.mktemp("speech")
    audio = folder / "audio"
    audio.mkdir()
    rng = np.random.default_rng(0)
    for split in ("train", "valid"):
        lines, targets = [str(audio)], []
        for number in range(4):
            soundfile.write(audio / f"{split}{number}.flac", noise(16000, seed=number), 16000)
            lines.append(f"{split}{number}.flac\t16000")
            targets.append(" ".join(map(str, rng.integers(CLUSTERS, size=100))))
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
        (folder / f"{split}.km").write_text("\n".join(targets) + "\n")
    (folder / "dict.km.txt").write_text("".join(f"{n} 1\n" for n in range(CLUSTERS)))
    return folder


def pretrain(recipe: str, data: Path, folder: Path, updates: int, *options: str) -> str:
    command = [str(PROGRAM), f"--config-dir={RECIPES}", f"--config-name={recipe}"]
    folders = [f"task.data={data}", f"checkpoint.save_dir={folder}", f"hydra.run.dir={folder}"]
    done = subprocess.run(
        [*command, *SMALL, *folders, f"optimization.max_update={updates}", *options],
        cwd=data,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def updates_of(folder: Path) -> int:
    return load(folder / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"]


@pytest.mark.parametrize("recipe", ["masked_prediction", "contrastive"])
def test_the_same_command_goes_on(data: Path, tmp_path: Path, recipe: str) -> None:
    pretrain(recipe, data, tmp_path, 1)
    log = pretrain(recipe, data, tmp_path, 2)
    assert f"Loaded checkpoint {tmp_path}/checkpoint_last.pt" in log and "@ 1 updates" in log
    assert updates_of(tmp_path) == 2
    if recipe == "masked_prediction":
        from_it = f"checkpoint.finetune_from_model={tmp_path}/checkpoint_last.pt"
        log = pretrain(recipe, data, tmp_path / "next_round", 1, from_it)
        assert f"loading pretrained model from {tmp_path}/checkpoint_last.pt" in log
        assert updates_of(tmp_path / "next_round") == 1
