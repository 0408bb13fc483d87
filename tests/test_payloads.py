"""Promise 9: masks, encoders and checkpoints that carry code are refused, and none of it runs."""

import copyreg
import functools
import io
import operator
import os
import pickle
import re
import runpy
import struct
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq_runs import finetune, load, make_trainer, training_config, transcribe

from parp_fairseq.pruning import Mask

CODE = "__import__('os').mkdir({!r})"


class Calls:
    """Pickled, it is a call of ``function``, made as it is loaded."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class CallsEx(Calls):
    def __reduce_ex__(self, protocol):
        return self.call


def opcodes(text: str) -> bytes:
    """A pickle of protocol 2 written by hand; a word in quotes is a string."""
    parts = re.split(r"'(.*?)'", text)
    strings = [b"X" + struct.pack("<I", len(part)) + part.encode() for part in parts]
    return b"".join(strings[n] if n % 2 else part.encode() for n, part in enumerate(parts))


def set_state(cls: str, proof: str) -> bytes:
    """An object of an allowed class is given a ``__setstate__``, and then a state."""
    return opcodes(f"c{cls}\n)R}}'__setstate__'cos\nmkdir\nsb'{proof}'b.")


def from_torch_load(proof: str, **options) -> Calls:
    """Loads another file, which makes the folder."""
    inner = Path(proof).with_name("inner.pt")
    inner.write_bytes(in_zip(pickle.dumps(Calls(os.mkdir, proof), protocol=2)))
    return Calls(functools.partial(torch.load, **options) if options else torch.load, str(inner))


PAYLOADS = {
    "posix.system": lambda proof: Calls(os.system, f"mkdir '{proof}'"),
    "os.system": lambda proof: opcodes(f"cos\nsystem\n('mkdir {proof}'tR."),
    "eval": lambda proof: Calls(eval, CODE.format(proof)),
    "exec": lambda proof: Calls(exec, CODE.format(proof)),
    "subprocess.Popen": lambda proof: Calls(subprocess.Popen, ["mkdir", proof]),
    "os.mkdir": lambda proof: Calls(os.mkdir, proof),
    "__reduce_ex__": lambda proof: CallsEx(os.mkdir, proof),
    "__setstate__ of Namespace": lambda proof: set_state("argparse\nNamespace", proof),
    "__setstate__ of Dictionary": lambda proof: set_state(
        "fairseq.data.dictionary\nDictionary", proof
    ),
    "functools.partial": lambda proof: Calls(functools.partial(os.mkdir, proof)),
    "operator.attrgetter": lambda proof: opcodes(
        f"coperator\nattrgetter\n('mkdir'tR(cposixpath\nos\ntR('{proof}'tR."
    ),
    "operator.methodcaller": lambda proof: Calls(operator.methodcaller("mkdir"), Path(proof)),
    "copyreg._reconstructor": lambda proof: Calls(
        copyreg._reconstructor, subprocess.Popen, subprocess.Popen, ["mkdir", proof]
    ),
    "runpy._run_code": lambda proof: Calls(
        runpy._run_code, Calls(compile, CODE.format(proof), "code", "exec"), {}
    ),
    "torch.load": from_torch_load,
    "torch.load, unsafely": lambda proof: from_torch_load(proof, **{"weights_only": False}),
    "in a dict": lambda proof: {"model": {"w": Calls(os.mkdir, proof)}},
    "in a tuple as a key": lambda proof: {("a", Calls(os.mkdir, proof)): 1},
    "a persistent id": lambda proof: opcodes(f"('storage'cos\nmkdir\n'{proof}''cpu'K\1tQ."),
    "a persistent id of text": lambda proof: opcodes(f"'os.mkdir {proof}'Q."),
}
# No code to plain pickle: it has no persistent ids, and torch.load is safe by itself.
DEAD = {"a persistent id", "a persistent id of text", "torch.load"}


def pickled(payload: str, proof: Path, protocol: int = 2) -> bytes:
    made = PAYLOADS[payload](str(proof))
    return made if isinstance(made, bytes) else pickle.dumps(made, protocol=protocol)


def in_zip(*pickles: bytes, name: str = "data.pkl") -> bytes:
    """As torch.save writes; a second pickle is a second entry of the same name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for data in pickles:
            archive.writestr(f"archive/{name}", data)
        if name != "data.pkl":
            archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def in_legacy(data: bytes) -> bytes:
    """As torch.save wrote before torch 1.6."""
    file = io.BytesIO()
    torch.save({}, file, _use_new_zipfile_serialization=False)
    nothing = pickle.dumps({}, protocol=2)
    return file.getvalue().replace(nothing, data, 1)


def read_encoder(path: Path, corpus: Path):
    make_trainer(training_config(corpus, path, path.parent))


def read_checkpoint(path: Path, _):
    checkpoint_utils.load_checkpoint_to_cpu(str(path))


READERS = {
    "mask": (lambda path, _: Mask.load(path), "mask file .* would run code"),
    "encoder": (read_encoder, "w2v_path is .*: that file is refused: .* would run code"),
    "checkpoint": (read_checkpoint, "Weights only load failed"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_payload_runs(corpus, tmp_path, payload, reader):
    (tmp_path / "file.pt").write_bytes(in_zip(pickled(payload, tmp_path / "ran")))
    read, message = READERS[reader]
    with pytest.raises((ValueError, pickle.UnpicklingError), match=message):
        read(tmp_path / "file.pt", corpus)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("payload", sorted(PAYLOADS.keys() - DEAD))
def test_the_payloads_are_live(tmp_path, payload):
    pickle.loads(pickled(payload, tmp_path / "ran"))
    deadline = time.monotonic() + 30
    while not (tmp_path / "ran").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


GOOD = pickle.dumps({}, protocol=2)
CARRIERS = {
    "legacy": in_legacy,
    "bare": lambda data: data,
    "second pickle": lambda data: in_zip(GOOD, data),
    "first pickle": lambda data: in_zip(data, GOOD),
    "constants": lambda data: in_zip(data, name="constants.pkl"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_no_form_of_file_runs_a_payload(corpus, tmp_path, carrier, protocol, reader):
    data = pickled("os.mkdir", tmp_path / "ran", protocol)
    (tmp_path / "file.pt").write_bytes(CARRIERS[carrier](data))
    with pytest.raises(Exception):  # noqa: B017  (each form has its own)
        READERS[reader][0](tmp_path / "file.pt", corpus)
    assert not (tmp_path / "ran").exists()


# fairseq gives this setting of the encoder to eval().
SETTINGS = {
    "call": CODE,
    "lambda": "(lambda: " + CODE + ")()",
    "list": "[" + CODE + "]",
    "comprehension": "[" + CODE + " for _ in (1,)]",
    "condition": "(1, 1, 1) if " + CODE + " else []",
    "format": 'f"{{' + CODE + '}}"',
    "subscript": "[(1, 1, 1)][" + CODE + "]",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_no_setting_of_an_encoder_runs(corpus, encoder, tmp_path, name):
    state = load(encoder)
    state["cfg"]["model"]["conv_feature_layers"] = SETTINGS[name].format(str(tmp_path / "ran"))
    torch.save(state, tmp_path / "encoder.pt")
    refused = r"encoder\.pt: conv_feature_layers is .*, expected lists of tuples"
    with pytest.raises(ValueError, match=refused):
        make_trainer(training_config(corpus, tmp_path / "encoder.pt", tmp_path))
    assert not (tmp_path / "ran").exists()
    stock = dict(task="audio_finetuning", arch="wav2vec_ctc")
    with pytest.raises(Exception):  # noqa: B017  (whatever becomes of the layers)
        make_trainer(training_config(corpus, tmp_path / "encoder.pt", tmp_path, **stock))
    assert (tmp_path / "ran").exists(), "the setting is a live one"


def test_no_setting_of_a_finetuned_checkpoint_runs(corpus, encoder, tmp_path):
    state = finetune(training_config(corpus, encoder, tmp_path / "run", max_update=1))
    settings = state["cfg"]["model"]["w2v_args"]["model"]
    settings["conv_feature_layers"] = CODE.format(str(tmp_path / "ran"))
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"w2v_args, .* conv_feature_layers is .*, expected lists"):
        transcribe(corpus, tmp_path / "checkpoint.pt", tmp_path / "out")
    assert not (tmp_path / "ran").exists()
