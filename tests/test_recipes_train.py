"""recipes/: recipes train five updates through the real program, each with one of the methods.

Encoder and corpus are small, and so are the spans that are masked. Everything else is the recipe's,
except for what a CPU needs. The recipes of HuBERT large and data2vec are composed in
test_recipes_compose.py only.
"""

import re
import subprocess
from pathlib import Path
from typing import Dict

import programs
import pytest
import torch
from fairseq_runs import load, write_corpus, write_encoder
from pretrained_encoders import pretrain_hubert

from parp_fairseq.pruning import magnitude_mask, prunable_parameters, random_mask

RECIPES = Path(__file__).parents[1] / "recipes"
METHOD_OF = {
    "librispeech_10m_base": "parp",
    "librispeech_1h_base": "dense",
    "librispeech_10h_base": "parp_p",
    "librispeech_10m_large": "rp",
    "librispeech_10m_hubert_base": "parp",
    "librispeech_1h_large": "omp",
    "librispeech_10h_large": "parp",
    "commonvoice_xlsr53": "imp",
    "fsdd": "mpi",
    "mini": "parp_p",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for seed, (split, utterances) in enumerate({"train": 12, "valid": 5, "dev_other": 5}.items()):
        write_corpus(folder, split, utterances, seed)
    return folder


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Dict[bool, Path]:
    """A small encoder like wav2vec 2.0 base (False), and one like large and XLSR-53 (True)."""
    folder = tmp_path_factory.mktemp("encoders")
    return {large: write_encoder(folder / f"{large}.pt", large=large) for large in (False, True)}


@pytest.fixture(scope="module")
def hubert(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain_hubert(data, tmp_path_factory.mktemp("hubert"))


def train(
    recipe: str, method: str, data: Path, encoder: Path, folder: Path, *overrides: str
) -> subprocess.CompletedProcess:
    return programs.run(
        "fairseq_cli.hydra_train", "--config-dir", RECIPES, "--config-name", recipe,
        f"+method={method}", f"task.data={data}", f"model.w2v_path={encoder}",
        f"hydra.run.dir={folder}", "common.cpu=true", "dataset.num_workers=0",
        "dataset.max_tokens=30000", "model.mask_length=2", "model.mask_channel_length=1",
        "optimization.max_update=5", *overrides,
    )  # fmt: skip


# One of each kind; the others differ from it in numbers.
FAST = {"librispeech_10m_base", "librispeech_10m_hubert_base", "commonvoice_xlsr53"}
RECIPE = [pytest.param(one, marks=[pytest.mark.slow] * (one not in FAST)) for one in METHOD_OF]


@pytest.mark.parametrize("recipe", RECIPE)
def test_five_updates(
    recipe: str, data: Path, encoders: Dict[bool, Path], hubert: Path, tmp_path: Path
) -> None:
    method = METHOD_OF[recipe]
    encoder = hubert if "hubert" in recipe else encoders[not recipe.endswith("base")]
    before = prunable_parameters(load(encoder)["model"])
    masks = {
        "mpi": magnitude_mask(before, 0.5),
        "omp": random_mask(before, 0.5, seed=1),
        "imp": random_mask(before, 0.5, seed=2),
    }
    overrides = []
    if method in ("omp", "imp"):
        masks[method].save(tmp_path / "mask.safetensors")
        overrides = [f"task.mask_file={tmp_path / 'mask.safetensors'}"]
    done = train(recipe, method, data, encoder, tmp_path / "run", *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    checkpoint = load(tmp_path / "run" / "checkpoints" / "checkpoint_best.pt")
    assert checkpoint["optimizer_history"][-1]["num_updates"] == 5
    assert checkpoint["cfg"]["task"]["sparsity"] == (0.0 if method == "dense" else 0.5)
    after = prunable_parameters(checkpoint["model"])
    if method in masks:
        assert all(bool((after[name][~kept] == 0).all()) for name, kept in masks[method].items())
    zeros = sum(int((weight == 0).sum()) for weight in after.values())
    total = sum(weight.numel() for weight in after.values())
    if method == "dense":
        assert all(bool(weight.all()) for weight in after.values() if weight.ndim == 2)
    else:
        assert zeros >= round(0.5 * total)
    assert not any(torch.equal(before[name], after[name]) for name in after if "weight" in name)


def test_a_method_that_wants_a_mask_says_so(
    data: Path, encoders: Dict[bool, Path], tmp_path: Path
) -> None:
    done = train("fsdd", "omp", data, encoders[True], tmp_path)
    assert done.returncode != 0
    assert "mask file ??? (give task.mask_file=FILE) does not exist" in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    "missing, message",
    [
        ("task.data", r"task\.data is not given|missing mandatory value: data"),
        ("model.w2v_path", r"model\.w2v_path is not given|missing mandatory value: w2v_path"),
    ],
)
def test_a_path_that_is_not_given_is_named(
    missing: str, message: str, data: Path, encoders: Dict[bool, Path], tmp_path: Path
) -> None:
    done = train("fsdd", "parp", data, encoders[True], tmp_path, f"{missing}='???'")
    assert done.returncode != 0
    assert re.search(message, done.stderr.replace("Missing", "missing"))
