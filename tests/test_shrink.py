"""parp shrink: the pruned channels of a checkpoint taken out, and nothing else changed."""

from importlib.util import find_spec

import programs
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq_runs import finetune, training_config, write_encoder

from parp_fairseq.cli import main
from parp_fairseq.pruning.shrinking import shrink


@pytest.fixture(scope="module")
def pruned(corpus, tmp_path_factory):
    """A checkpoint of PARP-P with half of the channels pruned."""
    top = tmp_path_factory.mktemp("channels")
    encoder = write_encoder(top / "encoder.pt", encoder_ffn_embed_dim=33)
    options = dict(prune_pattern="ffn_channels", prune_interval=1, initial_sparsity=0.2)
    finetune(training_config(corpus, encoder, top / "run", max_update=4, **options))
    return top / "run" / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def small(pruned, tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.pt"
    assert main(["shrink", str(pruned), "-o", str(path)]) == 0
    return path


def log_probs(checkpoint):
    [model], _, _ = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)])
    torch.manual_seed(0)
    source = torch.randn(2, 9000)
    padding_mask = torch.zeros(2, 9000, dtype=torch.bool)
    padding_mask[1, 7000:] = True
    with torch.no_grad():
        output = model.eval()(source=source, padding_mask=padding_mask)
        return model.get_logits(output)


def test_a_run_prunes_whole_channels(pruned, capsys):
    weights = torch.load(pruned, weights_only=True)["model"]
    for layer in (0, 1):
        name = f"w2v_encoder.w2v_model.encoder.layers.{layer}."
        dead = (weights[name + "fc1.weight"] == 0).all(1)
        assert int(dead.sum()) == round(0.5 * 33)
        assert torch.equal(dead, (weights[name + "fc2.weight"] == 0).all(0))
        assert torch.equal(dead, weights[name + "fc1.bias"] == 0)
        assert not (weights[name + "self_attn.k_proj.weight"] == 0).any()
    assert main(["info", str(pruned)]) == 0
    assert "warning" not in capsys.readouterr().out


def test_the_smaller_model_has_the_same_logits(pruned, small):
    torch.testing.assert_close(log_probs(small), log_probs(pruned), rtol=0, atol=1e-5)
    weights = torch.load(small, weights_only=True)["model"]
    assert weights["w2v_encoder.w2v_model.encoder.layers.0.fc1.weight"].shape == (17, 16)
    assert small.stat().st_size < pruned.stat().st_size


def test_stock_fairseq_loads_it(small, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import torch, fairseq, argparse\n"
        "from fairseq.data import Dictionary\n"
        "torch.serialization.add_safe_globals([argparse.Namespace, Dictionary])\n"
        "from fairseq import checkpoint_utils\n"
        f"[model], _, task = checkpoint_utils.load_model_ensemble_and_task([{str(small)!r}])\n"
        "import sys; assert not any(name.startswith('parp') for name in sys.modules)\n"
        "print(type(model).__name__, len(task.target_dictionary))\n"
    )
    done = programs.run(program)
    assert done.stdout.split()[-2:] == ["Wav2VecCtc", "9"], done.stderr[-2000:]


@pytest.mark.skipif(find_spec("transformers") is None, reason="the [hf] extra is not installed")
def test_it_is_exported_like_any_other(small, tmp_path):
    import json

    assert main(["export", str(small), str(tmp_path / "hub")]) == 0
    config = json.loads((tmp_path / "hub" / "config.json").read_text())
    assert config["intermediate_size"] == 17
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "PARP-P from sparsity 0.2 (sparsity 0.5, pattern ffn_channels)" in card


def test_layers_keep_the_same_width():
    torch.manual_seed(0)
    weights = {
        f"{i}.{name}": torch.randn(shape)
        for i in range(2)
        for name, shape in {"fc1.weight": (5, 3), "fc1.bias": (5,), "fc2.weight": (3, 5)}.items()
    }
    weights["other"] = torch.randn(4)
    weights["0.fc2.weight"][:, [1, 3]] = 0  # whatever the channel reads, it adds nothing
    weights["1.fc1.weight"][2], weights["1.fc1.bias"][2] = 0, 0
    weights["1.fc1.weight"][4] = 0  # its bias is left, and adds a constant
    shrunk = shrink(weights)
    assert (shrunk.before, shrunk.after) == (5, 4)
    assert torch.equal(shrunk.weights["other"], weights["other"])
    x = torch.randn(7, 3)
    for i in range(2):
        outputs = [
            torch.relu(x @ w[f"{i}.fc1.weight"].T + w[f"{i}.fc1.bias"]) @ w[f"{i}.fc2.weight"].T
            for w in (weights, shrunk.weights)
        ]
        torch.testing.assert_close(*outputs)


def test_what_cannot_be_shrunk_is_named(encoder, corpus, tmp_path, capsys):
    def refused(path):
        with pytest.raises(SystemExit):
            main(["shrink", str(path), "-o", str(tmp_path / "small.pt")])
        assert not (tmp_path / "small.pt").exists()
        return capsys.readouterr().err

    assert "missing.pt does not exist" in refused(tmp_path / "missing.pt")
    assert "its settings lack w2v_args" in refused(encoder)
    finetune(training_config(corpus, encoder, tmp_path / "run", max_update=1))
    told = refused(tmp_path / "run" / "checkpoint_last.pt")
    assert "has no channel to take out" in told and "prune_pattern=ffn_channels" in told
