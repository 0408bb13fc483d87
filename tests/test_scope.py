"""Scope: names are canonical, and only plain weights with memory of their own are covered."""

from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from parp_fairseq.pruning import Mask, magnitude_mask, prunable_parameters, random_mask
from parp_fairseq.pruning.family import FAMILIES, Family, family_of

WIDTH = 8


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)


class Encoder(nn.Module):
    def __init__(self, layers=2):
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(layers))


def holding(**modules):
    """A module that has these as children."""
    holder = nn.Module()
    for name, module in modules.items():
        holder.add_module(name, module)
    return holder


def both(module):
    """The module, and its state dict."""
    return module, module.state_dict()


PLAIN = list(Encoder().state_dict())


# Names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.module.",
        "_fsdp_wrapped_module._checkpoint_wrapped_module.",
        "base_model.model.",
        "w2v_encoder.w2v_model.",
        "module.w2v_encoder._orig_mod.w2v_model.module.",
    ],
)
def test_prefixes_of_wrappers_are_stripped(prefix, tmp_path):
    state = {prefix + name: weight for name, weight in Encoder().state_dict().items()}
    assert list(prunable_parameters(state)) == PLAIN
    torch.save({f"{name}_mask": torch.ones_like(w) for name, w in state.items()}, tmp_path / "m.pt")
    assert list(Mask.load(tmp_path / "m.pt")) == PLAIN


def test_wrappers_of_torch():
    assert list(prunable_parameters(nn.DataParallel(Encoder()))) == PLAIN
    network = Encoder()
    network.layers[1] = checkpoint_wrapper(network.layers[1])
    assert list(prunable_parameters(network)) == PLAIN


def test_names_that_become_the_same_are_refused(tmp_path):
    name = "layers.0.fc1.weight"
    state = {name: torch.ones(2, 2), f"module.{name}": torch.ones(2, 2)}
    with pytest.raises(ValueError, match=rf"^{name} and module\.{name} have the same canonical"):
        prunable_parameters(state)
    torch.save({f"{key}_mask": value for key, value in state.items()}, tmp_path / "mask.pt")
    with pytest.raises(ValueError, match=r"mask\.pt: .* have the same canonical name"):
        Mask.load(tmp_path / "mask.pt")


@pytest.mark.parametrize("student_layers", [1, 2])
def test_two_encoders_in_one_network_are_refused(student_layers):
    teacher, student = (holding(w2v_model=Encoder(n)) for n in (1, student_layers))
    for network in both(holding(teacher=teacher, student=student)):
        with pytest.raises(ValueError, match=r"2 encoders, student\.w2v_model, teacher\.w2v_model"):
            prunable_parameters(network)
    assert list(prunable_parameters(student)) == list(Encoder(student_layers).state_dict())


def test_one_encoder_under_two_names_is_one():
    encoder = Encoder()
    for network in both(holding(a=holding(w2v_model=encoder), b=holding(w2v_model=encoder))):
        assert list(prunable_parameters(network)) == PLAIN


def test_flat_parameters_of_fsdp_are_refused():
    state = {"_fsdp_wrapped_module._flat_param": torch.ones(9)}
    with pytest.raises(ValueError, match=r"_flat_param .* FSDP .*use_orig_params=True"):
        prunable_parameters(state, "re:")


def test_a_family_is_one_row(monkeypatch):
    """Another library's names for the same encoder give the same canonical names."""
    other = Family(
        title="another library",
        scopes=dict.fromkeys(FAMILIES[0].scopes, r"encoder\.layers\.\d+\.(fc1|fc2)"),
        root="speech",
        renames=((r"feed_forward\.intermediate_dense", "fc1"),),
    )
    monkeypatch.setattr("parp_fairseq.pruning.family.FAMILIES", (*FAMILIES, other))
    theirs = "encoder.layers.0.feed_forward.intermediate_dense.weight"
    assert list(prunable_parameters({f"speech.{theirs}": torch.ones(2, 2), "head": torch.ones(2)}))\
        == ["encoder.layers.0.fc1.weight"]  # fmt: skip
    assert family_of(PLAIN) is FAMILIES[0]


# Weights that are no plain parameters ---------------------------------------------------------


class Lora(nn.Module):
    """Named as PEFT names them."""

    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.ModuleDict({"default": nn.Linear(WIDTH, 2, bias=False)})


def as_loralib(layer):
    layer.lora_A = nn.Parameter(torch.ones(2, WIDTH))


COMPUTED = {
    "pruned": (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "torch.nn.utils.prune"),
    "weight norm": (weight_norm, "under weight norm; .*remove_weight_norm"),
    "new weight norm": (parametrizations.weight_norm, "parametrized .*remove_parametrizations"),
    "spectral norm": (spectral_norm, "under spectral norm; .*remove_spectral_norm"),
    "new spectral norm": (parametrizations.spectral_norm, "parametrized"),
    "loralib": (as_loralib, "LoRA; merge"),
}


@pytest.mark.parametrize("scope", ["transformer", "all", r"re:fc1", r"re:fc1\.weight$"])
@pytest.mark.parametrize("kind", COMPUTED)
@pytest.mark.filterwarnings("ignore")
def test_a_weight_that_is_computed_is_named(kind, scope):
    change, message = COMPUTED[kind]
    network = Encoder()
    change(network.layers[1].fc1)
    for model in both(network):
        with pytest.raises(ValueError, match=rf"layers\.1\.fc1\.weight is .*{message}"):
            prunable_parameters(model, scope)
        assert list(prunable_parameters(model, "re:fc2")) == [n for n in PLAIN if "fc2" in n]


def test_lora_as_in_peft_is_named():
    network = Encoder()
    network.layers[1].fc2 = Lora(network.layers[1].fc2)
    for model in both(network):
        with pytest.raises(ValueError, match=r"layers\.1\.fc2\.weight \(and 1 more\) is wrapped"):
            prunable_parameters(model)


def test_a_pruned_bias_is_named():
    network = Encoder()
    prune.l1_unstructured(network.layers[0].fc1, "bias", 0.5)
    with pytest.raises(ValueError, match=r"layers\.0\.fc1\.bias is pruned by torch"):
        prunable_parameters(network)


def test_parameters_named_like_parts_are_plain():
    """nn.MultiheadAttention has a bias_k and a bias_v, which are no parts of a weight norm."""
    attention = nn.MultiheadAttention(WIDTH, 2, add_bias_kv=True)
    names = list(dict(attention.named_parameters()))
    assert list(prunable_parameters(attention, "re:")) == names


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm])
def test_no_scope_covers_the_positional_convolution_under_weight_norm(norm):
    """It is in every wav2vec 2.0, and ``re:`` must go on covering all the rest."""
    network = holding(
        pos_conv=nn.Sequential(norm(nn.Conv1d(4, 4, 3))), **dict(Encoder().named_children())
    )
    for model in both(holding(encoder=network)):
        assert list(prunable_parameters(model, "re:")) == [f"encoder.{name}" for name in PLAIN]


def test_a_bias_without_its_weight_is_named():
    state = {name: w for name, w in Encoder().state_dict().items() if name != PLAIN[0]}
    with pytest.raises(ValueError, match=r"covers layers\.0\.fc1\.bias.*no layers\.0\.fc1\.weight"):
        prunable_parameters(state)
    with pytest.warns(UserWarning, match=r"covers layers\.0\.fc1\.bias .*not the weight"):
        prunable_parameters(Encoder(), "re:bias")


# Types ----------------------------------------------------------------------------------------

REFUSED = {
    "int8": torch.ones(2, 2, dtype=torch.int8),
    "bool": torch.ones(2, 2, dtype=torch.bool),
    "complex64": torch.ones(2, 2, dtype=torch.complex64),
    "float8_e4m3fn": torch.ones(2, 2).to(torch.float8_e4m3fn),
    "float8_e5m2": torch.ones(2, 2).to(torch.float8_e5m2),
    "sparse_coo": torch.eye(2).to_sparse(),
    "ndarray": np.ones((2, 2)),
    "expand": torch.ones(1, 2).expand(2, 2),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_types_that_cannot_be_pruned_are_named(kind):
    """Everywhere, and before anything is set to zero."""
    name, plain = "layers.1.fc1.weight", torch.ones(2, 2)
    weights = MappingProxyType({"layers.0.fc1.weight": plain, name: REFUSED[kind]})
    mask = Mask({name: torch.zeros(2, 2) for name in weights})
    for action in (prunable_parameters, lambda w: magnitude_mask(w, 0.5), mask.apply_):
        with pytest.raises(ValueError, match=rf"(?s)^[^\n]*{name}[^\n]*{kind}[^\n]*$"):
            action(weights)
    assert plain.eq(1).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_floating_point_types_are_zeroed(dtype):
    weight = -torch.ones(4, 4, dtype=dtype)
    prunable_parameters({"layers.0.fc1.weight": weight})
    random_mask({"w": weight}, 0.5).apply_({"w": weight})
    assert int((weight == 0).sum()) == 8 and not weight[weight == 0].signbit().any()


def test_meta_tensors_have_names_and_no_values():
    network = Encoder().to("meta")
    assert list(prunable_parameters(network)) == PLAIN
    params = prunable_parameters(network)
    for action in (magnitude_mask, random_mask):
        with pytest.raises(ValueError, match=r"layers\.0\.fc1\.weight is on the meta device"):
            action(params, 0.5)
    mask = random_mask(prunable_parameters(Encoder()), 0.5)
    with pytest.raises(ValueError, match="is on the meta device"):
        mask.apply_(params)


def test_a_lazy_parameter_is_named():
    layers = nn.ModuleList([nn.ModuleDict({"fc1": nn.LazyLinear(4)})])
    with pytest.raises(ValueError, match=r"layers\.0\.fc1\.weight has no shape yet"):
        prunable_parameters(holding(layers=layers))


@pytest.mark.parametrize("model", [[], Encoder().named_parameters(), None])
def test_what_is_no_network_is_named(model):
    with pytest.raises(ValueError, match="expected a module, or a mapping"):
        prunable_parameters(model)


def test_a_module_in_the_place_of_its_parameters_is_named():
    with pytest.raises(ValueError, match=r"type Encoder: expected a mapping .*prunable_parameters"):
        magnitude_mask(Encoder(), 0.5)


@pytest.mark.parametrize("scope", [None, 3, ["transformer"]])
def test_a_scope_that_is_no_text_is_named(scope):
    with pytest.raises(ValueError, match=r"scope is .*expected transformer, .*or re:<regex>"):
        prunable_parameters(Encoder(), scope)


# Shared memory --------------------------------------------------------------------------------


def test_tied_weights_count_once():
    network = Encoder()
    network.layers[1].fc1.weight = network.layers[0].fc1.weight
    expected = [name for name in PLAIN if name != "layers.1.fc1.weight"]
    for model in both(network):
        params = prunable_parameters(model)
        assert list(params) == expected
    mask = random_mask(params, 0.5)
    mask.apply_(params)
    zeros = sum(int((p == 0).sum()) for p in network.parameters())
    assert zeros == mask.num_pruned


@pytest.mark.parametrize("first", [True, False])
def test_a_weight_tied_to_one_outside_the_scope_is_refused(first):
    encoder, head = Encoder(), nn.Linear(WIDTH, WIDTH)
    head.weight = encoder.layers[0].fc1.weight
    modules = {"head": head, "encoder": encoder} if first else {"encoder": encoder, "head": head}
    for model in both(holding(**modules)):
        with pytest.raises(ValueError, match=r"fc1\.weight shares memory with head\.weight"):
            prunable_parameters(model)


def test_views_of_one_tensor():
    def names(a, b):
        return list(prunable_parameters({"layers.0.fc1.weight": a, "layers.0.fc2.weight": b}))

    both_names = ["layers.0.fc1.weight", "layers.0.fc2.weight"]
    fused = torch.randn(8, 8)
    assert names(fused[:4], fused[4:]) == both_names
    assert names(fused[:, ::2], fused[:, 1::2]) == both_names
    assert names(fused, fused) == both_names[:1]
    for a, b in ((fused[:5], fused[4:]), (fused, fused.t()), (fused[:, :4], fused[:, 3:]),
                 (fused, fused.view(-1))):  # fmt: skip
        with pytest.raises(ValueError, match="share memory"):
            names(a, b)
        with pytest.raises(ValueError, match="a and b share memory"):
            magnitude_mask({"a": a, "b": b}, 0.5)
        with pytest.raises(ValueError, match="a and b share memory"):
            Mask({"a": torch.zeros(a.shape), "b": torch.zeros(b.shape)}).apply_({"a": a, "b": b})
    assert not (fused == 0).any()
