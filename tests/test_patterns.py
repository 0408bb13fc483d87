"""A pattern is a class: what it prunes, whether it fits, how many weights, which masks."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import parp_fairseq.pruning
from parp_fairseq.pruning import (
    Mask,
    Pattern,
    Pruner,
    RandomScores,
    Schedule,
    magnitude_mask,
    parse_pattern,
)
from parp_fairseq.pruning.criterion import whole_scores


class Channels(Pattern):
    """Whole hidden channels: a row of fc1, its bias and a column of fc2 share one fate."""

    name = "channels"

    def covers(self, name):
        return bool(re.search(r"fc1\.(weight|bias)$|fc2\.weight$", name))

    def num_pruned(self, weights, sparsity):
        sizes = [(w.shape[0], w.shape[1]) for n, w in weights.items() if n.endswith("fc1.weight")]
        return sum(round(sparsity * channels) * (2 * inputs + 1) for channels, inputs in sizes)

    def __call__(self, weights, criterion, sparsity):
        for name in weights:
            if name.endswith("fc1.weight"):
                tied = [name, name.replace("weight", "bias"), name.replace("fc1", "fc2")]
                first, bias, second = (whole_scores(criterion, n, weights[n]) for n in tied)
                channels = first.sum(1) + bias + second.sum(0)
                lowest = channels.argsort(stable=True)[: round(sparsity * len(channels))]
                keep = torch.ones(len(channels), dtype=torch.bool).index_fill(0, lowest, False)
                yield tied[0], keep[:, None].expand_as(first)
                yield tied[1], keep
                yield tied[2], keep.expand_as(second)


def feed_forward():
    torch.manual_seed(0)
    layers = nn.ModuleDict({"fc1": nn.Linear(6, 20), "fc2": nn.Linear(20, 6)})
    return dict(layers.named_parameters())


def test_a_pattern_that_ties_rows_biases_and_columns():
    params = feed_forward()
    pruner = Pruner(params, Schedule(0.3, interval=1), pattern=Channels())
    assert list(pruner.params) == ["fc1.weight", "fc1.bias", "fc2.weight"]
    pruner.start()
    dead = (params["fc1.weight"] == 0).all(1)
    assert dead.sum() == 6
    assert torch.equal(dead, params["fc1.bias"] == 0)
    assert torch.equal(dead, (params["fc2.weight"] == 0).all(0))
    assert pruner.mask.num_pruned == 6 * 13 == pruner.pattern.num_pruned(params, 0.3)
    for param in params.values():
        param.data += torch.randn_like(param)
    pruner.prune(1)
    Pruner(params, Schedule(0.3), pattern=Channels(), initial_mask=pruner.mask)
    other = dict(pruner.mask.items())
    other["fc1.bias"] = other["fc1.bias"].roll(1)
    with pytest.raises(ValueError, match=r"not follow the pattern channels: .* of fc1\.bias"):
        Pruner(params, Schedule(0.3), pattern=Channels(), initial_mask=Mask(other))
    with pytest.raises(ValueError, match="prunes 78 of 260 weights, expected 130 for"):
        Pruner(params, Schedule(0.5), pattern=Channels(), initial_mask=pruner.mask)


def layers(count=2, bias=True):
    """Two feed-forward layers and an attention projection in each, as fairseq names them."""
    torch.manual_seed(3)
    sizes = {"fc1": (24, 6), "fc2": (6, 24), "self_attn.k_proj": (6, 6)}
    return {
        f"encoder.layers.{i}.{name}.{kind}": nn.Parameter(
            torch.randn(shape if kind == "weight" else shape[:1])
        )
        for i in range(count)
        for name, shape in sizes.items()
        for kind in ("weight", "bias")[: 1 + bias]
    }


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9])
def test_ffn_channels_goes_by_the_l1_norm_of_what_is_pruned(bias, sparsity):
    params = layers(bias=bias)
    pattern = parse_pattern("ffn_channels")
    pruner = Pruner(params, Schedule(sparsity, interval=1), pattern=pattern)
    assert not any("k_proj" in name or "fc2.bias" in name for name in pruner.params)
    norms = {}
    for i in range(2):
        fc1, fc2 = (params[f"encoder.layers.{i}.fc{n}.weight"].detach().double() for n in (1, 2))
        for channel in range(24):
            norm = fc1[channel].abs().sum() + fc2[:, channel].abs().sum()
            if bias:
                norm += params[f"encoder.layers.{i}.fc1.bias"][channel].detach().double().abs()
            norms[i, channel] = float(norm)
    pruner.start()
    for i in range(2):
        expected = sorted(range(24), key=lambda c: norms[i, c])[: round(24 * sparsity)]
        names = [f"encoder.layers.{i}.{n}" for n in ("fc1.weight", "fc1.bias", "fc2.weight")]
        for name in names if bias else (names[0], names[2]):
            dead = params[name] == 0
            dead = dead.all(0) if "fc2" in name else dead.reshape(24, -1).all(1)
            assert dead.nonzero()[:, 0].tolist() == sorted(expected)
    assert pruner.mask.num_pruned == pattern.num_pruned(pruner.params, sparsity)
    assert pruner.mask.sparsity == pytest.approx(round(24 * sparsity) / 24)
    pattern.require_followed(pruner.mask, sparsity)


def test_ffn_channels_needs_both_layers_and_their_widths():
    pattern = parse_pattern("ffn_channels")
    params = layers(1)
    del params["encoder.layers.0.fc2.weight"]
    with pytest.raises(ValueError, match=r"with columns of encoder\.layers\.0\.fc2\.weight: exp"):
        Pruner(params, Schedule(0.5), pattern=pattern)
    params = layers(1)
    del params["encoder.layers.0.fc1.weight"]
    with pytest.raises(ValueError, match=r"found encoder\.layers\.0\.fc1\.bias without the other"):
        Pruner(params, Schedule(0.5), pattern=pattern)
    params = layers(1)
    params["encoder.layers.0.fc2.weight"] = nn.Parameter(torch.randn(6, 23))
    with pytest.raises(ValueError, match=r"but that has shape \(6, 23\)"):
        Pruner(params, Schedule(0.5), pattern=pattern)


def test_a_pattern_that_covers_nothing_is_refused():
    with pytest.raises(ValueError, match=r"pattern 2:4 prunes none of the parameters fc1\.bias"):
        Pruner({"fc1.bias": torch.randn(8)}, Schedule(0.5), pattern=parse_pattern("2:4"))


@pytest.mark.parametrize("written", [2 / 3, 0.6666666666666666, 0.666667, 0.6667, 0.667])
def test_a_third_is_recognised_as_people_write_it(written):
    params = {"fc1.weight": torch.randn(8, 12)}
    mask = magnitude_mask(params, written, "1:3")
    assert mask.num_pruned == 64
    pruner = Pruner(params, Schedule(written), pattern=parse_pattern("1:3"), initial_mask=mask)
    pruner.start()
    assert pruner.mask.num_pruned == pruner.pattern.num_pruned(params, written) == 64


@pytest.mark.parametrize("sparsity", [0.66, 0.67, 0.5, 1 / 3])
def test_another_sparsity_than_the_patterns_names_the_right_one(sparsity):
    message = r"pattern 1:3 prunes 2 of every 3 weights: expected sparsity 0\.6667, found 0\.\d+"
    with pytest.raises(ValueError, match=message):
        magnitude_mask({"fc1.weight": torch.randn(8, 12)}, sparsity, "1:3")


@pytest.mark.parametrize("name", ["global", "layerwise", "2:4", "1:2", "3:8"])
def test_the_number_of_pruned_weights_is_the_patterns(name):
    params = {f"w{i}": torch.randn(8, 8 * i) for i in (1, 2, 3)}
    pattern = parse_pattern(name)
    sparsity = {"3:8": 5 / 8}.get(name, 0.5)
    mask = Mask(pattern(params, RandomScores(1), sparsity))
    assert mask.num_pruned == pattern.num_pruned(params, sparsity)
    assert pattern.name == name
    pattern.require_followed(mask, sparsity)


def test_pruning_knows_no_option_of_the_layer_above():
    option = re.compile(r"\b(task|optimization|checkpoint|common|dataset)\.[a-z]")
    for path in Path(parp_fairseq.pruning.__file__).parent.glob("*.py"):
        assert not option.search(path.read_text()), path.name
