"""HuBERT, data2vec and a user's own encoder: all that is promised for wav2vec 2.0."""

import re
import subprocess
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils, utils
from fairseq.models import register_model
from fairseq.models.hubert.hubert_asr import HubertCtc, HubertCtcConfig
from fairseq.tasks.audio_finetuning import AudioFinetuningConfig, AudioFinetuningTask
from fairseq_runs import PRECISIONS, finetune, load, make_trainer, training_config, transcribe
from omegaconf import II, OmegaConf
from pretrained_encoders import pretrain, pretrain_data2vec, pretrain_hubert
from test_checkpoints import RANDOM, finetune_and_keep
from test_training import plain_parp_step, run, same_bits, updates, weights

from parp_fairseq.cli import main as parp
from parp_fairseq.models.encoder_file import require_encoder
from parp_fairseq.models.parp_hubert_ctc import ParpHubertCtcConfig
from parp_fairseq.pruning import Mask, magnitude_mask, prunable_parameters

BF16 = PRECISIONS[1]
ROOT = Path(__file__).parents[1]
KINDS = ("hubert", "data2vec", "own")


@dataclass
class StockHubertCtcConfig(HubertCtcConfig):
    """fairseq 0.12.3 reads this option of its hubert_ctc, and does not define it."""

    autoregressive: bool = II("task.autoregressive")


@register_model("stock_hubert_ctc", dataclass=StockHubertCtcConfig)
class StockHubertCtc(HubertCtc):
    pass


MASKED = dict.fromkeys(KINDS, "parp_wav2vec_ctc") | {"hubert": "parp_hubert_ctc"}
STOCK = dict.fromkeys(KINDS, "wav2vec_ctc") | {"hubert": "stock_hubert_ctc"}


@pytest.fixture(scope="module")
def user_dir(tmp_path_factory) -> Path:
    """The user dir of docs/encoders.md, in a folder outside of the project."""
    page = (ROOT / "docs" / "encoders.md").read_text()
    [code] = re.findall(r"```python\n# my_encoders/__init__.py\n(.*?)```", page, re.S)
    folder = tmp_path_factory.mktemp("user") / "my_encoders"
    folder.mkdir()
    (folder / "__init__.py").write_text(code)
    utils.import_user_module(Namespace(user_dir=str(folder)))
    return folder


@pytest.fixture(scope="module")
def encoders(corpus, user_dir, tmp_path_factory) -> dict[str, Path]:
    """A file of each kind, pre-trained by stock fairseq."""
    top = tmp_path_factory.mktemp("encoders")
    contrastive = dict(task="audio_pretraining", arch="gated_wav2vec2", criterion="wav2vec")
    own = dict(quantize_targets=True, latent_vars=8, final_dim=8, conv_pos=8, infonce=True)
    return {
        "hubert": pretrain_hubert(corpus, top / "hubert"),
        "data2vec": pretrain_data2vec(corpus, top / "data2vec"),
        "own": pretrain(corpus, top / "own", gate=1.5, **contrastive, **own),
    }


@pytest.fixture(scope="module")
def runs(corpus, encoders, tmp_path_factory) -> dict[str, Path]:
    """The last checkpoint of a short PARP run of each kind."""
    top = tmp_path_factory.mktemp("runs")
    for kind in KINDS:
        finetune(config(corpus, encoders, kind, top / kind, max_update=3, prune_interval=2))
    return {kind: top / kind / "checkpoint_last.pt" for kind in KINDS}


def config(corpus, encoders, kind, save_dir, **options):
    return training_config(corpus, encoders[kind], save_dir, **{"arch": MASKED[kind], **options})


def count_zeros(state):
    covered = prunable_parameters(state)
    zeros = sum(int((weight == 0).sum()) for weight in covered.values())
    return zeros, sum(weight.numel() for weight in covered.values())


@pytest.mark.parametrize("kind", KINDS)
def test_parp_equals_a_plain_loop(corpus, encoders, tmp_path, kind):
    options = dict(clip_norm=1.0, layerdrop=0.2, dropout=0.1, apply_mask=False)
    ours = make_trainer(
        config(corpus, encoders, kind, tmp_path, sparsity=0.4, prune_interval=2, **options)
    )
    our_losses = run(ours, 5)

    options |= dict(task="audio_finetuning", arch=STOCK[kind])
    stock = make_trainer(config(corpus, encoders, kind, tmp_path, **options))
    plain_parp_step(stock.get_model(), 0.4)
    losses = []
    for loss in updates(stock, 5):
        losses.append(loss)
        if len(losses) % 2 == 0:
            plain_parp_step(stock.get_model(), 0.4)
            expected = prunable_parameters(stock.get_model())
            expected = {name: weight != 0 for name, weight in expected.items()}

    assert our_losses == losses
    same_bits(weights(ours), weights(stock))
    assert ours.task.pruner.mask == Mask(expected)


@pytest.mark.parametrize(
    "kind, precision",
    [("hubert", {}), ("hubert", BF16), ("data2vec", {}), ("own", BF16)],
    ids=["hubert", "hubert-bf16", "data2vec", "own-bf16"],
)
def test_resume_is_exact_and_checkpoints_are_sparse(corpus, encoders, tmp_path, kind, precision):
    options = {**RANDOM, "disable_validation": True, "sparsity": 0.45, "prune_interval": 2}
    options |= {"max_update": 5, "precision": precision}
    whole = finetune_and_keep(config(corpus, encoders, kind, tmp_path / "whole", **options), 3)
    for path in (tmp_path / "whole").glob("*.pt"):
        zeros, total = count_zeros(load(path)["model"])
        assert zeros == round(0.45 * total), path

    (tmp_path / "parts").mkdir()
    [stopped] = (tmp_path / "whole").glob("checkpoint_*_3.pt")
    stopped.rename(tmp_path / "parts" / "checkpoint_last.pt")
    resumed = finetune(config(corpus, encoders, kind, tmp_path / "parts", **options))
    same_bits(resumed["model"], whole["model"])
    hidden = [state["model"]._metadata[""]["parp"] for state in (resumed, whole)]
    for ours, reference in zip(*(state["masters"] for state in hidden)):
        assert torch.equal(ours, reference)
    assert len(hidden[0]["masters"]) == len(hidden[1]["masters"])
    assert bool(hidden[0]["masters"]) == bool(precision)


@pytest.mark.parametrize("kind", KINDS)
def test_stock_fairseq_computes_the_same_from_our_checkpoint(corpus, encoders, runs, kind):
    [ours], *_ = checkpoint_utils.load_model_ensemble_and_task([str(runs[kind])])
    state = load(runs[kind])
    options = dict(task="audio_finetuning", arch=STOCK[kind], apply_mask=False)
    stock = make_trainer(config(corpus, encoders, kind, runs[kind].parent, **options)).get_model()
    stock.load_state_dict(state["model"], strict=True)
    batch = {"source": torch.randn(2, 8000), "padding_mask": torch.zeros(2, 8000).bool()}
    batch["padding_mask"][1, 6000:] = True
    with torch.no_grad():
        outputs = [model.eval()(**batch)["encoder_out"] for model in (ours, stock)]
    assert torch.equal(*outputs)
    zeros, total = count_zeros(dict(ours.named_parameters()))
    assert zeros == round(0.5 * total)


@pytest.mark.parametrize("kind", KINDS)
def test_fairseq_generate_scores_every_utterance(corpus, encoders, runs, tmp_path, kind):
    lines = transcribe(corpus, runs[kind], tmp_path)
    assert sum(line.startswith("H-") for line in lines) == 13
    assert "WER" in lines[-1]


def test_a_hubert_transcribes_a_recording(corpus, runs):
    pytest.importorskip("soxr", reason="the [data] extra is not installed")
    from parp_fairseq.transcription import Transcriber

    transcript = Transcriber.load(runs["hubert"], cpu=True).transcribe(corpus / "valid-0.wav")
    assert transcript.seconds == pytest.approx(0.6, abs=0.2)


def test_two_user_dirs_at_once(corpus, user_dir, encoders, tmp_path):
    """The programs themselves, which know the plugin and the encoder from one user dir alone."""
    command = [sys.executable, "-m", "fairseq_cli.hydra_train", "--config-dir", ROOT / "recipes"]
    command += ["--config-name", "mini", f"common.user_dir={user_dir}", "common.cpu=true"]
    command += [f"task.data={corpus}", f"model.w2v_path={encoders['own']}", "task.normalize=false"]
    command += [f"hydra.run.dir={tmp_path}", "optimization.max_update=4", "dataset.num_workers=0"]
    command += ["checkpoint.save_dir=.", "dataset.disable_validation=true", "+method=parp"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    state = load(tmp_path / "checkpoint_last.pt")
    assert "w2v_encoder.w2v_model.dropout_input.1.scale" in state["model"]
    zeros, total = count_zeros(state["model"])
    assert zeros == round(0.5 * total)


def test_time_and_channel_masks_of_hubert_are_those_of_fairseq(corpus, encoders, tmp_path):
    """With the numbers that fairseq draws, the masked features are fairseq's, to the bit."""
    encoder = make_trainer(
        config(corpus, encoders, "hubert", tmp_path, mask_prob=0.5, mask_channel_prob=0.5)
    ).get_model().w2v_encoder.w2v_model  # fmt: skip
    x = torch.randn(3, 25, 16)
    encoder.mask_channel_length = 4
    masked, times = encoder.apply_mask(x.clone(), None, None)
    assert times.shape == (3, 25) and times.any(1).all() and not times.all()
    rest = masked.masked_fill(times.unsqueeze(2), 0)
    channels = (masked == 0).all(1)
    expected = torch.where(times.unsqueeze(2), encoder.mask_emb.detach(), x)
    expected = expected.masked_fill(channels.unsqueeze(1), 0)
    assert torch.equal(masked, expected) and channels.any() and rest.any()


def test_a_frozen_encoder_is_refused_and_can_thaw(corpus, encoders, tmp_path):
    cfg = config(corpus, encoders, "hubert", tmp_path, freeze_share=1.0)
    with pytest.raises(ValueError, match=r"model\.freeze_finetune_updates is 30"):
        make_trainer(cfg)
    cfg.model.freeze_share = 0.5
    assert make_trainer(cfg).get_model().w2v_encoder.freeze_finetune_updates == 15


def test_learned_masks_of_a_hubert(corpus, encoders, tmp_path):
    options = dict(learn_mask=True, prune_pattern="layerwise", prune_bias="false", sparsity=0.25)
    cfg = config(corpus, encoders, "hubert", tmp_path, max_update=2, **options)
    trained = finetune(cfg)["model"]
    pretrained = load(encoders["hubert"])["model"]
    for name, weight in prunable_parameters(trained, bias=False).items():
        assert int((weight == 0).sum()) == round(0.25 * weight.numel())
        assert torch.equal(weight, pretrained[name] * (weight != 0))


def test_the_command_line_reads_all_kinds(encoder, encoders, runs, tmp_path, capsys):
    """Masks of a HuBERT and of a wav2vec 2.0 of one size have the same names."""
    files = {"wav2vec2": encoder, **encoders, "run": runs["hubert"]}
    masks = {}
    for kind, path in files.items():
        output = tmp_path / f"{kind}.safetensors"
        assert parp(["mask", str(path), "-o", str(output), "--sparsity", "0.5"]) == 0
        masks[kind] = Mask.load(output)
        assert parp(["info", str(path)]) == 0
        assert "transformer" in capsys.readouterr().out
    pretrained = load(encoders["data2vec"])["model"]
    del pretrained["_ema"]
    assert masks["data2vec"] == magnitude_mask(prunable_parameters(pretrained), 0.5)
    names = {kind: {name: keep.shape for name, keep in masks[kind].items()} for kind in masks}
    assert all(names[kind] == names["wav2vec2"] for kind in names)
    assert parp(["compare", *(str(tmp_path / f"{kind}.safetensors") for kind in files)]) == 0
    assert parp(["compare", str(runs["hubert"]), str(runs["data2vec"])]) == 0
    printed = capsys.readouterr().out
    assert "note" not in printed
    assert f"counted  {masks['wav2vec2'].num_weights:,} weights" in printed


@pytest.mark.parametrize("kind", ["hubert", "data2vec"])
def test_packs(corpus, encoders, runs, tmp_path, kind):
    packed, again = tmp_path / "pack.safetensors", tmp_path / "again.pt"
    base = ["--base", str(encoders[kind])]
    assert parp(["pack", str(runs[kind]), "-o", str(packed), *base]) == 0
    assert parp(["unpack", str(packed), "-o", str(again), *base]) == 0
    [model], *_ = checkpoint_utils.load_model_ensemble_and_task([str(again)])
    same_bits(dict(model.state_dict()), dict(load(runs[kind])["model"]))


def test_export_refuses_them(runs, tmp_path, capsys):
    pytest.importorskip("transformers", reason="the [hf] extra is not installed")
    names = {"hubert": "hubert", "data2vec": "data2vec_audio", "own": "gated_wav2vec2"}
    for kind, name in names.items():
        with pytest.raises(SystemExit):
            parp(["export", str(runs[kind]), str(tmp_path / "folder")])
        error = capsys.readouterr().err.strip()
        assert f"{runs[kind]}: its encoder is {name!r}: expected wav2vec2" in error
        assert "\n" not in error and not (tmp_path / "folder").exists()


def test_a_hubert_is_shrunk(corpus, encoders, tmp_path):
    options = dict(max_update=1, prune_pattern="ffn_channels")
    finetune(config(corpus, encoders, "hubert", tmp_path / "run", **options))
    path, small = tmp_path / "run" / "checkpoint_last.pt", tmp_path / "small.pt"
    assert parp(["shrink", str(path), "-o", str(small)]) == 0
    outputs = []
    for file in (path, small):
        [model], *_ = checkpoint_utils.load_model_ensemble_and_task([str(file)])
        with torch.no_grad():
            source = torch.linspace(-1, 1, 8000)[None]
            outputs.append(model.eval()(source=source, padding_mask=None)["encoder_out"])
    torch.testing.assert_close(*outputs)
    assert model.w2v_encoder.w2v_model.encoder.layers[0].fc1.out_features == 16


REFUSED = {
    "stock wav2vec_ctc": (
        "own",
        dict(arch="wav2vec_ctc"),
        r"model\._name is 'wav2vec_ctc', .*: write model\._name=parp_wav2vec_ctc",
    ),
    "stock hubert_ctc": (
        "hubert",
        dict(arch="hubert_ctc"),
        r"model\._name is 'hubert_ctc', .*: write model\._name=parp_hubert_ctc",
    ),
    "a HuBERT in the other model": (
        "hubert",
        dict(arch="parp_wav2vec_ctc"),
        r"the model 'hubert', which parp_wav2vec_ctc does not take: write model\._name=parp_hubert",
    ),
    "data2vec in the other model": (
        "data2vec",
        dict(arch="parp_hubert_ctc"),
        r"the model 'data2vec_audio', which .* does not take: write model\._name=parp_wav2vec_ctc",
    ),
}
CHANGED = {
    "not registered": (
        "own",
        lambda state: state["cfg"]["model"].update(_name="nobodys"),
        "the model 'nobodys', which is not registered .*: expected wav2vec2 or data2vec_audio, or "
        r"a registered subclass of Wav2Vec2Model .*common\.user_dir",
    ),
    "another architecture": (
        "data2vec",
        lambda state: state["cfg"]["model"].update(_name="transformer_lm"),
        "the model 'transformer_lm', expected wav2vec2 or data2vec_audio, or a",
    ),
    "code in the settings of a HuBERT": (
        "hubert",
        lambda state: state["cfg"]["model"].update(conv_feature_layers="[print(3)]"),
        "conv_feature_layers is .*, expected lists of tuples",
    ),
    "a HuBERT of another task": (
        "hubert",
        lambda state: state["cfg"]["task"].update(_name="audio_pretraining"),
        "its task is 'audio_pretraining', expected hubert_pretraining or a registered subclass",
    ),
    "a HuBERT without dictionaries": (
        "hubert",
        lambda state: state["task_state"].clear(),
        "lacks the dictionaries of its cluster targets, expected 'dictionaries'",
    ),
    "not a number": (
        "data2vec",
        lambda state: state["model"]["mask_emb"].fill_(torch.nan),
        "mask_emb holds values that are infinite or not a number",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_message_says_which_model_to_write(corpus, encoders, tmp_path, case):
    kind, options, message = REFUSED[case]
    cfg = config(corpus, encoders, kind, tmp_path, **options)
    with pytest.raises(ValueError, match=message) as refused:
        finetune(cfg)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize("case", CHANGED)
def test_what_cannot_be_pruned_is_refused(encoders, tmp_path, case):
    kind, change, message = CHANGED[case]
    state = load(encoders[kind])
    change(state)
    path = tmp_path / "changed.pt"
    torch.save(state, path)
    settings = {"_name": MASKED[kind], "w2v_path": str(path), "w2v_args": None, "normalize": False}
    with pytest.raises(ValueError, match=rf"model\.w2v_path is {path}: .*{message}") as refused:
        require_encoder(OmegaConf.create(settings))
    assert "\n" not in str(refused.value)


def test_layers_of_another_kind_are_refused(corpus, encoders, tmp_path):
    state = load(encoders["hubert"])
    state["cfg"]["model"].update(layer_type="conformer", attn_type="espnet")
    torch.save(state, tmp_path / "hubert.pt")
    cfg = config(corpus, {"hubert": tmp_path / "hubert.pt"}, "hubert", tmp_path / "run")
    message = (
        "scope 'transformer' covers no parameter of this model, which has .*made for fairseq's"
    )
    with pytest.raises(ValueError, match=message):
        make_trainer(cfg)


def test_an_older_kind_of_file(encoders, tmp_path):
    """HuBERT was first published with its settings as arguments of the command line."""
    state = load(encoders["hubert"])
    task, model = state["cfg"]["task"], state["cfg"]["model"]
    args = {**task, **model, "task": "hubert_pretraining", "arch": "hubert", "labels": "['km']"}
    args = {key: value for key, value in args.items() if key != "_name"}
    path = tmp_path / "hubert.pt"
    torch.save({**state, "cfg": None, "args": Namespace(**args)}, path)
    model_cfg = OmegaConf.structured(ParpHubertCtcConfig(w2v_path=str(path), data=str(tmp_path)))
    model_cfg.update(_name="parp_hubert_ctc", normalize=False, autoregressive=False)
    (tmp_path / "dict.ltr.txt").write_text("A 1\n")
    task = AudioFinetuningTask(AudioFinetuningConfig(data=str(tmp_path), labels="ltr"))
    require_encoder(model_cfg)
    encoder = task.build_model(model_cfg).w2v_encoder.w2v_model
    assert torch.equal(encoder.state_dict()["mask_emb"], state["model"]["mask_emb"])


def test_a_masking_of_ones_own_that_takes_no_masks_is_told(corpus, encoders, tmp_path, caplog):
    from fairseq.models import MODEL_REGISTRY

    from parp_fairseq.models.reproducible_masking import make_masking_reproducible

    base = MODEL_REGISTRY["gated_wav2vec2"]
    own = type("OwnMasking", (base,), {"apply_mask": lambda self, x, padding_mask: (x, None)})
    encoder = own.__new__(own)
    make_masking_reproducible(encoder, masks=False)
    assert not caplog.records
    make_masking_reproducible(encoder)
    assert "apply_mask of OwnMasking takes no mask_indices" in caplog.text
