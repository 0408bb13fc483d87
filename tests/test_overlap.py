"""parp compare --pruned: overlap of pruned weights above chance, layer by layer."""

import pytest
import torch

from parp_fairseq.cli import main as parp
from parp_fairseq.cli.counting.overlap import OverlapByLayer
from parp_fairseq.pruning import Mask, random_mask

SHAPES = {
    f"encoder.layers.{layer}.{name}.weight": torch.zeros(400, 300)
    for layer in (0, 1, 10)
    for name in ("fc1", "self_attn.k_proj")
}


def of_pair(a, b):
    overlap = OverlapByLayer([a, b])
    return {row: values[0] for row, values in zip(overlap.rows, overlap.values)}


def test_random_masks_agree_by_chance_and_equal_masks_fully():
    a, b = (random_mask(SHAPES, 0.1, seed=seed, pattern="layerwise") for seed in (1, 2))
    assert a.iou(b) > 0.8  # of the kept weights
    values = of_pair(a, b)
    assert list(values) == ["0", "1", "10", "all"]
    assert all(abs(value) < 0.02 for value in values.values())
    assert all(value == pytest.approx(1) for value in of_pair(a, a).values())


def test_known_overlaps():
    def mask(*pruned):
        keep = torch.ones(10, dtype=torch.bool)
        keep[list(pruned)] = False
        return Mask({"encoder.layers.0.fc1.weight": keep, "other": torch.ones(4).bool()})

    # 2 of 10 pruned by each, 1 by both: chance is 0.4, the most is 2.
    assert of_pair(mask(0, 1), mask(1, 2))["0"] == pytest.approx((1 - 0.4) / (2 - 0.4))
    assert of_pair(mask(0, 1), mask(2, 3))["0"] == pytest.approx(-0.4 / (2 - 0.4))
    assert of_pair(mask(0, 1), mask(0, 1, 2, 3, 4))["0"] == pytest.approx(1)
    nothing = of_pair(mask(), mask(1))
    assert nothing == {"0": None, "other": None, "all": None}


def test_the_command(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    files = []
    for seed in (1, 2, 3):
        files.append(str(tmp_path / f"{seed}.safetensors"))
        random_mask(SHAPES, 0.3, seed=seed).save(files[-1])
    parp(["compare", *files, "--pruned", "--plot", str(tmp_path / "overlap.png")])
    told = capsys.readouterr().out
    assert "1 and 2" in told and "2 and 3" in told and "0 is chance" in told
    assert len([line for line in told.splitlines() if line.strip().startswith("10 ")]) == 1
    assert (tmp_path / "overlap.png").stat().st_size > 1000
    whole = tmp_path / "whole.safetensors"
    random_mask(SHAPES, 0).save(whole)
    with pytest.raises(SystemExit):
        parp(["compare", str(whole), files[0], "--pruned"])
    assert "prunes nothing" in capsys.readouterr().err
