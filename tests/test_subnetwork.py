"""One network, any number of masks: what is hidden comes back, whatever happens in between."""

import pytest
import torch
from torch import nn

from parp_fairseq.pruning import (
    Mask,
    Pruner,
    Schedule,
    Subnetwork,
    magnitude_mask,
    parse_pattern,
    random_mask,
)
from parp_fairseq.pruning import bits as bits_module
from parp_fairseq.pruning import subnetwork as subnetwork_module


def weights(**shapes):
    torch.manual_seed(0)
    return {name: nn.Parameter(torch.randn(*shape)) for name, shape in shapes.items()}


def copies(params):
    return {name: param.detach().clone() for name, param in params.items()}


def assert_equal(params, expected):
    assert all(torch.equal(param, expected[name]) for name, param in params.items())


def test_two_masks_over_one_network():
    """A mask for each language: a dict is all it takes."""
    params = weights(fc1=(32, 16), fc2=(16, 32))
    masks = {seed: random_mask(params, 0.5, seed=seed) for seed in (1, 2)}
    subnetwork, whole = Subnetwork(params), copies(params)
    for mask in masks.values():
        with subnetwork.hidden(mask):
            for name, param in params.items():
                assert torch.equal(param, whole[name] * mask[name])
                param.grad = torch.ones_like(param)
            subnetwork.mask_gradients(mask)
        assert_equal(params, whole)
        assert all(torch.equal(p.grad, mask[n].float()) for n, p in params.items())


def test_a_learned_mask():
    """As S3-Router: frozen weights, a score for each learns straight-through, the mask follows."""
    params = weights(weight=(16, 16))
    inputs, whole = torch.randn(200, 16), copies(params)
    target = inputs @ (whole["weight"] * (torch.rand(16, 16) > 0.5))
    scores = {name: 0.01 * torch.rand_like(param) for name, param in params.items()}
    subnetwork, pattern, losses = Subnetwork(params), parse_pattern("layerwise"), []

    def learned(name, weight):
        return scores[name]

    for _ in range(80):
        mask = Mask(pattern(params, learned, 0.5))  # once an update, from the scores
        with subnetwork.hidden(mask):
            loss = ((inputs @ params["weight"] - target) ** 2).mean()
            loss.backward()
            losses.append(loss.item())
        for name, param in params.items():
            scores[name] -= 0.03 * param.grad * param.detach()  # d loss / d score, straight-through
            param.grad = None
    assert_equal(params, whole)
    assert losses[-1] < 0.2 * losses[0]


class OutOfMemory(RuntimeError):
    pass


@pytest.mark.parametrize("where", ["take", "apply half-way"])
def test_hiding_that_runs_out_of_memory_changes_nothing(monkeypatch, where):
    params = weights(a=(8, 8), b=(8, 8))
    pruner = Pruner(params, Schedule(0.5, interval=1))
    pruner.start()
    for param in params.values():
        param.data += 1
    whole = copies(params)

    def fail(mask, params):
        if where != "take":
            params["a"].data.mul_(mask["a"])
        raise OutOfMemory("CUDA out of memory")

    with monkeypatch.context() as during:
        if where == "take":
            during.setattr(subnetwork_module, "take", fail)
        else:
            during.setattr(Mask, "apply_", fail)
        with pytest.raises(OutOfMemory):
            pruner.hide()
    assert_equal(params, whole)
    assert pruner.subnetwork.hidden_by is None
    params["a"].data.mul_(torch.rand(8, 8))  # a stale mask would not follow
    assert pruner.subnetwork_mask() == magnitude_mask(params, 0.5)
    pruner.hide()
    assert sum(int((param == 0).sum()) for param in params.values()) == 64


def test_an_error_inside_the_block_restores_the_network():
    params = weights(a=(8, 8))
    subnetwork, whole = Subnetwork(params), copies(params)
    with pytest.raises(OutOfMemory), subnetwork.hidden(magnitude_mask(params, 0.5)):
        raise OutOfMemory
    assert_equal(params, whole)


def test_pruning_while_hidden_is_an_error():
    params = weights(a=(8, 8))
    pruner = Pruner(params, Schedule(0.5, interval=1))
    pruner.start()
    params["a"].data += 1
    whole = copies(params)
    pruner.hide()
    for forbidden in (pruner.start, lambda: pruner.prune(1), pruner.enforce):
        with pytest.raises(RuntimeError, match="hides a part of the network: restore it"):
            forbidden()
    with pytest.raises(RuntimeError, match="restore it"):
        pruner.load(pruner.state_dict())
    with pytest.raises(RuntimeError, match="restore it"):
        pruner.subnetwork.hide(random_mask(params, 0.3))
    pruner.restore()
    assert_equal(params, whole)
    pruner.prune(1)
    assert pruner.mask.num_pruned == int((params["a"] == 0).sum()) == 32


def test_a_mask_of_other_parameters_is_refused_before_anything_changes():
    params = weights(a=(8, 8), b=(4,))
    subnetwork, whole = Subnetwork(params), copies(params)
    other = magnitude_mask(weights(a=(8, 8)), 0.5)
    for method in (subnetwork.hide, subnetwork.apply, subnetwork.outside):
        with pytest.raises(ValueError, match="the mask covers other parameters"):
            method(other)
    assert_equal(params, whole)


@pytest.mark.parametrize("on_cpu", [True, False], ids=["NumPy", "torch branches"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_the_branches_of_a_gpu_give_the_same(monkeypatch, dtype, on_cpu):
    """Magnitude, selection, packing, masks and what lies outside, run on a CPU."""
    params = {n: p.detach().to(dtype) for n, p in weights(a=(37, 21), b=(13,), c=(8, 5, 3)).items()}
    expected, other = magnitude_mask(params, 0.41), random_mask(params, 0.3)
    iou, revived = expected.iou(other), expected.num_revived(other)
    monkeypatch.setattr(bits_module, "on_cpu", lambda tensor: on_cpu)
    mask = magnitude_mask(params, 0.41)
    assert mask == expected
    assert random_mask(params, 0.3) == other
    assert (mask.iou(other), mask.num_revived(other)) == (iou, revived)
    assert mask.num_pruned == round(0.41 * mask.num_weights)
    assert all(torch.equal(mask[name], expected[name]) for name in params)
    subnetwork, whole = Subnetwork(params), copies(params)
    values = subnetwork.outside(mask)
    with subnetwork.hidden(mask):
        assert all(torch.equal(p, whole[n] * expected[n]) for n, p in params.items())
        assert all(torch.equal(v, values[n]) for n, v in subnetwork.outside(mask).items())
    assert_equal(params, whole)
    subnetwork.apply(mask)
    subnetwork.put_back(mask, values)
    assert_equal(params, whole)


@pytest.mark.gpu
def test_what_a_gpu_makes_equals_what_a_cpu_makes():
    params = weights(a=(770, 768), b=(768,), c=(512, 512, 3))
    on_gpu = {name: param.detach().cuda() for name, param in params.items()}
    for pattern in ("global", "layerwise"):
        for sparsity in (0.1, 0.5, 0.9):
            mask = magnitude_mask(on_gpu, sparsity, pattern)
            assert mask == magnitude_mask(params, sparsity, pattern)
    subnetwork, whole = Subnetwork(on_gpu), copies(on_gpu)
    values = subnetwork.outside(mask)
    assert all(not tensor.is_cuda for tensor in values.values())
    with subnetwork.hidden(mask):
        assert all(int((p == 0).sum()) == int((~mask[n]).sum()) for n, p in on_gpu.items())
    subnetwork.apply(mask)
    subnetwork.put_back(mask, values)
    assert_equal(on_gpu, whole)
