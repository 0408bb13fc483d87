"""parp encoder: what fairseq pre-trained becomes the file that stock wav2vec_ctc finetunes."""

from pathlib import Path

import pytest
import torch
from fairseq.models.hubert import HubertConfig, HubertModel
from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig, HubertPretrainingTask
from fairseq_runs import finetune, load, make_trainer, training_config
from omegaconf import OmegaConf

from parp_fairseq.cli import main as parp
from parp_fairseq.models.pretrained import load_encoder

SETTINGS = {
    "conv_feature_layers": "[(16, 10, 5)] + [(16, 8, 4)] + [(16, 4, 4)] * 2",
    "extractor_mode": "layer_norm",
    "layer_norm_first": True,
    "encoder_layers": 2,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 32,
    "encoder_attention_heads": 2,
    "final_dim": 8,
    "conv_pos": 8,
    "conv_pos_groups": 2,
}


@pytest.fixture(scope="module")
def hubert(tmp_path_factory) -> tuple[HubertModel, Path]:
    """A HuBERT of random weights, and its checkpoint as fairseq-hydra-train writes one."""
    folder = tmp_path_factory.mktemp("hubert")
    (folder / "dict.km.txt").write_text("0 1\n1 1\n")
    task_cfg = OmegaConf.structured(
        HubertPretrainingConfig(data=str(folder), labels=["km"], label_rate=100.0, normalize=True)
    )
    model_cfg = OmegaConf.structured(HubertConfig(label_rate=100.0, **SETTINGS))
    torch.manual_seed(0)
    model = HubertModel.build_model(model_cfg, HubertPretrainingTask.setup_task(task_cfg)).eval()
    cfg = {
        "model": {**OmegaConf.to_container(model_cfg, enum_to_str=True), "_name": "hubert"},
        "task": {
            **OmegaConf.to_container(task_cfg, enum_to_str=True),
            "_name": "hubert_pretraining",
        },
    }
    state = {
        "args": None,
        "cfg": cfg,
        "model": model.state_dict(),
        "optimizer_history": [{"num_updates": 7}],
        "extra_state": {"train_iterator": {"epoch": 1}},
        "last_optimizer_state": {"state": {0: torch.zeros(3)}},
    }
    torch.save(state, folder / "checkpoint_last.pt")
    return model, folder / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def exported(hubert, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "encoder.pt"
    parp(["encoder", str(hubert[1]), "-o", str(path)])
    return path


def test_stock_fairseq_finetunes_a_hubert(hubert, exported, corpus, tmp_path) -> None:
    cfg = training_config(
        corpus, exported, tmp_path, arch="wav2vec_ctc", task="audio_finetuning", normalize=True
    )
    encoder = make_trainer(cfg).model.w2v_encoder.w2v_model
    expected = hubert[0].state_dict()
    found = encoder.state_dict()
    assert found and all(torch.equal(found[name], expected[name]) for name in found)
    assert expected.keys() - found.keys() == {
        "label_embs_concat",
        "final_proj.weight",
        "final_proj.bias",
    }


def test_it_computes_what_the_hubert_computes(hubert, exported) -> None:
    model, normalize = load_encoder(exported)
    model.eval()
    assert normalize
    source = torch.randn(2, 8000)
    for layer in (None, 0, 1):
        output_layer = None if layer is None else layer + 1
        padding = torch.zeros(2, 8000, dtype=torch.bool)
        expected, _ = hubert[0].extract_features(source, padding, output_layer=output_layer)
        found = model.extract_features(source, padding, mask=False, layer=layer)["x"]
        assert torch.equal(found, expected)


def test_the_file_holds_no_more_than_finetuning_needs(exported) -> None:
    state = load(exported)  # with weights_only
    assert state["cfg"]["model"]["_name"] == "wav2vec2"
    assert "last_optimizer_state" not in state
    assert not any("label" in name or "final_proj" in name for name in state["model"])


def test_a_wav2vec2_keeps_its_weights(encoder, corpus, tmp_path) -> None:
    parp(["encoder", str(encoder), "-o", str(tmp_path / "lean.pt")])
    changes = {"max_update": 2, "sparsity": 0.5}
    runs = [
        finetune(training_config(corpus, path, tmp_path / path.stem, **changes))["model"]
        for path in (encoder, tmp_path / "lean.pt")
    ]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_half_halves_the_file(exported, hubert, tmp_path) -> None:
    path = tmp_path / "half.pt"
    parp(["encoder", str(hubert[1]), "-o", str(path), "--half"])
    whole, half = (load(p)["model"] for p in (exported, path))
    assert all(torch.equal(half[name], whole[name].half()) for name in whole)
    assert load_encoder(path)[0].mask_emb.dtype == torch.float32


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model": {"_name": "data2vec_audio"}}, "'data2vec_audio', expected hubert or wav2vec2"),
        ({"model": {"layer_type": "conformer"}}, "layer_type is 'conformer', expected 'transf"),
        (None, "expected a checkpoint of fairseq-hydra-train"),
    ],
)
def test_other_checkpoints_are_refused(hubert, tmp_path, capsys, change, message) -> None:
    state = load(hubert[1])
    if change is None:
        state = {"weights": state["model"]}
    else:
        state["cfg"]["model"] |= change["model"]
    other, output = tmp_path / "other.pt", tmp_path / "out.pt"
    torch.save(state, other)
    with pytest.raises(SystemExit) as stopped:
        parp(["encoder", str(other), "-o", str(output)])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert str(other) in error and message in error
    assert not output.exists()
