"""Promise 3: the mask is that of torch.nn.utils.prune, bit for bit, and ties go by position."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from parp_fairseq.pruning import Mask, magnitude_mask, prunable_parameters, random_mask
from parp_fairseq.pruning import criterion as criterion_module
from parp_fairseq.pruning import selection as selection_module
from parp_fairseq.pruning.outside import put_back, take


class Layers(nn.Module):
    """Parameters named as those of a transformer, of different sizes."""

    def __init__(self, layers: int = 2, width: int = 12):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict({"fc1": nn.Linear(width, 3 * width), "fc2": nn.Linear(3 * width, width)})
            for _ in range(layers)
        )


def torch_global_mask(model: nn.Module, amount: float):
    model = deepcopy(model)
    modules = [
        (m, n) for m in model.modules() if isinstance(m, nn.Linear) for n in ("weight", "bias")
    ]
    prune.global_unstructured(modules, prune.L1Unstructured, amount=amount)
    return {
        name[: -len("_mask")]: mask.bool()
        for name, mask in model.named_buffers()
        if "_mask" in name
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("sparsity", [0.01, 0.25, 0.5, 0.731, 0.99])
def test_equals_torch_global_unstructured(sparsity, dtype):
    torch.manual_seed(3)
    model = Layers()
    # Distinct magnitudes in every dtype, so that no tie decides; signs are mixed.
    count = sum(p.numel() for p in model.parameters())
    steps = (torch.randperm(count) + 1.0) * 2.0**-20
    signs = torch.randint(0, 2, (count,)) * 2.0 - 1
    values = (steps * signs).split([p.numel() for p in model.parameters()])
    for param, value in zip(model.parameters(), values):
        param.data = value.view_as(param).clone()
    if dtype is not torch.float32:  # 8 bits of mantissa hold so many distinct values, and no more
        for index, param in enumerate(model.parameters()):
            bits = torch.arange(param.numel(), dtype=torch.int16) * len(list(model.parameters()))
            param.data = (bits + index + 1).view(dtype).view_as(param).clone()
    params = prunable_parameters(model)
    mask = magnitude_mask(params, sparsity)
    reference = torch_global_mask(model, sparsity)
    assert mask.keys() == reference.keys() == params.keys()
    for name in reference:
        assert torch.equal(mask[name], reference[name]), name


def lowest_by_sorting(weights, num_pruned):
    """The plain way: join, sort stably, cut."""
    joined = torch.cat([w.reshape(-1).float().abs() for w in weights.values()])
    keep = torch.ones(joined.numel(), dtype=torch.bool)
    keep[joined.argsort(stable=True)[:num_pruned]] = False
    parts = keep.split([w.numel() for w in weights.values()])
    return {name: part.view(w.shape) for (name, w), part in zip(weights.items(), parts)}


SPECIAL = [0.0, -0.0, 1e-45, -1e-40, 6e-8, 1.0, -1.0, 60000.0, 3e38, 2.0**-126]
SHAPES = st.lists(
    st.sampled_from([(0,), (1,), (5,), (3, 4), (2, 3, 2), (17,)]), min_size=1, max_size=5
)
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@st.composite
def weights_of_one_dtype(draw):
    dtype = draw(st.sampled_from(DTYPES))
    limit = torch.finfo(dtype).max
    special = st.sampled_from([value for value in SPECIAL if value <= limit] + [limit, -limit])
    values = st.one_of(special, st.floats(-limit, limit, width=16 if limit < 1e5 else 32))
    weights = {}
    for index, shape in enumerate(draw(SHAPES)):
        size = torch.Size(shape).numel()
        numbers = draw(st.lists(values, min_size=size, max_size=size))
        weights[f"w{index}"] = torch.tensor(numbers, dtype=torch.float64).to(dtype).view(shape)
    return weights


def sparsities(total):
    """Any; and those at which sparsity * total lies half way between two numbers, and beside it."""
    halves = [(k + 0.5 + d) / total for k in range(total) for d in (-1e-9, 0, 1e-9)]
    return st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from(halves or [0.0]))


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_ties_zeros_and_odd_shapes(data):
    weights = data.draw(weights_of_one_dtype())
    total = sum(w.numel() for w in weights.values())
    sparsity = data.draw(sparsities(total))
    mask = magnitude_mask(weights, sparsity)
    reference = lowest_by_sorting(weights, round(sparsity * total))
    assert mask.num_pruned == round(sparsity * total)
    assert all(torch.equal(mask[name], keep) for name, keep in reference.items())


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_what_is_taken_out_comes_back_to_the_bit(data):
    weights = data.draw(weights_of_one_dtype())
    total = sum(w.numel() for w in weights.values())
    mask = magnitude_mask(weights, data.draw(sparsities(total)))
    pruned = {name: weight.clone() for name, weight in weights.items()}
    values = take(mask, pruned)
    assert sum(map(len, values.values())) == mask.num_pruned
    mask.apply_(pruned)
    put_back(mask, pruned, values)
    for name, weight in weights.items():
        integers = torch.int32 if weight.dtype is torch.float32 else torch.int16
        assert torch.equal(pruned[name].view(integers), weight.view(integers))


def test_what_is_taken_out_of_long_and_of_strided_weights_comes_back():
    weights = {"long": torch.randn(3, 70_000), "turned": torch.randn(40, 30).t()}
    mask, whole = magnitude_mask(weights, 0.4), {n: w.clone() for n, w in weights.items()}
    values = take(mask, weights)
    mask.apply_(weights)
    for name, weight in whole.items():
        assert torch.equal(values[name], weight[~mask[name]])
        assert torch.equal(weights[name], weight * mask[name])
    put_back(mask, weights, values)
    assert all(torch.equal(weights[name], weight) for name, weight in whole.items())


@pytest.mark.parametrize("decimals", [1, 4, None])
@pytest.mark.parametrize(
    "how", [{"PIECE": 7}, {"_COLLECTED": 0}, {"_STEPS": (1,)}, {"_STEPS": (400,), "_SAMPLED": 1}]
)
def test_the_way_it_is_found_changes_nothing(monkeypatch, how, decimals):
    """Small pieces; a bracket that holds too many; a sample of all, or of hardly any."""
    weights = {"a": torch.randn(301), "b": torch.randn(50, 30), "c": torch.zeros(3)}
    if decimals:  # many equal magnitudes
        weights = {name: weight.round(decimals=decimals) for name, weight in weights.items()}
    num_pruned = round(0.6 * sum(w.numel() for w in weights.values()))
    reference = Mask(lowest_by_sorting(weights, num_pruned))
    assert magnitude_mask(weights, 0.6) == reference
    for name, value in how.items():
        module = criterion_module if name == "PIECE" else selection_module
        monkeypatch.setattr(module, name, value)
    assert magnitude_mask(weights, 0.6) == reference


def test_a_bracket_that_missed_is_noticed(monkeypatch):
    weights = {"a": torch.randn(5000)}
    reference = Mask(lowest_by_sorting(weights, 2500))
    for low, high in [(0, 5), (0x3F800000, 0x7F000000), (0x3D000000, 0x3D000001)]:
        monkeypatch.setattr(selection_module, "_bracket", lambda *_: (low, high))  # noqa: B023
        assert magnitude_mask(weights, 0.5) == reference


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("pattern", ["global", "layerwise", "1:2"])
def test_refuses_weights_that_are_no_numbers(value, pattern):
    weights = {"good": torch.randn(4, 4), "broken": torch.randn(4, 4)}
    weights["broken"][2, 1] = value
    with pytest.raises(ValueError, match="broken holds values that are infinite or not a number"):
        magnitude_mask(weights, 0.5, pattern)


def test_layerwise_prunes_each_tensor():
    params = prunable_parameters(Layers())
    mask = magnitude_mask(params, 0.3, "layerwise")
    for name, param in params.items():
        assert int((~mask[name]).sum()) == round(0.3 * param.numel())
        assert param[~mask[name]].abs().max() <= param[mask[name]].abs().min()


@pytest.mark.parametrize("piece", [7, criterion_module.PIECE])
@pytest.mark.parametrize("n, m", [(2, 4), (1, 4), (4, 8)])
def test_n_of_m_keeps_the_largest_of_each_group(monkeypatch, n, m, piece):
    monkeypatch.setattr(criterion_module, "PIECE", piece)
    params = {"linear": torch.randn(6, 16), "conv": torch.randn(4, 8, 3)}
    mask = magnitude_mask(params, 1 - n / m, f"{n}:{m}")
    for name, param in params.items():
        by_input = param.movedim(1, -1).reshape(-1, m).abs()
        kept = mask[name].movedim(1, -1).reshape(-1, m)
        assert kept.sum(dim=1).eq(n).all()
        inside = torch.where(kept, by_input, torch.inf).amin(dim=1)
        outside = torch.where(kept, -torch.inf, by_input).amax(dim=1)
        assert (inside >= outside).all()


@pytest.mark.parametrize(
    "pattern, sparsity, shape, message",
    [
        (
            "2:4",
            0.4,
            (4, 4),
            "pattern 2:4 prunes 2 of every 4 weights: expected sparsity 0.5, found 0.4",
        ),
        ("2:4", 0.5, (4, 6), "needs an input dimension that is a multiple of 4: w has shape"),
        ("4:2", 0.5, (4, 4), "unknown pattern '4:2'"),
        ("blockwise", 0.5, (4, 4), "unknown pattern 'blockwise'"),
        ("global", 1.0, (4, 4), "sparsity is 1.0: expected 0 <= sparsity < 1"),
        ("global", float("nan"), (4, 4), "sparsity is nan"),
    ],
)
def test_errors_name_value_and_expectation(pattern, sparsity, shape, message):
    with pytest.raises(ValueError, match=message):
        magnitude_mask({"w": torch.randn(shape)}, sparsity, pattern)


def test_random_mask_is_of_the_seed_alone():
    shapes = prunable_parameters(Layers())
    others = {name: torch.zeros_like(param) for name, param in shapes.items()}
    mask = random_mask(shapes, 0.5, seed=11)
    assert mask == random_mask(others, 0.5, seed=11)
    assert mask != random_mask(shapes, 0.5, seed=12)
    assert mask.num_pruned == round(0.5 * mask.num_weights)
    # Each tensor draws numbers of its own, and no part is favoured.
    shares = [mask[name].float().mean().item() for name in mask if mask[name].numel() > 400]
    assert len(set(shares)) > 1
    assert all(0.4 < share < 0.6 for share in shares)


def test_masks_know_their_numbers():
    kept = {"a": torch.tensor([[1, 0, 1], [0, 0, 1]]).bool(), "b": torch.ones(11).bool()}
    mask = Mask(kept)
    assert (mask.num_weights, mask.num_pruned) == (17, 3)
    assert mask.sparsity == 3 / 17
    assert torch.equal(mask["a"], kept["a"])
    other = Mask({"a": ~kept["a"], "b": kept["b"]})
    assert mask.iou(other) == 11 / 17
    assert other.num_revived(mask) == 3
    with pytest.raises(ValueError, match=r"1 missing \['b'\]"):
        Mask({"a": kept["a"]}).iou(mask)
