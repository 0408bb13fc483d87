"""Criteria and rules of other people: by name, checked, and measured as they ask."""

import pytest
import torch
from torch import nn

from parp_fairseq.pruning import (
    CriterionError,
    Mask,
    Measuring,
    Pruner,
    Rule,
    RuleError,
    Schedule,
    build_criterion,
    build_rule,
    parse_pattern,
    register_criterion,
    register_rule,
)
from parp_fairseq.pruning import registry as registry_module
from parp_fairseq.pruning.inputs import InputStatistics
from parp_fairseq.pruning.observer import PATIENCE


@pytest.fixture(autouse=True)
def _own_names(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry_module, "_CRITERIA", dict(registry_module._CRITERIA))
    monkeypatch.setattr(registry_module, "_RULES", dict(registry_module._RULES))


def weights():
    torch.manual_seed(0)
    return {f"layer{i}.weight": nn.Parameter(torch.randn(8, 6)) for i in range(2)}


def unchanged(params, before):
    return all(torch.equal(param, before[name]) for name, param in params.items())


def measured(criterion=None, rule=None, pattern="global", gradient=1.0, sparsity=0.5):
    """A pruner that has measured one update."""
    params = weights()
    criterion = criterion or build_criterion("magnitude")
    pruner = Pruner(
        params, Schedule(sparsity, interval=1), criterion, parse_pattern(pattern), rule=rule
    )
    gradients = {name: torch.full_like(param, gradient) for name, param in params.items()}
    pruner.measure(1, gradients, {})
    return pruner, params


def test_functions_and_classes_are_found_by_name():
    @register_criterion("plain")
    def plain(name, weight):
        return weight.abs()

    @register_criterion("seeded")
    class Seeded:
        def __init__(self, seed):
            self.seed = seed

        def __call__(self, name, weight):
            return torch.rand(weight.shape, generator=torch.Generator().manual_seed(self.seed))

    @register_rule("lazy")
    class Lazy(Rule):
        def __call__(self, now):
            return now.mask

    assert build_criterion("plain") is plain and plain.reprunes
    assert build_criterion("seeded", 3).seed == 3
    assert isinstance(build_rule("lazy"), Lazy)
    with pytest.raises(ValueError, match="there is a criterion 'plain' already"):
        register_criterion("plain")(plain)
    with pytest.raises(
        ValueError, match=r"'missing' is not a registered rule: .*parp, rigl, .*lazy"
    ):
        build_rule("missing")
    with pytest.raises(ValueError, match=r"rule 'f' is .*expected a subclass of Rule"):
        register_rule("f")(lambda now: now.mask)


def test_a_criterion_that_reprunes_ranks_every_mask():
    @register_criterion("largest")
    def largest(name, weight):
        return -weight.abs()

    for registered, expected in ((largest, -1), (lambda name, w: -w.abs(), 1)):
        params = weights()
        pruner = Pruner(params, Schedule(0.25, interval=1), registered)
        pruner.start()
        with torch.no_grad():
            for param in params.values():
                param.copy_(torch.randn_like(param))
        scores = torch.cat([expected * p.detach().abs().view(-1) for p in params.values()])
        pruner.prune(1)
        kept = torch.cat([keep.view(-1) for keep in dict(pruner.mask.items()).values()])
        assert scores[~kept].max() <= scores[kept].min()


class Bad(Measuring):
    asks = ("gradient",)

    def __init__(self, keep):
        self.keep = keep

    def measure(self, name, seen):
        if name == "layer1.weight":
            self.keep(self.measured, name, seen)
        else:
            self.measured[name] = seen.gradient.clone()

    def __call__(self, name, weight):
        return self.measured[name]


KEPT = {
    "nothing": (lambda kept, name, seen: None, "has measured nothing of layer1.weight"),
    "nan": (
        lambda kept, name, seen: kept.update({name: seen.weight * torch.nan}),
        "scores for layer1.weight that are infinite or not a number",
    ),
    "infinite": (
        lambda kept, name, seen: kept.update({name: seen.weight / 0}),
        "scores for layer1.weight that are infinite or not a number",
    ),
    "too few": (
        lambda kept, name, seen: kept.update({name: seen.gradient[0]}),
        "returned 6 scores for layer1.weight, expected 48",
    ),
}


@pytest.mark.parametrize("pattern", ["global", "layerwise", "1:2"])
@pytest.mark.parametrize("keep, message", KEPT.values(), ids=KEPT)
def test_what_a_criterion_measures_wrongly_is_named(pattern, keep, message):
    criterion = register_criterion("bad")(Bad)(keep)
    pruner, params = measured(criterion, pattern=pattern)
    before = {name: param.detach().clone() for name, param in params.items()}
    with pytest.raises(CriterionError, match=f"criterion bad .*{message}"):
        pruner.start()
    assert unchanged(params, before)


def dense(now):
    return Mask({name: torch.ones_like(w, dtype=torch.bool) for name, w in now.weights.items()})


RETURNED = {
    "nothing": (lambda now: None, "returned a wrong mask: expected a mask, found NoneType"),
    "too many": (dense, "prunes 0 of 96 weights, expected 48"),
    "other sparsity": (
        lambda now: now.select(now.criterion, 0.25),
        "prunes 24 of 96 weights, expected 48",
    ),
    "a weight less": (lambda now: now.mask.part(["layer0.weight"]), "1 missing .*layer1.weight"),
    "turned": (
        lambda now: {n: torch.ones(6, 8, dtype=torch.bool) for n in now.weights},
        r"mask of layer0.weight has shape \(6, 8\), expected \(8, 6\)",
    ),
    "numbers": (
        lambda now: {n: w.detach() for n, w in now.weights.items()},
        "layer0.weight",
    ),
    "nan": (
        lambda now: now.select(lambda name, w: w * torch.nan),
        "scores for layer0.weight that are infinite or not a number",
    ),
    "too few scores": (
        lambda now: now.select(lambda name, w: w.detach().view(-1)[1:]),
        "returned 47 scores for layer0.weight, expected 48",
    ),
}


@pytest.mark.parametrize("returns, message", RETURNED.values(), ids=RETURNED)
def test_a_rule_that_is_wrong_is_named_before_anything_is_zeroed(returns, message):
    @register_rule("wrong")
    class Wrong(Rule):
        def __call__(self, now):
            return returns(now)

    params = weights()
    pruner = Pruner(params, Schedule(0.5, interval=1), rule=build_rule("wrong"))
    pruner.start()
    before, mask = {n: p.detach().clone() for n, p in params.items()}, pruner.mask
    with pytest.raises((RuleError, CriterionError), match=f"rule wrong.*{message}"):
        pruner.prune(1)
    assert unchanged(params, before) and pruner.mask is mask


@pytest.mark.parametrize("pattern", ["layerwise", "1:2"])
def test_a_rule_must_follow_the_pattern(pattern):
    @register_rule("global_only")
    class GlobalOnly(Rule):
        def __call__(self, now):
            order = [keep.clone() for keep in dict(now.mask.items()).values()]
            order[0].view(-1)[order[0].view(-1).nonzero()[0]] = False
            order[1].view(-1)[(~order[1]).view(-1).nonzero()[0]] = True
            return dict(zip(now.mask, order))

    params = weights()
    pruner = Pruner(
        params, Schedule(0.5, interval=1), pattern=parse_pattern(pattern),
        rule=build_rule("global_only"),
    )  # fmt: skip
    pruner.start()
    with pytest.raises(
        RuleError, match=f"rule global_only .*does not follow the pattern {pattern}"
    ):
        pruner.prune(1)


def test_an_overflow_is_not_measured():
    """Under AMP fairseq steps after an overflow too."""
    movement = build_criterion("movement")
    pruner, params = measured(movement)
    before = {name: kept.clone() for name, kept in movement.measured.items()}
    gradients = {name: torch.ones_like(param) for name, param in params.items()}
    gradients["layer1.weight"][0, 0] = torch.inf
    pruner.measure(2, gradients, {})
    assert all(torch.equal(movement.measured[name], kept) for name, kept in before.items())


def test_a_layer_that_took_no_part_keeps_what_was_measured():
    """layerdrop: no gradient, or under data parallelism one of zeros."""
    taylor = build_criterion("taylor")
    pruner, params = measured(taylor)
    before = taylor.measured["layer1.weight"].clone()
    for absent in (None, torch.zeros(8, 6)):
        gradients = {"layer0.weight": torch.full((8, 6), 2.0), "layer1.weight": absent}
        pruner.measure(2, gradients, {})
        assert torch.equal(taylor.measured["layer1.weight"], before)
    expected = (2 * params["layer0.weight"].detach()).abs()
    assert torch.equal(taylor.measured["layer0.weight"], expected)


def test_a_parameter_that_is_never_measured_is_named():
    params = weights()
    pruner = Pruner(params, Schedule(0.5, interval=1), build_criterion("taylor"))
    gradients = {"layer0.weight": torch.ones(8, 6), "layer1.weight": None}
    with pytest.raises(CriterionError, match=r"taylor has measured nothing of layer1\.weight"):
        for update in range(PATIENCE):
            assert not pruner.may_start
            pruner.measure(update + 1, gradients, {})


def test_the_optimizers_state_is_there_from_the_second_update_on():
    @register_criterion("second_moment")
    class AdamFisher(Measuring):
        asks = ("optimizer",)

        def measure(self, name, seen):
            self.measured[name] = seen.optimizer["exp_avg_sq"].clone()

        def __call__(self, name, weight):
            return weight.square() * self.measured[name]

    params = weights()
    pruner = Pruner(params, Schedule(0.5, interval=1), build_criterion("second_moment"))
    pruner.measure(1, {}, {name: {} for name in params})
    assert not pruner.may_start
    states = {name: {"exp_avg_sq": torch.rand(8, 6)} for name in params}
    pruner.measure(2, {}, states)
    pruner.start()
    scores = {name: states[name]["exp_avg_sq"] for name in params}
    assert pruner.mask.num_pruned == 48 and pruner.observer.has_measured("criterion") and scores


class Network(nn.Module):
    """A convolution in groups, and attention that calls its projections."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3, groups=2)
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(6, 6) for _ in range(4))

    def forward(self, x):
        x = self.conv(x).transpose(1, 2)
        return self.out_proj(self.q_proj(x) + self.k_proj(x) * self.v_proj(x))


def test_inputs_of_convolutions_and_of_projections_that_are_called():
    torch.manual_seed(0)
    network, x = Network(), torch.randn(2, 4, 20)
    params = dict(network.named_parameters())
    inputs = InputStatistics(network, params)
    network(x)  # outside of training: not counted
    with inputs.counting(anew=True):
        network(x)
    assert inputs.end_update() == {"conv", "q_proj", "k_proj", "v_proj", "out_proj"}
    norm = x.double().square().mean((0, 2)).sqrt().float()
    expected = norm.view(2, 2).repeat_interleave(3, 0)[..., None]
    torch.testing.assert_close(inputs.norm("conv.weight"), expected)
    assert inputs.norm("conv.weight").shape == (6, 2, 1)
    hidden = network.conv(x).transpose(1, 2).detach()
    torch.testing.assert_close(inputs.mean("q_proj.weight"), hidden.mean((0, 1)))
    assert inputs.norm("q_proj.bias") == 1 == inputs.mean("out_proj.bias")


def test_inputs_of_other_modules_are_refused():
    network = nn.Sequential(nn.LayerNorm(4))
    with pytest.raises(ValueError, match=r"0\.weight belongs to LayerNorm: inputs can be measured"):
        InputStatistics(network, dict(network.named_parameters()))
