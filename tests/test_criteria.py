"""The contract of criteria: any scores, compared exactly, against a plain stable sort."""

import pytest
import torch

from parp_fairseq.pruning import (
    CriterionError,
    Mask,
    Pruner,
    RandomScores,
    Schedule,
    magnitude,
    parse_pattern,
)
from parp_fairseq.pruning import bits as bits_module
from parp_fairseq.pruning import criterion as criterion_module
from parp_fairseq.pruning import selection as selection_module

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def weights(*shapes):
    torch.manual_seed(0)
    return {f"w{i}": torch.nn.Parameter(torch.randn(shape)) for i, shape in enumerate(shapes)}


def lowest_by_sorting(scores, num_pruned):
    joined = torch.cat([s.reshape(-1).double() for s in scores.values()])
    keep = torch.ones(len(joined), dtype=torch.bool)
    keep[joined.argsort(stable=True)[:num_pruned]] = False
    parts = keep.split([s.numel() for s in scores.values()])
    return Mask({name: part.view(s.shape) for (name, s), part in zip(scores.items(), parts)})


def mask_by(scores, params, sparsity, pattern="global"):
    return Mask(parse_pattern(pattern)(params, lambda name, weight: scores[name], sparsity))


@pytest.fixture(params=["bracket", "histograms", "torch branches", "small pieces"])
def way(request, monkeypatch):
    """The ways in which the lowest scores are found."""
    if request.param == "histograms":
        monkeypatch.setattr(selection_module, "_COLLECTED", -1)
        monkeypatch.setattr(selection_module, "_bracket", lambda *_: (5, 4))
    if request.param == "torch branches":
        monkeypatch.setattr(bits_module, "on_cpu", lambda tensor: False)
    if request.param == "small pieces":
        monkeypatch.setattr(criterion_module, "PIECE", 1000)


def signed(params, dtype):
    return {name: torch.randn(param.shape, dtype=dtype) for name, param in params.items()}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_signed_scores_of_any_type(way, dtype):
    params = weights((96, 64), (64,), (0, 3), (32, 96, 2))
    scores = signed(params, dtype)
    scores["w0"][3] = 0.0
    scores["w0"][4] = -0.0  # equal to 0.0: the position decides
    scores["w3"] = scores["w3"].abs()
    for sparsity in (0.05, 0.5, 0.93):
        num_pruned = round(sparsity * 12352)
        assert mask_by(scores, params, sparsity) == lowest_by_sorting(scores, num_pruned)


def test_scores_of_several_types_are_compared_by_value(way):
    params = weights((50, 40), (50, 40), (50, 40))
    scores = dict(zip(params, (torch.randn(50, 40, dtype=d).sign() for d in DTYPES)))
    scores["w1"] = torch.randn(50, 40, dtype=torch.float64)
    assert mask_by(scores, params, 0.4) == lowest_by_sorting(scores, 2400)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_neighbouring_floats_are_told_apart(way, dtype):
    """Scores that differ in the last bit alone, and would be equal in a shorter type."""
    params = weights((100, 100))
    integers = torch.randperm(10_000).to(torch.int64 if dtype is torch.float64 else torch.int32)
    base = torch.tensor(-1.0, dtype=dtype).view(integers.dtype)
    scores = {"w0": (base + integers).view(dtype).view(100, 100)}
    assert mask_by(scores, params, 0.3) == lowest_by_sorting(scores, 3000)


def test_float64_weights_are_ranked_exactly():
    weight = 1 + torch.randperm(10_000).double().view(100, 100) * 2.0**-52
    mask = Mask(parse_pattern("global")({"w": weight}, magnitude, 0.5))
    assert mask == lowest_by_sorting({"w": weight}, 5000)


def test_a_criterion_only_ever_sees_the_parameters_themselves():
    """At a size of wav2vec 2.0: a criterion may look up what it has kept of a tensor."""
    params = weights((768, 768), (768,))
    inputs = {name: torch.rand(param.shape[-1]) for name, param in params.items()}

    def wanda(name, weight):
        assert weight is params[name]
        return weight.abs() * inputs[name]

    scores = {name: wanda(name, param).detach() for name, param in params.items()}
    mask = Mask(parse_pattern("global")(params, wanda, 0.5))
    assert mask == lowest_by_sorting(scores, round(0.5 * mask.num_weights))


def test_scores_may_depend_on_the_whole_parameter():
    params = weights((300, 200), (200, 300))

    def relative(name, weight):
        return weight.abs() / weight.norm(dim=1, keepdim=True)

    scores = {name: relative(name, param).detach() for name, param in params.items()}
    for sparsity in (0.2, 0.5):
        mask = Mask(parse_pattern("global")(params, relative, sparsity))
        assert mask == lowest_by_sorting(scores, round(sparsity * 120_000))


def test_pieces_of_any_length_are_one_tensor(way):
    params = weights((40, 50))
    scores = torch.randn(40, 50)
    pieces = (0, 1, 7, 700, 1292)

    def in_pieces(name, weight):
        buffer = torch.empty(1292)
        for piece in scores.view(-1).split(pieces):
            buffer[: len(piece)] = piece  # the next piece overwrites this one
            yield buffer[: len(piece)]

    for pattern in ("global", "layerwise", "1:2"):
        expected = mask_by({"w0": scores}, params, 0.5, pattern)
        assert Mask(parse_pattern(pattern)(params, in_pieces, 0.5)) == expected


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_n_of_m_by_signed_scores(dtype):
    params = weights((30, 40))
    scores = signed(params, dtype)
    kept = mask_by(scores, params, 0.75, "1:4")["w0"].view(-1, 4)
    best = scores["w0"].view(-1, 4).double().argsort(dim=1, stable=True)[:, 3:]
    assert torch.equal(kept, torch.zeros_like(kept).scatter(1, best, True))


BROKEN = {
    "too few": (lambda n, w: w.detach().view(-1)[1:], "returned 15 scores for w1, expected 16"),
    "too many": (lambda n, w: torch.rand(17), "returned 17 or more scores for w1, expected 16"),
    "turned": (lambda n, w: torch.rand(2, 8), r"shape \(2, 8\) for w1, expected \(8, 2\)"),
    "nan": (lambda n, w: w * torch.nan, "scores for w1 that are infinite or not a number"),
    "infinite": (lambda n, w: w - torch.inf, "scores for w1 that are infinite or not a number"),
    "integers": (lambda n, w: torch.arange(16), "returned torch.int64 for w1"),
    "nothing": (lambda n, w: None, "returned NoneType for w1"),
    "numbers": (lambda n, w: [0.0] * 16, "returned float for w1, expected tensors"),
    "no pieces": (lambda n, w: iter([]), "returned 0 scores for w1, expected 16"),
}


@pytest.mark.parametrize("pattern", ["global", "layerwise", "1:2"])
@pytest.mark.parametrize("scores, message", BROKEN.values(), ids=BROKEN)
def test_a_broken_criterion_is_named_before_anything_is_zeroed(pattern, scores, message):
    params = weights((8, 2), (8, 2))

    def my_criterion(name, weight):
        return scores(name, weight) if name == "w1" else weight.abs()

    before = {name: param.detach().clone() for name, param in params.items()}
    pruner = Pruner(params, Schedule(0.5, interval=1), my_criterion, parse_pattern(pattern))
    with pytest.raises(CriterionError, match=rf"criterion my_criterion .*{message}"):
        pruner.start()
    assert all(torch.equal(param, before[name]) for name, param in params.items())


def test_scores_that_become_double_are_refused(monkeypatch):
    class Growing:
        calls = 0

        def __call__(self, name, weight):
            self.calls += 1
            return weight.abs() if self.calls < 2 else weight.abs().double()

    with pytest.raises(CriterionError, match="criterion Growing returned float64 scores for w0"):
        Mask(parse_pattern("global")(weights((8, 8)), Growing(), 0.5))


@pytest.mark.parametrize("criterion", [magnitude, RandomScores(3)], ids=["magnitude", "random"])
def test_a_sample_changes_nothing_but_the_time(criterion):
    params = weights((300, 300), (40, 3))
    expected = Mask(parse_pattern("global")(params, lambda *args: criterion(*args), 0.3))
    assert Mask(parse_pattern("global")(params, criterion, 0.3)) == expected
