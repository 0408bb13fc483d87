"""Each row of the methods table is what it says: by its preset, on masks found without our code."""

import logging
import re
from pathlib import Path
from typing import Dict

import numpy as np
import pytest
import torch
import yaml
from fairseq_cli import train
from fairseq_runs import finetune, forget_last_run, load, training_config, write_encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from parp_fairseq.cli import main as parp
from parp_fairseq.pruning import Mask, magnitude_mask, prunable_parameters

PRESETS = Path(__file__).parents[1] / "recipes" / "method"
ROUNDS = (0.2, 0.36, 0.6)
AT_THE_START = dict(max_update=1, lr="[0.0]")  # an update that changes nothing


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """θ₀ without a single zero, so that every zero after training is the work of a mask."""
    path = write_encoder(tmp_path_factory.mktemp("encoder") / "encoder.pt")
    return disturbed(path, path, seed=1)


def disturbed(source: Path, target: Path, seed: int) -> Path:
    """The same network with other weights."""
    state = load(source)
    generator = torch.Generator().manual_seed(seed)
    for weight in prunable_parameters(state["model"]).values():
        weight += 0.05 * torch.randn(weight.shape, generator=generator)
    torch.save(state, target)
    return target


@pytest.fixture
def run(corpus, encoder, tmp_path):
    """run(method, ...): finetune by the preset of a method; returns the last checkpoint's path."""

    def finetune_by(method: str, **changes) -> Path:
        folder = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        options = {"w2v_path": encoder, "max_update": 6, "save_dir": folder}
        options.update(preset(method), **changes)
        finetune(training_config(corpus, options.pop("w2v_path"), **options))
        return folder / "checkpoint_last.pt"

    return finetune_by


def preset(method: str) -> Dict:
    options = yaml.safe_load((PRESETS / f"{method}.yaml").read_text())["task"]
    # On the command line of fairseq-train, options that are false by default are flags.
    return {
        name: str(v).lower() if isinstance(v, bool) and name != "learn_mask" else v
        for name, v in options.items()
    }


def weights(path: Path) -> Dict[str, torch.Tensor]:
    return prunable_parameters(load(path)["model"])


def zeros(path: Path) -> np.ndarray:
    """Which prunable weights are zero, as one long vector."""
    return np.concatenate([(weight == 0).flatten().numpy() for weight in weights(path).values()])


def smallest(path: Path, sparsity: float) -> np.ndarray:
    """Which prunable weights are the smallest, by a plain stable sort."""
    flat = torch.cat([weight.abs().flatten() for weight in weights(path).values()]).numpy()
    chosen = np.zeros(len(flat), bool)
    chosen[np.argsort(flat, kind="stable")[: round(sparsity * len(flat))]] = True
    return chosen


def mask_of(checkpoint: Path, sparsity: float, *options: str) -> Path:
    """What `parp mask` makes of a checkpoint."""
    path = checkpoint.with_name(f"{checkpoint.stem}-{sparsity}.safetensors")
    parp(["mask", str(checkpoint), "-o", str(path), "--sparsity", str(sparsity), *options])
    return path


def pruned_by(path: Path, like: Path) -> np.ndarray:
    mask = Mask.load(path)
    return np.concatenate([~mask[name].flatten().numpy() for name in weights(like)])


def assert_starts_from(checkpoint: Path, encoder: Path, pruned: np.ndarray) -> None:
    """It is θ₀ where ``pruned`` is false, and zero where it is true, to the bit."""
    ours, theta0 = weights(checkpoint), weights(encoder)
    flat = torch.cat([weight.flatten() for weight in ours.values()])
    expected = torch.cat([theta0[name].flatten() for name in ours])
    expected[torch.from_numpy(pruned)] = 0
    assert torch.equal(flat, expected)


def test_dense_prunes_nothing(run):
    assert not zeros(run("dense")).any()


def test_rp_does_not_look_at_the_weights(run, encoder, tmp_path):
    other = disturbed(encoder, tmp_path / "other.pt", seed=2)
    ours = zeros(run("rp", sparsity=0.5))
    assert ours.mean() == 0.5
    assert np.array_equal(ours, zeros(run("rp", sparsity=0.5, w2v_path=other)))
    assert not np.array_equal(ours, zeros(run("rp", sparsity=0.5, seed=8)))
    # Independent of the magnitudes, half of the smallest half is pruned.
    assert abs(ours[smallest(encoder, 0.5)].mean() - 0.5) < 0.05


def test_mpi_prunes_the_smallest_pretrained_weights(run, encoder):
    for seed in (7, 8):
        assert np.array_equal(zeros(run("mpi", sparsity=0.3, seed=seed)), smallest(encoder, 0.3))


def test_omp_prunes_the_smallest_finetuned_weights_from_the_pretrained_ones(run, encoder):
    dense = run("dense", max_update=20)
    wanted = smallest(dense, 0.5)
    assert not np.array_equal(wanted, smallest(encoder, 0.5))
    options = dict(sparsity=0.5, mask_file=mask_of(dense, 0.5))
    assert_starts_from(run("omp", **options, **AT_THE_START), encoder, wanted)
    assert np.array_equal(zeros(run("omp", **options)), wanted)


@pytest.mark.slow
def test_imp_prunes_more_in_each_round_and_begins_again(run, encoder):
    before, last = np.zeros_like(zeros(encoder)), run("dense", max_update=20)
    for sparsity in ROUNDS:
        options = dict(sparsity=sparsity, mask_file=mask_of(last, sparsity))
        wanted = smallest(last, sparsity)
        assert_starts_from(run("imp", **options, **AT_THE_START), encoder, wanted)
        last = run("imp", max_update=20, **options)
        assert np.array_equal(zeros(last), wanted)
        assert not (before & ~wanted).any(), "a weight came back"
        before = wanted
    # Rounds matter: one shot from the dense model prunes others.
    assert not np.array_equal(before, smallest(run("dense", max_update=20), ROUNDS[-1]))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30), st.floats(0, 1), st.floats(0, 1)
)
def test_a_sparser_mask_of_pruned_weights_is_nested(values, a, b):
    """What rounds rest on: zeros go first, ties or not, unless there are more than are pruned."""
    first, second = sorted(min(share, 0.99) for share in (a, b))
    params = {"fc1.weight": torch.tensor(values)}
    mask = magnitude_mask(params, first)
    mask.apply_(params)
    again = magnitude_mask(params, second)
    came_back = again["fc1.weight"] & ~mask["fc1.weight"]
    zero = int((params["fc1.weight"] == 0).sum())
    assert not came_back.any() or zero > again.num_pruned


def test_parp_revives_weights(run, encoder):
    options = dict(sparsity=0.5, prune_interval=2, lr="[0.01]")
    last = run("parp", **options, max_update=8)
    state = load(last)["model"]._metadata[""]["parp"]["pruner"]
    assert 0 < state["revived"] < 0.5
    assert (smallest(encoder, 0.5) & ~zeros(last)).any()
    assert_starts_from(run("parp", sparsity=0.5, **AT_THE_START), encoder, smallest(encoder, 0.5))


def test_parp_p_grows_along_its_ramp(corpus, encoder, tmp_path, caplog):
    forget_last_run()
    options = dict(preset("parp_p"), sparsity=0.7, prune_interval=2, max_update=16, ramp_updates=12)
    cfg = training_config(corpus, encoder, save_dir=tmp_path, **options)
    with caplog.at_level(logging.INFO, "parp_fairseq"):
        train.main(cfg)
    said = re.findall(r"pruned ([\d,]+) of ([\d,]+) weights at update (\d+)", caplog.text)
    total = int(said[0][1].replace(",", ""))
    start = options["initial_sparsity"]
    ramp = {u: start + (0.7 - start) * min(u / 12, 1) for u in range(0, 17, 2)}
    assert {int(u): int(n.replace(",", "")) for n, _, u in said} == {
        update: round(sparsity * total) for update, sparsity in ramp.items()
    }
    assert zeros(tmp_path / "checkpoint_last.pt").sum() == round(0.7 * total)


def different(a: Path, b: Path):
    """Names of the encoder's tensors that differ between two files."""
    first, second = (
        {name.split("w2v_model.")[-1]: w for name, w in load(path)["model"].items()}
        for path in (a, b)
    )
    return {name for name in first if name in second and not torch.equal(first[name], second[name])}


def assert_masked(checkpoint: Path, source: Path, sparsity: float) -> None:
    """Nothing of the encoder changed, but for zeros, of which each matrix has its share."""
    ours, theirs = weights(checkpoint), weights(source)
    matrices = {name for name in ours if name.endswith("weight")}
    assert different(checkpoint, source) <= matrices | {"w2v_encoder.proj.weight"} | {
        "w2v_encoder.proj.bias"
    }
    for name in matrices:
        kept = ours[name] != 0
        assert int((~kept).sum()) == round(sparsity * kept.numel()), name
        assert torch.equal(ours[name], theirs[name] * kept), name


def test_s3_router_masks_the_pretrained_weights(run, encoder):
    begun = run("s3_router", sparsity=0.3, max_update=1, lr="[0.0]")
    last = run("s3_router", sparsity=0.3, max_update=4, lr="[0.01]")
    for checkpoint in (begun, last):
        assert_masked(checkpoint, encoder, 0.3)
    assert not np.array_equal(zeros(begun), zeros(last)), "nothing was learned"
    for name, weight in weights(encoder).items():  # scores begin in the order of the weights
        if name.endswith("weight"):
            pruned = weight[weights(begun)[name] == 0].abs().max()
            assert pruned <= weight[weights(begun)[name] != 0].abs().min(), name


def test_s3_router_p_masks_the_finetuned_weights(run, encoder):
    dense = run("dense", lr="[0.01]")
    router = run("s3_router_p", sparsity=0.6, lr="[0.01]", finetune_from_model=dense)
    assert_masked(router, dense, 0.6)
    assert different(router, encoder) > different(router, dense) - {"w2v_encoder.proj.weight"} - {
        "w2v_encoder.proj.bias"
    }


def test_bitfit_changes_biases_alone(run, encoder):
    changed = different(run("bitfit", lr="[0.01]"), encoder)
    assert changed and all(name.endswith("bias") for name in changed)


@pytest.mark.parametrize("sparsity", [0.1, 0.37, 0.9])
@pytest.mark.parametrize("method", ["rp", "mpi", "omp", "imp", "parp", "parp_p"])
def test_all_end_at_the_sparsity_asked_for(run, encoder, method, sparsity):
    options = dict(preset(method), sparsity=sparsity, prune_interval=4)
    if "mask_file" in options:
        tuned = disturbed(encoder, encoder.with_name("tuned.pt"), seed=3)
        options["mask_file"] = mask_of(tuned, sparsity)
    found = zeros(run(**options))
    assert found.sum() == round(sparsity * len(found))


@pytest.mark.parametrize("initial", ["rp", "mpi", "omp", "imp"])
def test_parp_starts_from_the_mask_of_any_of_them(run, encoder, initial):
    if initial == "rp":
        mask = mask_of(encoder, 0.4, "--criterion", "random", "--seed", "3")
    elif initial == "mpi":
        mask = mask_of(encoder, 0.4)
    else:
        last = run("dense")
        if initial == "imp":
            last = run("imp", sparsity=0.2, mask_file=mask_of(last, 0.2))
        mask = mask_of(last, 0.4)
    options = dict(sparsity=0.4, mask_file=mask, prune_interval=2)
    begun = run("parp", **options, **AT_THE_START)
    assert_starts_from(begun, encoder, pruned_by(mask, encoder))
    assert zeros(run("parp", **options)).sum() == pruned_by(mask, encoder).sum()
