"""parp export and parp import: fairseq to transformers and back, without a change."""

import json
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

import pytest
import soundfile
import torch
from fairseq import checkpoint_utils
from fairseq_runs import finetune, training_config, write_corpus, write_encoder
from torch.nn import functional as F

from parp_fairseq.cli import main

if find_spec("transformers") is None:
    pytest.skip("the [hf] extra is not installed", allow_module_level=True)

MINI = Path(__file__).parents[1] / "manifests" / "mini"
VARIANTS = {
    # As wide as the feature extractor: fairseq has no projection of the features.
    "base": dict(extractor_mode="default", layer_norm_first=False),
    "large": dict(large=True, encoder_embed_dim=24, latent_dim=8),
    "group norm, norms first": dict(
        extractor_mode="default", layer_norm_first=True, encoder_embed_dim=24, conv_bias=True
    ),
    "layer norm, norms last": dict(
        extractor_mode="layer_norm", layer_norm_first=False, activation_fn="relu", conv_pos=7
    ),
}


def tiny(folder, data, encoder, **changes):
    """A checkpoint of two updates, pruned by half."""
    options = dict(max_update=2, normalize=None) | changes
    finetune(training_config(data, encoder, folder, **options))
    return folder / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def checkpoints(corpus, tmp_path_factory):
    """A checkpoint of each variant, and of the encoder that ships with the project."""
    top = tmp_path_factory.mktemp("finetuned")
    made = {}
    for name, settings in VARIANTS.items():
        encoder = write_encoder(top / f"{name}.pt", **settings)
        made[name] = tiny(top / name, corpus, encoder, normalize="large" in settings)
    made["shipped"] = tiny(top / "shipped", corpus, MINI / "encoder.pt", normalize=True)
    return made


@pytest.fixture(scope="module")
def folders(checkpoints, tmp_path_factory):
    top = tmp_path_factory.mktemp("exported")
    for name, checkpoint in checkpoints.items():
        assert main(["export", str(checkpoint), str(top / name)]) == 0
    return {name: top / name for name in checkpoints}


@pytest.fixture(scope="module")
def speech():
    """Four clips of real lengths."""
    clips = sorted((MINI / "audio" / "test").glob("*.ogg"))[:4]
    return [soundfile.read(clip, dtype="float32")[0] for clip in clips]


def of_fairseq(checkpoint):
    [model], _, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)])
    return model.eval(), task


@torch.no_grad()
def fairseq_logits(model, task, speech):
    """The logits of each clip, from one batch with padding, as fairseq's datasets make it."""
    clips = [torch.from_numpy(clip) for clip in speech]
    if task.cfg.normalize:
        clips = [F.layer_norm(clip, clip.shape) for clip in clips]
    source = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    lengths = torch.tensor([len(clip) for clip in clips])
    padding_mask = torch.arange(source.size(1)) >= lengths[:, None]
    output = model(source=source, padding_mask=padding_mask)
    logits = model.get_logits(output).transpose(0, 1)
    if output["padding_mask"] is None:
        return source, padding_mask, list(logits)
    frames = (~output["padding_mask"]).sum(dim=1).tolist()
    return source, padding_mask, [row[:n] for row, n in zip(logits, frames)]


@pytest.mark.parametrize("name", [*VARIANTS, "shipped"])
def test_logits_and_transcripts_are_those_of_fairseq(name, checkpoints, folders, speech, capfd):
    from transformers import AutoModelForCTC, AutoProcessor

    model, info = AutoModelForCTC.from_pretrained(folders[name], output_loading_info=True)
    assert not any(info.values())
    told = capfd.readouterr().err
    assert "not used" not in told and "newly initialized" not in told and "not init" not in told

    network, task = of_fairseq(checkpoints[name])
    source, padding_mask, expected = fairseq_logits(network, task, speech)
    with torch.no_grad():
        logits = model.eval()(source, attention_mask=(~padding_mask).long()).logits
    for row, reference in zip(logits, expected):
        torch.testing.assert_close(row[: len(reference)], reference, rtol=0, atol=1e-5)

    processor = AutoProcessor.from_pretrained(folders[name])
    assert processor.feature_extractor.do_normalize == task.cfg.normalize
    inputs = processor(speech, sampling_rate=16000, padding=True, return_tensors="pt")
    assert inputs["attention_mask"].sum(dim=1).tolist() == [len(clip) for clip in speech]
    with torch.no_grad():
        logits = model(**inputs).logits
    for row, reference in zip(logits, expected):
        # An untrained head hears special symbols, which have other names in transformers.
        row[:, 1:4] = reference[:, 1:4] = -torch.inf
        path = row[: len(reference)].argmax(dim=1)
        best = reference.argmax(dim=1).unique_consecutive()
        text = task.target_dictionary.string(best[best != 0], "letter").strip()
        assert processor.decode(path).split() == text.split()


@pytest.mark.parametrize("name", [*VARIANTS, "shipped"])
def test_zeros_stay_and_the_encoder_comes_back(name, checkpoints, folders, tmp_path, corpus):
    assert main(["import", str(folders[name]), "-o", str(tmp_path / "encoder.pt")]) == 0
    back = torch.load(tmp_path / "encoder.pt", weights_only=True)
    prefix = "w2v_encoder.w2v_model."
    saved = torch.load(checkpoints[name], weights_only=True)["model"]
    encoder = {k[len(prefix) :]: w for k, w in saved.items() if k.startswith(prefix)}
    assert back["model"].keys() == encoder.keys()
    for key, weight in encoder.items():
        assert torch.equal(back["model"][key].view(torch.int32), weight.view(torch.int32)), key
    fc1 = back["model"]["encoder.layers.0.fc1.weight"]
    assert 0.2 < (fc1 == 0).float().mean() < 0.8


def test_an_imported_encoder_can_be_finetuned(folders, tmp_path, corpus):
    assert main(["import", str(folders["large"]), "-o", str(tmp_path / "encoder.pt")]) == 0
    tiny(tmp_path / "run", corpus, tmp_path / "encoder.pt", normalize=True, max_update=1)


@pytest.mark.parametrize("labels", ["phn", "spm"])
def test_phones_and_units_decode_as_in_fairseq(labels, encoder, tmp_path):
    from transformers import AutoProcessor

    data = write_corpus(tmp_path / "data", "train", 8)
    words = (data / "train.wrd").read_text()
    units = [
        " ".join(f"▁{word[0]} {word[1:]}" for word in line.split()) for line in words.splitlines()
    ]
    (data / "train.spm").write_text("".join(f"{line}\n" for line in units))
    known = sorted({unit for line in units for unit in line.split()})
    (data / "dict.spm.txt").write_text("".join(f"{unit} 1\n" for unit in known))
    checkpoint = tiny(tmp_path / "run", data, encoder, labels=labels)
    assert main(["export", str(checkpoint), str(tmp_path / "exported")]) == 0
    tokenizer = AutoProcessor.from_pretrained(tmp_path / "exported").tokenizer
    _, task = of_fairseq(checkpoint)
    dictionary = task.target_dictionary
    generator = torch.Generator().manual_seed(0)
    special = torch.tensor([0, 0])
    for _ in range(20):
        symbols = torch.randint(4, len(dictionary), (30,), generator=generator)
        # Blanks between them and at both ends, so that repeats are told apart from longer symbols.
        path = torch.cat([special, symbols.repeat_interleave(2), special, symbols[-1:], special])
        merged = path.unique_consecutive()
        post_process = "sentencepiece" if labels == "spm" else None
        expected = dictionary.string(merged[merged != 0], post_process)
        assert tokenizer.decode(path) == expected.strip()


def test_pretrained_models_of_transformers_come_with_their_quantizer(tmp_path, speech):
    from fairseq.models.wav2vec import Wav2Vec2Config as FairseqConfig
    from fairseq.models.wav2vec import Wav2Vec2Model
    from omegaconf import OmegaConf
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForPreTraining

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16, 16, 16, 16),
        conv_kernel=(10, 8, 4, 4),
        conv_stride=(5, 4, 4, 4),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        num_codevectors_per_group=8,
        codevector_dim=12,
        proj_codevector_dim=8,
    )
    theirs = Wav2Vec2ForPreTraining(config).eval()
    theirs.save_pretrained(tmp_path / "hub")
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path / "hub")
    assert main(["import", str(tmp_path / "hub"), "-o", str(tmp_path / "encoder.pt")]) == 0

    state = torch.load(tmp_path / "encoder.pt", weights_only=True)
    assert state["cfg"]["task"]["normalize"] is False
    settings = OmegaConf.structured(FairseqConfig())
    for key, value in state["cfg"]["model"].items():
        if key != "_name":
            settings[key] = value
    ours = Wav2Vec2Model(settings)
    ours.load_state_dict(state["model"], strict=True)
    source = torch.from_numpy(speech[0])[None]
    with torch.no_grad():
        expected = theirs.wav2vec2(source)
        found = ours.eval()(source, mask=False, features_only=True)
        torch.testing.assert_close(found["x"], expected.last_hidden_state, rtol=0, atol=1e-5)
        codes = ours.quantizer(found["features"], produce_targets=True)["x"]
        quantized, _ = theirs.quantizer(expected.extract_features)
    torch.testing.assert_close(codes, quantized, rtol=0, atol=1e-6)


def broken(folder, fault, value):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    if fault == "tensor":
        name, change = value
        tensors[name] = change(tensors[name])
        tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    elif fault == "config":
        config.update(value)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if fault == "content":
        value(folder)


FC1 = "wav2vec2.encoder.layers.1.feed_forward.intermediate_dense.weight"


class Payload:
    def __reduce__(self):
        return print, ("a payload ran",)


def pickled(folder, content):
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    "fault, value, told",
    [
        ("tensor", (FC1, lambda w: None), "layers.1.feed_forward.intermediate_dense.weight is mis"),
        ("tensor", (FC1, lambda w: w[1:].clone()), "has the shape (31, 24), expected (32, 24)"),
        ("config", {"model_type": "hubert"}, "model_type is 'hubert', expected 'wav2vec2'"),
        ("config", {"add_adapter": True}, "add_adapter is True: expected False"),
        ("config", {"num_hidden_layers": 3}, "encoder.layers.2."),
        ("content", lambda f: pickled(f, Payload()), "pytorch_model.bin is refused: loading it wo"),
        ("content", lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
        ("content", lambda f: (f / "config.json").unlink(), "config.json does not exist"),
        ("content", lambda f: (f / "processor_config.json").unlink(), "--normalize true"),
        (
            "content",
            lambda f: (f / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{ "),
            "model.safetensors is not a whole file",
        ),
    ],
)
def test_bad_folders_are_named(fault, value, told, folders, tmp_path, capfd):
    folder = tmp_path / "hub"
    shutil.copytree(folders["large"], folder)
    broken(folder, fault, value)
    with pytest.raises(SystemExit):
        main(["import", str(folder), "-o", str(tmp_path / "encoder.pt")])
    printed = capfd.readouterr()
    assert told in printed.err and printed.err.count("\n") == 1
    assert "a payload ran" not in printed.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub"]


def test_a_pickle_of_tensors_is_read(folders, tmp_path):
    from safetensors.torch import load_file

    folder = tmp_path / "hub"
    shutil.copytree(folders["base"], folder)
    tensors = load_file(folder / "model.safetensors")
    conv = "wav2vec2.encoder.pos_conv_embed.conv."  # as older versions of transformers named it
    for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
        tensors[conv + old] = tensors.pop(f"{conv}parametrizations.weight.{new}")
    pickled(folder, tensors)
    for source, target in ((folders["base"], "a.pt"), (folder / "pytorch_model.bin", "b.pt")):
        assert main(["import", str(source), "-o", str(tmp_path / target)]) == 0
    first, second = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in "ab")
    assert first["cfg"] == second["cfg"]
    assert all(torch.equal(w, second["model"][k]) for k, w in first["model"].items())


def test_checkpoints_that_do_not_fit_are_named(checkpoints, encoder, tmp_path, capsys):
    def refused(*arguments):
        with pytest.raises(SystemExit):
            main(["export", *map(str, arguments), str(tmp_path / "exported")])
        assert not (tmp_path / "exported").exists()
        return capsys.readouterr().err

    assert "found a pre-trained encoder" in refused(encoder)
    few = tmp_path / "dict.ltr.txt"
    few.write_text("| 1\nA 1\n")
    err = refused(checkpoints["base"], "--dictionary", few)
    assert "w2v_encoder.proj.weight has the shape (9, 16), expected (6, 16)" in err
    few.write_text("no counts here\n")
    assert "line 1: expected a symbol, a space and a count" in refused(
        checkpoints["base"], "--dictionary", few
    )
    state = torch.load(checkpoints["base"], weights_only=True)
    state["cfg"]["model"]["w2v_args"]["model"]["layer_type"] = "conformer"
    torch.save(state, tmp_path / "conformer.pt")
    assert "layer_type is 'conformer'" in refused(tmp_path / "conformer.pt")
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit):
        main(["export", str(checkpoints["base"]), str(tmp_path / "exported")])
    assert "which is not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "exported").iterdir()] == ["notes.txt"]


def test_checkpoints_of_the_old_form_are_exported(checkpoints, folders, corpus, tmp_path):
    """Published finetuned models hold a Namespace, and no dictionary."""
    from safetensors.torch import load_file

    state = torch.load(checkpoints["large"], weights_only=True)
    inner = state["cfg"]["model"].pop("w2v_args")
    args = {**state["cfg"]["task"], **state["cfg"]["criterion"], **state["cfg"]["model"]}
    args.update(arch="wav2vec_ctc", w2v_args=Namespace(**inner["model"], task="audio_pretraining"))
    torch.save({"args": Namespace(**args), "model": state["model"]}, tmp_path / "old.pt")
    command = ["export", str(tmp_path / "old.pt"), str(tmp_path / "hub")]
    assert main([*command, "--dictionary", str(corpus / "dict.ltr.txt")]) == 0
    for name in ("config.json", "vocab.json", "processor_config.json"):
        assert (tmp_path / "hub" / name).read_text() == (folders["large"] / name).read_text()
    ours, theirs = (
        load_file(f / "model.safetensors") for f in (tmp_path / "hub", folders["large"])
    )
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_the_blank_weight_is_part_of_the_logits(checkpoints, tmp_path, speech):
    from transformers import AutoModelForCTC

    for mode in ("add", "set"):
        state = torch.load(checkpoints["base"], weights_only=True)
        state["cfg"]["model"].update(blank_weight=2.5, blank_mode=mode)
        torch.save(state, tmp_path / f"{mode}.pt")
        assert main(["export", str(tmp_path / f"{mode}.pt"), str(tmp_path / mode)]) == 0
        network, task = of_fairseq(tmp_path / f"{mode}.pt")
        source, _, [expected] = fairseq_logits(network, task, speech[:1])
        with torch.no_grad():
            logits = AutoModelForCTC.from_pretrained(tmp_path / mode)(source).logits[0]
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_the_model_card_has_the_facts(checkpoints, tmp_path):
    command = ["export", str(checkpoints["large"]), str(tmp_path / "my-model")]
    assert main([*command, "--error-rate", "WER 12.3 % on test", "--license", "cc-by-4.0"]) == 0
    card = (tmp_path / "my-model" / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    for fact in ("PARP (sparsity 0.5, pattern global)", "50.00%", "WER 12.3 % on test"):
        assert fact in card


def test_a_broken_torchaudio_does_not_matter(tmp_path):
    """transformers imports torchaudio where it finds one."""
    package = tmp_path / "torchaudio"
    package.mkdir()
    (package / "__init__.py").write_text("raise OSError('Could not load this library')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import parp_fairseq.huggingface\n"
        "from transformers.utils import is_torchaudio_available\n"
        "assert not is_torchaudio_available()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_transformers_the_extra_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "parp_fairseq.huggingface", raising=False)
    for command in (["export", "a.pt", "b"], ["import", "a", "-o", "b.pt"]):
        with pytest.raises(SystemExit):
            main(command)
        assert "pip install 'parp_fairseq[hf]'" in capsys.readouterr().err


def test_only_huggingface_imports_transformers():
    import parp_fairseq

    package = Path(parp_fairseq.__file__).parent
    # The wordpieces of manifests/sentences need tokenizers alone.
    for library, rooms in {
        "transformers": {"huggingface"},
        "tokenizers": {"huggingface", "manifests"},
    }.items():
        imports = re.compile(rf"^\s*(?:from|import) {library}\b", re.M)
        found = {
            p.relative_to(package).parts[0]
            for p in package.rglob("*.py")
            if imports.search(p.read_text())
        }
        assert found == rooms, library
