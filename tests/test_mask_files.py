"""Promise 9 for mask files: they come back as they were, the authors' are read, none runs code."""

import json
import os

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from parp_fairseq.pruning import Mask, magnitude_mask, prunable_parameters


@pytest.fixture
def mask():
    torch.manual_seed(0)
    weights = {
        "encoder.layers.0.fc1.weight": torch.randn(9, 7),
        "encoder.layers.0.fc1.bias": torch.randn(9),
    }
    return Mask(dict(magnitude_mask(weights, 0.4)), scope="transformer", origin="a test")


def test_round_trip(mask, tmp_path):
    mask.save(tmp_path / "mask.safetensors")
    loaded = Mask.load(tmp_path / "mask.safetensors")
    assert loaded == mask
    assert (loaded.scope, loaded.origin) == ("transformer", "a test")
    assert [p.name for p in tmp_path.iterdir()] == ["mask.safetensors"]


def test_one_bit_a_weight(tmp_path):
    mask = magnitude_mask({"w": torch.randn(1000, 1000)}, 0.5)
    mask.save(tmp_path / "mask.safetensors")
    assert (tmp_path / "mask.safetensors").stat().st_size * 8 <= 1.02 * 1_000_000
    with safe_open(tmp_path / "mask.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["parp-mask"])["sparsity"] == 0.5


def test_equal_masks_are_equal_files(mask, tmp_path):
    files = [tmp_path / f"{copy}.safetensors" for copy in range(5)]
    for file in files:
        mask.save(file)
    assert len({file.read_bytes() for file in files}) == 1


def test_one_bit_a_weight_in_checkpoints(tmp_path):
    mask = magnitude_mask({"w": torch.randn(1000, 1000)}, 0.5)
    torch.save(mask.state_dict(), tmp_path / "state.pt")
    assert (tmp_path / "state.pt").stat().st_size * 8 <= 1.02 * 1_000_000
    assert Mask.from_state_dict(torch.load(tmp_path / "state.pt", weights_only=True)) == mask


@pytest.mark.parametrize("prefix", ["", "w2v_encoder.w2v_model."])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_reads_the_authors_files(mask, tmp_path, prefix, dtype):
    torch.save({f"{prefix}{n}_mask": keep.to(dtype) for n, keep in mask.items()}, tmp_path / "m.pt")
    assert Mask.load(tmp_path / "m.pt") == mask


@pytest.mark.parametrize(
    "name",
    ["mask", "mask.pt", "MASK.SAFETENSORS", "mask.tar.gz", ".mask", "m" * 250, "\u00fc" * 120],
)
def test_a_file_of_any_name_is_read(mask, tmp_path, name):
    mask.save(tmp_path / name)
    assert Mask.load(tmp_path / name) == mask
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("kind", ["to_sparse", "to_sparse_csr", "half", "bfloat16", "int", "bool"])
@pytest.mark.filterwarnings("ignore")
def test_the_authors_tensors_may_be_of_any_kind(tmp_path, kind):
    torch.save({"a.weight_mask": getattr(torch.eye(8), kind)()}, tmp_path / "mask.pt")
    assert torch.equal(Mask.load(tmp_path / "mask.pt")["a.weight"], torch.eye(8).bool())


@pytest.mark.parametrize("where", ["folder", "folder/", "missing/mask"])
def test_a_path_that_cannot_be_written_is_named(mask, tmp_path, where):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"^\S+/(folder|mask) cannot be written: [^\n]*$"):
        mask.save(f"{tmp_path}/{where}")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


EYE = np.eye(3)
ZEROS_AND_ONES = [
    EYE, EYE.astype(bool), EYE.astype(np.uint16), EYE.astype(">f4"), EYE.T[::-1][::-1],
    torch.eye(3), torch.eye(3).int(), torch.eye(3).to_sparse(), torch.eye(3).bool().to_sparse(),
    torch.eye(3).to(torch.float8_e4m3fn), torch.nn.Parameter(torch.eye(3)),
]  # fmt: skip
NO_ZEROS_AND_ONES = [
    EYE * 0.5, EYE * np.nan, -EYE, torch.eye(3) * 2, torch.tensor([torch.nan]), [[1, 0]], None, 1,
    np.array(["1"]), np.array([1, None]), torch.eye(3, device="meta"), torch.eye(3) + 0j,
]  # fmt: skip


@pytest.mark.parametrize("kept", ZEROS_AND_ONES)
def test_a_mask_of_zeros_and_ones(kept):
    assert torch.equal(Mask({"w": kept})["w"], torch.eye(3).bool())


@pytest.mark.parametrize("kept", NO_ZEROS_AND_ONES)
def test_a_mask_of_anything_else_is_refused(kept):
    with pytest.raises(ValueError, match=r"^w(: expected a tensor of bool, or of zeros and ones, |)"
                       r"( holds values other than 0 and 1|found [^\n]*)$"):  # fmt: skip
        Mask({"w": kept})


def test_a_name_that_is_given_twice_is_refused():
    with pytest.raises(ValueError, match="the mask of w is given twice"):
        Mask([("w", torch.ones(2)), ("w", torch.zeros(2))])


def test_a_mask_knows_its_names_without_unpacking_them(mask, monkeypatch):
    monkeypatch.setattr("parp_fairseq.pruning.mask.unpack", None)
    assert "encoder.layers.0.fc1.weight" in mask
    assert "encoder.layers.0.fc1" not in mask and 3 not in mask


def test_a_mask_tells_what_it_is(mask):
    assert repr(mask) == "Mask(72 weights in 2 parameters, sparsity 0.4028, scope transformer)"


def test_masks_are_compared_on_what_they_share(mask):
    other = Mask({"encoder.layers.0.fc1.weight": torch.ones(9, 7), "more": torch.ones(3)})
    with pytest.raises(ValueError, match=r"covers other parameters: 1 missing \['more'\], 1 too"):
        mask.iou(other)
    mine, theirs = mask.shared_with(other)
    assert list(mine) == list(theirs) == ["encoder.layers.0.fc1.weight"]
    assert mine.iou(theirs) == mask["encoder.layers.0.fc1.weight"].float().mean()
    with pytest.raises(ValueError, match=r"share no parameter: one covers .*fc1.*, the other more"):
        mask.shared_with(other.part(["more"]))
    with pytest.raises(ValueError, match="has shape"):
        mask.shared_with(Mask({"encoder.layers.0.fc1.weight": torch.ones(9, 8)}))


def test_a_checkpoint_is_no_mask(tmp_path):
    torch.save({"model": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="it is a checkpoint: expected a mask, which `parp mask`"):
        Mask.load(tmp_path / "checkpoint.pt")


def test_save_leaves_nothing_half_written(mask, tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    mask.save(tmp_path / "mask.safetensors")
    before = (tmp_path / "mask.safetensors").read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", full_disk)
    with pytest.raises(OSError, match=r"mask\.safetensors cannot be written: No space"):
        mask.save(tmp_path / "mask.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["mask.safetensors"]
    assert (tmp_path / "mask.safetensors").read_bytes() == before


class Payload:
    """A pickle that makes a folder when it is loaded the unsafe way."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_payload_is_refused_and_does_not_run(tmp_path):
    torch.save({"a.weight_mask": Payload(tmp_path / "ran")}, tmp_path / "mask.pt")
    with pytest.raises(ValueError, match=r"mask\.pt: .* it asks for \w+\.mkdir"):
        Mask.load(tmp_path / "mask.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content, message",
    [
        (
            {"a.weight_mask": torch.tensor([0.0, 0.5])},
            "a.weight_mask holds values other than 0 and 1",
        ),
        ({"a.weight_mask": torch.tensor([0.0, float("nan")])}, "holds values other than 0 and 1"),
        (
            {"a.weight": torch.ones(2)},
            "keys that end in .weight_mask or .bias_mask, found 'a.weight'",
        ),
        ({"a.weight_mask": [1, 0]}, "a.weight_mask: expected a tensor, found list"),
        ({}, "expected a dict of masks"),
        (torch.ones(3), "expected a dict of masks, found Tensor"),
    ],
)
def test_files_of_other_content_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "mask.pt")
    with pytest.raises(ValueError, match=message) as error:
        Mask.load(tmp_path / "mask.pt")
    assert str(tmp_path / "mask.pt") in str(error.value)


@pytest.mark.parametrize("name", ["mask.pt", "mask.safetensors"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "text"])
def test_damaged_files_are_refused(mask, tmp_path, name, damage):
    path = tmp_path / name
    mask.save(path) if path.suffix != ".pt" else torch.save({"a.weight_mask": torch.ones(99)}, path)
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"no mask"}[damage]
    )
    with pytest.raises(ValueError, match=name):
        Mask.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mask file .*nowhere\.pt does not exist"):
        Mask.load(tmp_path / "nowhere.pt")


def test_safetensors_of_something_else_is_refused(tmp_path):
    save_file({"w": torch.ones(3)}, tmp_path / "weights.safetensors")
    with pytest.raises(
        ValueError, match="expected parp-mask in a safetensors file's metadata, found none"
    ):
        Mask.load(tmp_path / "weights.safetensors")


def test_bytes_that_do_not_fit_the_shape_are_refused(mask, tmp_path):
    mask.save(tmp_path / "mask.safetensors")
    with safe_open(tmp_path / "mask.safetensors", framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in mask}
    tensors["encoder.layers.0.fc1.bias"] = torch.zeros(3, dtype=torch.uint8)
    save_file(tensors, tmp_path / "mask.safetensors", metadata)
    with pytest.raises(ValueError, match=r"fc1.bias: expected 2 bytes for shape \(9,\)"):
        Mask.load(tmp_path / "mask.safetensors")


SHAPES = ["null", "3", "[1]", '{"w": 4}', '{"w": [-1]}', '{"w": [1.5]}']


@pytest.mark.parametrize("told", ["", "{}", *SHAPES, *(f'{{"shapes": {s}}}' for s in SHAPES)])
def test_metadata_that_is_no_shapes_is_refused(tmp_path, told):
    metadata = {"parp-mask": told}
    save_file({"w": torch.zeros(1, dtype=torch.uint8)}, tmp_path / "mask.safetensors", metadata)
    with pytest.raises(ValueError, match="expected shapes as lists of sizes in the metadata"):
        Mask.load(tmp_path / "mask.safetensors")


def test_a_mask_of_nothing(tmp_path):
    Mask({}).save(tmp_path / "mask.safetensors")
    assert Mask.load(tmp_path / "mask.safetensors").sparsity == 0


def test_others_may_read_a_mask(mask, tmp_path):
    (tmp_path / "plain").touch()
    mask.save(tmp_path / "mask.safetensors")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p: p.pop("encoder.layers.0.fc1.bias"), "0 missing .*, 1 too many"),
        (lambda p: p.update(more=torch.ones(2)), r"1 missing \['more'\]"),
        (
            lambda p: p.update({"encoder.layers.0.fc1.bias": torch.ones(10)}),
            r"has shape \(9,\), expected \(10,\)",
        ),
    ],
)
def test_a_mask_that_does_not_fit_changes_nothing(mask, change, message):
    params = {name: torch.ones(keep.shape) for name, keep in mask.items()}
    change(params)
    with pytest.raises(ValueError, match=message):
        mask.apply_(params)
    assert all(param.eq(1).all() for param in params.values())


def test_names_are_relative_to_the_encoder():
    finetuned = {
        "w2v_encoder.w2v_model.encoder.layers.0.fc1.weight": torch.randn(3, 3),
        "w2v_encoder.w2v_model.post_extract_proj.weight": torch.randn(3, 3),
        "w2v_encoder.w2v_model.encoder.layers.0.fc1.num_batches": torch.zeros(
            (), dtype=torch.int64
        ),
        "w2v_encoder.proj.weight": torch.randn(3, 3),
        "layers.0.fc1.weight": torch.randn(3, 3),
    }
    assert list(prunable_parameters(finetuned)) == ["encoder.layers.0.fc1.weight"]
    assert list(prunable_parameters(finetuned, "all")) == [
        "encoder.layers.0.fc1.weight",
        "post_extract_proj.weight",
    ]
    assert list(prunable_parameters(finetuned, "re:^post_")) == ["post_extract_proj.weight"]


@pytest.mark.parametrize(
    "scope, message",
    [
        ("decoder", "unknown scope 'decoder': expected transformer, feature_extractor, all or re:"),
        ("re:(", r"scope 're:\(' is not a regular expression"),
        ("re:nothing", "scope 're:nothing' covers no parameter of this model, which has a.b"),
        ("transformer", "scope 'transformer' covers no parameter"),
    ],
)
def test_scopes_that_cover_nothing_are_named(scope, message):
    with pytest.raises(ValueError, match=message):
        prunable_parameters({"a.b": torch.ones(1)}, scope)
