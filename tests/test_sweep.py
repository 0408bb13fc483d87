"""fairseq-hydra-train -m over sparsity and seed: a folder for each run, which is not run twice."""

from pathlib import Path

import programs
import pytest
from fairseq_runs import load

RECIPES = Path(__file__).parents[1] / "recipes"


def sweep(corpus, encoder, folder, *overrides):
    return programs.run(
        "fairseq_cli.hydra_train", "-m", "--config-dir", RECIPES, "--config-name", "mini",
        "+method=rp", f"task.data={corpus}", f"model.w2v_path={encoder}",
        "task.normalize=false", "common.cpu=true", "dataset.num_workers=0",
        "dataset.disable_validation=true", "optimization.max_update=2", "model.mask_length=2",
        "model.mask_channel_length=1", f"hydra.sweep.dir={folder}",
        *overrides,
    )  # fmt: skip


def test_a_sweep_over_sparsity_and_seed(corpus, encoder, tmp_path):
    axes = ["task.sparsity=0.3,0.5", "common.seed=7"]
    done = sweep(corpus, encoder, tmp_path, *axes)
    assert done.returncode == 0, done.stderr
    files = {path.parent.parent.name: path for path in tmp_path.rglob("checkpoint_last.pt")}
    assert sorted(files) == ["rp-0.3-seed7", "rp-0.5-seed7"]
    for name, path in files.items():
        options = load(path)["model"]._metadata[""]["parp"]["options"]
        assert name.startswith(f"rp-{options['sparsity']}-")

    before = {path: path.stat().st_mtime_ns for path in files.values()}
    again = sweep(corpus, encoder, tmp_path, *axes)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in files.values()} == before


@pytest.mark.slow
def test_seeds_that_share_a_folder_are_refused(corpus, encoder, tmp_path):
    done = sweep(
        corpus, encoder, tmp_path / "sweep", "common.seed=1,2", f"checkpoint.save_dir={tmp_path}"
    )
    assert done.returncode == 1
    assert "common.seed is 2, but the run to be resumed has 1" in done.stderr
