"""parp pack, parp unpack: a subnetwork as what differs from its encoder, bit for bit."""

import json
import re

import pytest
import torch
from fairseq_runs import finetune, load, make_trainer, training_config, transcribe, write_encoder
from safetensors import safe_open
from safetensors.torch import save_file
from test_checkpoints import Payload
from test_learned_mask import BF16, ROUTER
from test_training import STOCK

from parp_fairseq.cli import main as parp
from parp_fairseq.pruning import Mask, prunable_parameters
from parp_fairseq.pruning.pack import Pack

METHODS = {
    "s3_router": ROUTER,
    "parp": {"prune_interval": 2},
    "bfloat16": {**ROUTER, "precision": BF16},
}


@pytest.fixture(scope="module")
def checkpoints(corpus, encoder, tmp_path_factory):
    """Method -> a checkpoint of it."""
    folder = tmp_path_factory.mktemp("trained")
    for method, options in METHODS.items():
        finetune(training_config(corpus, encoder, folder / method, max_update=2, **options))
    return {method: folder / method / "checkpoint_last.pt" for method in METHODS}


def pack(checkpoint, output, base=None):
    parp(["pack", str(checkpoint), "-o", str(output), *(["--base", str(base)] if base else [])])
    return output


def unpack(packed, output, base=None):
    parp(["unpack", str(packed), "-o", str(output), *(["--base", str(base)] if base else [])])
    return load(output)


def same_weights(ours, reference):
    assert list(ours) == list(reference)
    for name, weight in ours.items():
        assert weight.dtype == reference[name].dtype and weight.shape == reference[name].shape
        bits = (w.contiguous().view(-1).view(torch.uint8) for w in (weight, reference[name]))
        assert torch.equal(*bits), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_base", [True, False], ids=["base", "alone"])
def test_there_and_back(corpus, encoder, checkpoints, tmp_path, method, with_base):
    base = encoder if with_base else None
    packed = pack(checkpoints[method], tmp_path / "p.safetensors", base)
    original = load(checkpoints[method])
    state = unpack(packed, tmp_path / "again.pt", base)
    same_weights(state["model"], original["model"])
    assert state["cfg"] == json.loads(json.dumps(original["cfg"]))
    dictionaries = (s["task_state"]["target_dictionary"] for s in (state, original))
    ours, reference = (vars(d) for d in dictionaries)
    assert ours == reference
    ways = {one.way for one in Pack.load(packed).weights.values()}
    learned = method != "parp"
    assert ("bits" in ways) == (learned and with_base)
    assert ("kept" in ways) == (not learned or not with_base)


def test_a_learned_mask_takes_a_bit_for_each_weight(encoder, checkpoints, tmp_path):
    packed = Pack.load(pack(checkpoints["s3_router"], tmp_path / "p.safetensors", encoder))
    weights = prunable_parameters(load(checkpoints["s3_router"])["model"], bias=False)
    for name, stored in packed.weights.items():
        short = name.split("w2v_model.")[-1]
        if short in weights:
            assert stored.way == "bits"
            assert stored.nbytes == -(-weights[short].numel() // 8)
        else:
            assert stored.way == ("same" if "w2v_model" in name else "whole"), name
    assert packed.mask == Mask({name: w != 0 for name, w in weights.items()})


def test_stock_fairseq_scores_what_was_unpacked(corpus, encoder, checkpoints, tmp_path):
    packed = pack(checkpoints["s3_router"], tmp_path / "p.safetensors", encoder)
    state = unpack(packed, tmp_path / "again.pt", encoder)
    lines = [
        transcribe(corpus, path, tmp_path / "out")
        for path in (checkpoints["s3_router"], tmp_path / "again.pt")
    ]
    assert lines[0] == lines[1] and any(line.startswith("H-") for line in lines[0])
    stock = make_trainer(training_config(corpus, encoder, tmp_path, **STOCK))
    stock.get_model().load_state_dict(state["model"], strict=True)
    # and training starts from it
    cfg = training_config(
        corpus, encoder, tmp_path / "run", max_update=1, lr="[0.0]", sparsity=0,
        finetune_from_model=tmp_path / "again.pt",
    )  # fmt: skip
    begun = finetune(cfg)["model"]
    assert all(torch.equal(weight, begun[name]) for name, weight in state["model"].items())


def test_a_mask_over_a_finetuned_model_is_packed_against_that_model(
    corpus, encoder, tmp_path, checkpoints
):
    dense = tmp_path / "dense"
    finetune(training_config(corpus, encoder, dense, max_update=1, sparsity=0, lr="[0.01]"))
    finetune(
        training_config(
            corpus, encoder, tmp_path / "router", max_update=1,
            finetune_from_model=dense / "checkpoint_last.pt", **ROUTER,
        )
    )  # fmt: skip
    checkpoint, base = (folder / "checkpoint_last.pt" for folder in (tmp_path / "router", dense))
    packed = pack(checkpoint, tmp_path / "p.safetensors", base)
    same_weights(unpack(packed, tmp_path / "again.pt", base)["model"], load(checkpoint)["model"])
    assert {one.way for one in Pack.load(packed).weights.values()} == {"same", "bits", "whole"}


def test_zeros_of_either_sign_and_other_types_come_back():
    weights = {
        "a": torch.tensor([0.0, -0.0, 1.0, float("nan"), float("-inf"), 0.0, 0.0, 0.0, 0.0]),
        "b": torch.arange(3),
        "c": torch.tensor(True),
        "d": torch.zeros(0, 3),
        "e": torch.zeros(5, dtype=torch.float64).t(),
    }
    for base in (None, {"a": torch.ones(9), "b": torch.arange(3), "d": torch.zeros(0, 3)}):
        same_weights(Pack.of(weights, base, {}).unpack(base), weights)


def test_info_and_compare_read_packs(encoder, checkpoints, tmp_path, capsys):
    packed = pack(checkpoints["s3_router"], tmp_path / "p.safetensors", encoder)
    capsys.readouterr()
    parp(["info", str(packed)])
    told = capsys.readouterr().out
    assert "pack" in told and "encoder.pt, digest" in told and "9 symbols" in told
    zeros = sum(
        int((w == 0).sum())
        for w in prunable_parameters(load(checkpoints["s3_router"])["model"], bias=False).values()
    )
    assert f"{zeros:,} of 4,096 weights are zero" in told
    parp(["compare", str(packed), str(checkpoints["s3_router"])])
    assert "1.0000" in capsys.readouterr().out


# Hostile and damaged files --------------------------------------------------------------------

HUGE = 1 << 39
FC1 = "w2v_encoder.w2v_model.encoder.layers.0.fc1.weight"
HEAD = "w2v_encoder.proj.weight"


def changed(source, target, told=lambda told: None, tensors=lambda tensors: None):
    with safe_open(source, framework="pt") as file:
        metadata = json.loads(file.metadata()["parp-pack"])
        parts = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    told(metadata)
    tensors(parts)
    save_file(parts, target, {"parp-pack": json.dumps(metadata)})


def off_by_one(told):
    told["weights"][FC1][2][0] += 1


def flip(tensors):
    tensors[f"{FC1}:bits"][0] ^= 1


HOSTILE = {
    "wrong digest": (dict(told=lambda t: t.update(digest="0" * 16)), "the file was changed"),
    "a bit flipped": (dict(tensors=flip), "the file was changed"),
    "another base": (dict(told=lambda t: t.update(base="0" * 16)), "packed with a base of digest"),
    "shape off by one": (dict(told=off_by_one), rf"{FC1}: expected bits .* \(66,\), found .*\(64,"),
    "a huge shape": (
        dict(told=lambda t: t["weights"].update({FC1: ["same", "float32", [HUGE, HUGE], None]})),
        "holds tensors that it does not name",
    ),
    "negative size": (dict(told=lambda t: t["weights"][FC1].__setitem__(2, [-1])), "described as"),
    "unknown way": (dict(told=lambda t: t["weights"][FC1].__setitem__(0, "eval")), "described as"),
    "unknown type": (dict(told=lambda t: t["weights"][FC1].__setitem__(1, "object")), "described"),
    "a way as a list": (dict(told=lambda t: t["weights"][FC1].__setitem__(0, [])), "described as"),
    "a tensor left out": (dict(tensors=lambda t: t.pop(f"{HEAD}:values")), "pack .*"),
    "a tensor too many": (
        dict(tensors=lambda t: t.update(other=torch.ones(1))), "does not name",
    ),
    "values of another type": (
        dict(tensors=lambda t: t.update({f"{HEAD}:values": t[f"{HEAD}:values"].half()})),
        "expected values of type torch.float32",
    ),
    "same without a base": (dict(told=lambda t: t.update(base=None)), "in a pack without a base"),
    "no settings": (dict(told=lambda t: t.update(settings=None)), "lacks weights, digests or"),
    "no cfg": (dict(told=lambda t: t["settings"].update(cfg=None)), "neither cfg nor args"),
    "a dictionary of numbers": (
        dict(told=lambda t: t["settings"]["dictionary"].update(symbols=[1])),
        "dictionary lacks symbols",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_packs(encoder, checkpoints, tmp_path, capsys, kind):
    packed = pack(checkpoints["s3_router"], tmp_path / "p.safetensors", encoder)
    changes, message = HOSTILE[kind]
    changed(packed, tmp_path / "bad.safetensors", **changes)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        unpack(tmp_path / "bad.safetensors", tmp_path / "again.pt", encoder)
    told = capsys.readouterr().err
    assert "bad.safetensors" in told and told.count("\n") <= 2
    assert re.search(message, told), told
    assert not (tmp_path / "again.pt").exists()


def test_bits_behind_the_last_element():
    stored = Pack.of({"w": torch.tensor([1.0, 0, 0])}, {"w": torch.ones(3)}, {})
    from parp_fairseq.pruning.pack import _require_fit

    stored.weights["w"].parts["bits"][0] |= 128
    with pytest.raises(ValueError, match="behind the last of its 3 elements"):
        _require_fit("w", stored.weights["w"])


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_pack_that_is_cut_short(encoder, checkpoints, tmp_path, capsys, cut):
    packed = pack(checkpoints["s3_router"], tmp_path / "p.safetensors", encoder)
    packed.write_bytes(packed.read_bytes()[:cut])
    with pytest.raises(SystemExit):
        unpack(packed, tmp_path / "again.pt", encoder)
    assert "p.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "again.pt").exists()


def test_a_payload_does_not_run(encoder, tmp_path, capsys):
    torch.save({"model": Payload(tmp_path / "ran")}, tmp_path / "p.safetensors")
    for command in (
        ["unpack", tmp_path / "p.safetensors", "--base", encoder, "-o", tmp_path / "again.pt"],
        ["pack", tmp_path / "p.safetensors", "--base", encoder, "-o", tmp_path / "q.safetensors"],
        ["info", tmp_path / "p.safetensors"],
    ):
        with pytest.raises(SystemExit):
            parp(list(map(str, command)))
        assert "p.safetensors" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["p.safetensors"]


def test_another_encoder_is_refused(encoder, checkpoints, tmp_path, capsys):
    packed = pack(checkpoints["s3_router"], tmp_path / "p.safetensors", encoder)
    other = write_encoder(tmp_path / "other.pt", seed=5)
    larger = write_encoder(tmp_path / "larger.pt", encoder_ffn_embed_dim=64)
    for base, message in (
        (other, "expected the same weights"),
        (larger, "expected the same weights"),
        (None, "needs the base of digest"),
        (packed, "is a pack: expected a checkpoint"),
        (tmp_path / "none.pt", "does not exist"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit):
            unpack(packed, tmp_path / "again.pt", base)
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pack(checkpoints["s3_router"], tmp_path / "q.safetensors", packed)
    alone = pack(checkpoints["s3_router"], tmp_path / "alone.safetensors")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        unpack(alone, tmp_path / "again.pt", encoder)
    assert "packed without a base: expected none" in capsys.readouterr().err
    assert not (tmp_path / "again.pt").exists() and not (tmp_path / "q.safetensors").exists()
