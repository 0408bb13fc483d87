"""The examples, made small."""

import random
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("transformers") is None or find_spec("accelerate") is None:
    pytest.skip("the [hf] extra is not installed", allow_module_level=True)

from safetensors.torch import load_file
from trainer_runs import model_of
from transformers import BertTokenizer

from parp_fairseq.cli import main
from parp_fairseq.pruning import Mask, prunable_parameters

TOP = Path(__file__).parents[1]
ENCODER = TOP / "manifests" / "mini" / "encoder.pt"
NAMES = ("glue.py", "wav2vec2_ctc.py")


def run(name, *arguments):
    runpy.run_path(str(TOP / "examples" / name))["main"]([str(one) for one in arguments])


def require_sparse(folder):
    mask = Mask.of_zeros(prunable_parameters(load_file(folder / "model.safetensors")))
    assert mask.num_pruned == round(0.5 * mask.num_weights)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short(name):
    assert len((TOP / "examples" / name).read_text().splitlines()) < 80


@pytest.mark.parametrize("pair", [False, True])
def test_text(pair, tmp_path, capsys):
    model_of("bert", num_labels=2).save_pretrained(tmp_path / "bert")
    words = ["good", "bad", "film", "very", "not"]
    vocabulary = {
        word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    }
    BertTokenizer(vocab=vocabulary).save_pretrained(tmp_path / "bert")
    draw = random.Random(0)
    columns = ["first", "second", "label"] if pair else ["sentence", "label"]
    for split, suffix in (("train", ".tsv"), ("valid", ".csv")):
        separator = "\t" if suffix == ".tsv" else ","
        rows = [
            [*(" ".join(draw.choices(words, k=4)) for _ in columns[1:]), draw.choice(["yes", "no"])]
            for _ in range(40)
        ]
        lines = [separator.join(row) for row in [columns, *rows]]
        (tmp_path / f"{split}{suffix}").write_text("\n".join(lines) + "\n")
    run(
        "glue.py", tmp_path / "bert", tmp_path / "train.tsv", tmp_path / "valid.csv", "--columns",
        *columns, "--output", tmp_path / "out", "--updates", 3, "--prune-interval", 2,
    )  # fmt: skip
    require_sparse(tmp_path / "out")
    assert "at sparsity 0.5" in capsys.readouterr().out


def test_speech_from_the_shipped_encoder(corpus, tmp_path, capsys):
    """As its text says: the encoder gets a head for the symbols of the data."""
    dictionary = corpus / "dict.ltr.txt"
    export = ["export", str(ENCODER), str(tmp_path / "encoder"), "--dictionary", str(dictionary)]
    assert main(export) == 0
    run(
        "wav2vec2_ctc.py", tmp_path / "encoder", corpus, "--output", tmp_path / "out",
        "--updates", 2, "--prune-interval", 1,
    )  # fmt: skip
    require_sparse(tmp_path / "out")
    assert "at sparsity 0.5" in capsys.readouterr().out


def test_an_exported_encoder_computes_what_fairseq_computes(encoder, corpus, tmp_path):
    import torch
    from fairseq import checkpoint_utils
    from transformers import AutoModelForCTC

    dictionary = str(corpus / "dict.ltr.txt")
    assert main(["export", str(encoder), str(tmp_path / "a"), "--dictionary", dictionary]) == 0
    ours = AutoModelForCTC.from_pretrained(tmp_path / "a").eval()
    (theirs,), _, _ = checkpoint_utils.load_model_ensemble_and_task([str(encoder)])
    audio = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs.eval()(audio, mask=False, features_only=True)["x"]
        found = ours.wav2vec2(audio).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert ours.lm_head.weight.shape == (9, 16)


def test_the_callback_needs_no_fairseq():
    code = (
        "import sys; from parp_fairseq.huggingface import ParpCallback; ParpCallback(); "
        "assert 'fairseq' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
