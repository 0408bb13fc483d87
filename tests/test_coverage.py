"""Coverage: what a scope covers and leaves out is counted and told."""

import warnings

import pytest
import torch
from torch import nn

from parp_fairseq.pruning import coverage, prunable_parameters


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)


class Network(nn.Module):
    def __init__(self, width=4, layers=2):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))
        self.proj = nn.Linear(width, 5)


def test_everything_is_covered_or_left_out():
    network = Network()
    found = coverage(network)
    assert found.covered.keys() == prunable_parameters(network).keys()
    inside = sum(p.numel() for name, p in network.named_parameters() if "fc" in name)
    total = sum(p.numel() for p in network.parameters())
    assert (found.num_covered, found.num_left_out) == (inside, total - inside)
    assert found.share == inside / total
    assert [*found.covered, *found.left_out] == sorted(
        dict(network.named_parameters()), key=lambda name: "fc" not in name
    )
    assert found.groups_left_out == {"proj": 25, "layers.*.final_layer_norm": 16}
    assert str(found) == (
        f"scope 'transformer' covers {inside} of {total} weights ({inside / total:.1%}), in 8 "
        "parameters; left out: proj (25), layers.*.final_layer_norm (16)"
    )


def test_biases_are_left_out_where_they_are_not_pruned():
    found = coverage(Network(), bias=False)
    assert not any(name.endswith("bias") for name in found.covered)
    assert found.groups_left_out["layers.*.fc1"] == 2 * 8


def test_a_state_dict_counts_as_its_module():
    network = Network()
    network.steps = nn.Parameter(torch.ones(3, dtype=torch.int64), requires_grad=False)
    assert str(coverage(network)) == str(coverage(network.state_dict()))
    assert "steps" not in coverage(network).left_out


def test_tied_parameters_count_once():
    network = Network()
    network.layers[1] = network.layers[0]
    network.head = network.proj
    found = coverage(network)
    total = sum(p.numel() for p in network.parameters())
    assert found.num_covered + found.num_left_out == total
    assert str(found) == str(coverage(network.state_dict()))


def test_what_lies_outside_the_encoder_is_left_out():
    network = nn.ModuleDict({"w2v_model": Network(), "layers": nn.ModuleList([Layer(4)])})
    found = coverage(network)
    assert len(found.covered) == 8
    assert "layers.0.fc1.weight" in found.outside and "proj.weight" in found.left_out
    assert not found.matrices_left_whole
    total = sum(p.numel() for p in network.parameters())
    assert found.num_covered + found.num_left_out == total


def test_layers_of_another_library_that_are_covered_in_part():
    network = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, batch_first=True), 2, enable_nested_tensor=False
    )
    with pytest.warns(UserWarning, match=r"layers\.0\.self_attn\.in_proj_weight \(and 5 more\)"):
        found = coverage(network)
    assert set(found.matrices_left_whole) == {
        f"layers.{layer}.{name}"
        for layer in (0, 1)
        for name in ("self_attn.in_proj_weight", "linear1.weight", "linear2.weight")
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coverage(network, r"re:linear\d")
        coverage(Network())


def test_a_scope_that_covers_nothing_says_what_it_is_for():
    with pytest.raises(ValueError, match=r"covers no parameter .*made for fairseq's wav2vec 2\.0"):
        coverage(nn.Linear(3, 3))
