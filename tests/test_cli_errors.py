"""The command ``parp`` and bad input: one line that names the cause, and nothing half-written."""

import os
import pickle
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fairseq_runs import load

from parp_fairseq.cli import main

PARP = Path(sys.executable).with_name("parp")


@pytest.fixture(scope="module")
def half(tmp_path_factory, encoder):
    """A mask of the encoder."""
    path = tmp_path_factory.mktemp("mask") / "half.safetensors"
    main(["mask", str(encoder), "-o", str(path)])
    return path


def files_in(folder):
    return [path.name for path in folder.iterdir()]


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, proof):
        self.proof = str(proof)

    def __reduce__(self):
        return os.mkdir, (self.proof,)


@pytest.fixture(scope="module")
def bad(tmp_path_factory, encoder, half):
    """A folder of files that are good, and files that are bad in one way each."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "good.pt").write_bytes(encoder.read_bytes())
    (folder / "half.safetensors").write_bytes(half.read_bytes())
    (folder / "empty.pt").touch()
    (folder / "empty.safetensors").touch()
    (folder / "folder.safetensors").mkdir()
    (folder / "text.pt").write_text("no weights in here\n")
    (folder / "cut.pt").write_bytes(encoder.read_bytes()[:9999])
    (folder / "cut.safetensors").write_bytes(half.read_bytes()[:-9])
    torch.save([1, 2], folder / "list.pt")
    torch.save({"state_dict": {}}, folder / "other.pt")
    torch.save({"model": {"layers": 3}}, folder / "numbers.pt")
    torch.save({"model": {"conv.weight": torch.ones(3)}}, folder / "image.pt")
    torch.save({"encoder.layers.0.fc1.weight_mask": torch.full((2, 2), 0.5)}, folder / "soft.pt")
    for name, weight in (
        ("nan", torch.full((16, 32), torch.nan)),
        ("int8", torch.ones(16, 32, dtype=torch.int8)),
        ("large", torch.randn(16, 64)),
    ):
        state = load(encoder)
        state["model"]["encoder.layers.1.fc2.weight"] = weight
        torch.save(state, folder / f"{name}.pt")
    main(["mask", str(folder / "large.pt"), "-o", str(folder / "large.safetensors")])
    return folder


MASK = "mask good.pt -o out.safetensors"

ERRORS = {
    "mask missing.pt -o out.safetensors": ("missing.pt does not exist", "checkpoint"),
    "mask folder.safetensors -o out.safetensors": ("folder.safetensors is a folder",),
    "mask empty.pt -o out.safetensors": ("empty.pt is empty",),
    "mask text.pt -o out.safetensors": ("text.pt is neither a checkpoint",),
    "mask cut.pt -o out.safetensors": ("cut.pt is neither a checkpoint", "cut short"),
    "mask list.pt -o out.safetensors": ("list.pt holds an object of type list", "'model'"),
    "mask other.pt -o out.safetensors": ("other.pt holds a dict with 'state_dict'", "'model'"),
    "mask numbers.pt -o out.safetensors": ("numbers.pt", "tensors", "found a dict with 'layers'"),
    "mask image.pt -o out.safetensors": ("image.pt: scope 'transformer'", "conv.weight"),
    "mask nan.pt -o out.safetensors": ("nan.pt: encoder.layers.1.fc2.weight", "not a number"),
    "mask int8.pt -o out.safetensors": ("int8.pt", "fc2.weight is int8", "float32"),
    f"{MASK} --as-is --sparsity 0.5": ("--sparsity", "not allowed with argument --as-is"),
    f"{MASK} --as-is --seed 3": ("--as-is takes the zeros", "--seed"),
    f"{MASK} --pattern 124": ("number 124", "'2:4' in quotes"),
    "mask nan.pt -o out.safetensors --as-is": ("nan.pt: encoder.layers.1", "not a number"),
    "mask half.safetensors -o out.safetensors": ("half.safetensors is a mask",),
    f"{MASK} --sparsity 1": ("error: sparsity is 1.0", "0 <= sparsity < 1"),
    f"{MASK} --sparsity nan": ("sparsity is nan", "0 <= sparsity < 1"),
    f"{MASK} --sparsity half": ("--sparsity", "'half'"),
    f"{MASK} --criterion L2": ("--criterion", "'L2'", "magnitude"),
    f"{MASK} --seed -1": ("--seed", "whole number", "'-1'"),
    f"{MASK} --pattern 4:2": ("error: unknown pattern '4:2'", "layerwise, ffn_channels or N:M"),
    f"{MASK} --pattern 2:4 --sparsity 0.6": ("2:4 prunes 2 of every 4 weights", "found 0.6"),
    f"{MASK} --scope decoder": ("unknown scope 'decoder'", "transformer, feature_extractor"),
    f"{MASK} --scope re:(": ("'re:('", "not a regular expression"),
    "mask good.pt": ("-o",),
    "mask good.pt -o out.pt": ("--output is out.pt", ".safetensors"),
    "mask good.pt -o no/out.safetensors": ("no/out.safetensors", "there is no folder no"),
    "mask good.pt -o good.pt/out.safetensors": ("there is no folder good.pt",),
    "mask good.pt -o folder.safetensors": ("folder.safetensors", "is a folder"),
    "info missing.safetensors": ("missing.safetensors does not exist",),
    "info empty.safetensors": ("empty.safetensors is empty",),
    "info cut.safetensors": ("cut.safetensors",),
    "info soft.pt": ("soft.pt", "values other than 0 and 1"),
    "info image.pt": ("image.pt: scope 'transformer' covers no parameter",),
    "info half.safetensors --scope feature_extractor": ("half.safetensors: scope", "covers no"),
    "info good.pt --plot out.txt": ("--plot is out.txt", ".png"),
    "info good.pt --plot no/out.png": ("--plot is no/out.png", "there is no folder no"),
    "compare half.safetensors": ("MASK",),
    "compare half.safetensors large.safetensors": (
        "half.safetensors and large.safetensors cannot be compared",
        "shape",
    ),
    "compare large.pt half.safetensors": ("large.pt and half.safetensors cannot be compared",),
    "prune good.pt": ("'prune'", "compare"),
}


@pytest.mark.parametrize("line", ERRORS)
def test_error_names_the_cause_in_one_line(line, bad, monkeypatch, capsys):
    monkeypatch.chdir(bad)
    before = {path: path.stat().st_mtime_ns for path in bad.iterdir()}

    with pytest.raises(SystemExit) as left:
        main(line.split())

    printed = capsys.readouterr()
    assert left.value.code == 2
    assert printed.out == ""
    assert printed.err.startswith("parp: error: ") and printed.err.count("\n") == 1
    assert all(part in printed.err for part in ERRORS[line]), printed.err
    assert {path: path.stat().st_mtime_ns for path in bad.iterdir()} == before


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("command", ["mask {} -o out.safetensors", "info {}", "compare {} {}"])
def test_payload_is_refused_and_does_not_run(form, command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    state = {"model": {"encoder.layers.0.fc1.weight": Payload(tmp_path / "proof")}}
    if form == "pickle":
        Path("evil.pt").write_bytes(pickle.dumps(state))
    else:
        torch.save(state, "evil.pt", _use_new_zipfile_serialization=form == "zip")

    with pytest.raises(SystemExit) as left:
        main(command.format("evil.pt", "evil.pt").split())

    error = capsys.readouterr().err
    assert left.value.code == 2
    assert error.startswith("parp: error: evil.pt") and error.count("\n") == 1
    assert "would run code" in error
    assert form == "pickle" or "mkdir" in error
    assert files_in(tmp_path) == ["evil.pt"]


def test_full_disk_leaves_nothing_behind(encoder, half, tmp_path):
    for arguments in (
        ["mask", encoder, "-o", tmp_path / "mask.safetensors"],
        ["info", half, "--plot", tmp_path / "picture.svg"],
    ):
        out = subprocess.run(
            [PARP, *arguments],
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)),
        )
        assert out.returncode == 2
        assert re.fullmatch(r"parp: error: \S+ cannot be written: .*\n", out.stderr)
        assert out.stderr.count("cannot be written") == 1
        assert files_in(tmp_path) == []


@pytest.mark.parametrize("command", ["info {}", "compare {} {}"])
def test_plot_without_matplotlib_says_what_to_install(command, half, tmp_path, monkeypatch, capsys):
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as left:
        main(f"{command.format(half, half)} --plot {tmp_path / 'a.png'}".split())
    assert left.value.code == 2
    assert "pip install 'parp_fairseq[plot]'" in capsys.readouterr().err
    assert files_in(tmp_path) == []
