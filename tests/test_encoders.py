"""HuBERT, data2vec and a user's own encoder: all that is promised for wav2vec 2.0."""

import re
import shutil
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import programs
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
from parp_fairseq.models.encoder_file import require_ctc, require_encoder
from parp_fairseq.models.parp_hubert_ctc import ParpHubertCtcConfig
from parp_fairseq.pruning import Mask, magnitude_mask, prunable_parameters

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


# A run with all that is drawn at random while training, and for HuBERT with float32 masters.
SHORT = {**RANDOM, "disable_validation": True, "max_update": 5, "prune_interval": 2}
SHORT["sparsity"] = 0.45
PRECISION = {"hubert": PRECISIONS[1], "data2vec": {}, "own": {}}


@pytest.fixture(scope="module")
def runs(corpus, encoders, tmp_path_factory) -> dict[str, Path]:
    """The last checkpoint of a PARP run of each kind, beside that of update 3."""
    top = tmp_path_factory.mktemp("runs")
    for kind in KINDS:
        options = {**SHORT, "precision": PRECISION[kind]}
        finetune_and_keep(config(corpus, encoders, kind, top / kind, **options), 3)
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


@pytest.mark.parametrize("kind", KINDS)
def test_resume_is_exact_and_checkpoints_are_sparse(corpus, encoders, runs, tmp_path, kind):
    [stopped] = runs[kind].parent.glob("checkpoint_*_3.pt")
    for path in (stopped, runs[kind]):
        zeros, total = count_zeros(load(path)["model"])
        assert zeros == round(0.45 * total), path

    shutil.copy(stopped, tmp_path / "checkpoint_last.pt")
    options = {**SHORT, "precision": PRECISION[kind]}
    resumed = finetune(config(corpus, encoders, kind, tmp_path, **options))
    whole = load(runs[kind])
    same_bits(resumed["model"], whole["model"])
    ours, reference = (
        state["model"]._metadata[""]["parp"]["masters"] for state in (resumed, whole)
    )
    assert len(ours) == len(reference) and bool(ours) == bool(PRECISION[kind])
    assert all(map(torch.equal, ours, reference))


@pytest.mark.parametrize("kind", KINDS)
def test_stock_fairseq_loads_our_checkpoint(runs, kind):
    [ours], *_ = checkpoint_utils.load_model_ensemble_and_task([str(runs[kind])])
    state = checkpoint_utils.load_checkpoint_to_cpu(str(runs[kind]))
    state["cfg"].model._name = STOCK[kind]
    state["cfg"].task._name = "audio_finetuning"
    [stock], _, task = checkpoint_utils.load_model_ensemble_and_task([str(runs[kind])], state=state)
    assert not any("parp" in type(one).__module__ for one in (stock, task))
    batch = {"source": torch.randn(2, 8000), "padding_mask": torch.zeros(2, 8000).bool()}
    batch["padding_mask"][1, 6000:] = True
    with torch.no_grad():
        outputs = [model.eval()(**batch)["encoder_out"] for model in (ours, stock)]
    assert torch.equal(*outputs)
    zeros, total = count_zeros(dict(stock.named_parameters()))
    assert zeros == round(0.45 * total)


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
    done = programs.run(
        "fairseq_cli.hydra_train", "--config-dir", ROOT / "recipes", "--config-name", "mini",
        f"common.user_dir={user_dir}", "common.cpu=true", f"task.data={corpus}",
        f"model.w2v_path={encoders['own']}", "task.normalize=false", f"hydra.run.dir={tmp_path}",
        "optimization.max_update=4", "dataset.num_workers=0", "checkpoint.save_dir=.",
        "dataset.disable_validation=true", "+method=parp", "model.mask_length=2",
        "model.mask_channel_length=1", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    state = load(tmp_path / "checkpoint_last.pt")
    assert "w2v_encoder.w2v_model.dropout_input.1.scale" in state["model"]
    zeros, total = count_zeros(state["model"])
    assert zeros == round(0.5 * total)


def test_commands_know_an_encoder_from_the_user_dir(corpus, user_dir, runs, tmp_path):
    program = tmp_path / "command.py"
    program.write_text("from parp_fairseq.cli import main\nraise SystemExit(main())\n")
    (tmp_path / "lexicon.txt").write_text("AB\tA B |\nDAB\tD A B |\n")
    transcription = ["transcribe", runs["own"], corpus / "valid-0.wav", "--cpu"]
    tuning = ["tune", runs["own"], corpus, "--split=valid", "--lexicon", tmp_path / "lexicon.txt"]
    tuning += ["--lm-weights=0", "--word-scores=0", "--workers=1", "--cpu"]
    for command in (transcription, tuning):
        done = programs.run(program, *command, "--user-dir", user_dir)
        assert done.returncode == 0, done.stderr
    refused = programs.run(program, *transcription)
    assert refused.returncode == 2
    assert "gated_wav2vec2" in refused.stderr and "--user-dir must name it" in refused.stderr
    missing = programs.run(program, *transcription, "--user-dir=nowhere")
    assert missing.stderr.endswith(
        "parp: error: --user-dir is nowhere, which does not exist: expected a folder\n"
    )


def test_hubert_is_masked_as_by_fairseq(runs):
    """Its own apply_mask takes no masks that are drawn elsewhere."""
    [model], *_ = checkpoint_utils.load_model_ensemble_and_task([str(runs["hubert"])])
    encoder = model.w2v_encoder.w2v_model
    encoder.mask_prob = encoder.mask_channel_prob = 0.5
    encoder.mask_channel_length = 4
    x = torch.randn(3, 25, 16)
    masked, times = encoder.apply_mask(x.clone(), None, None)
    assert times.shape == (3, 25) and times.any(1).all() and not times.all()
    channels = (masked == 0).all(1)
    assert channels.any(1).all() and not channels.all()
    expected = torch.where(times.unsqueeze(2), encoder.mask_emb.detach(), x)
    assert torch.equal(masked, expected.masked_fill(channels.unsqueeze(1), 0))


def test_freeze_share_freezes_a_hubert(corpus, encoders, tmp_path):
    cfg = config(corpus, encoders, "hubert", tmp_path, freeze_share=1.0)
    with pytest.raises(ValueError, match=r"model\.freeze_finetune_updates is 30"):
        make_trainer(cfg)


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


def test_export_refuses_them(runs):
    pytest.importorskip("transformers", reason="the [hf] extra is not installed")
    from parp_fairseq.huggingface.finetuned import Finetuned

    names = {"hubert": "hubert", "data2vec": "data2vec_audio", "own": "gated_wav2vec2"}
    for kind, name in names.items():
        with pytest.raises(ValueError, match=f"its encoder is '{name}': expected wav2vec2, the on"):
            Finetuned.of(load(runs[kind]))


def test_a_hubert_is_shrunk(runs, tmp_path):
    """Where a quarter of the channels of each layer is pruned."""
    state = load(runs["hubert"])
    for name, weight in state["model"].items():
        if ".fc1." in name:
            weight[:8] = 0
    whole, small = tmp_path / "whole.pt", tmp_path / "small.pt"
    torch.save(state, whole)
    assert parp(["shrink", str(whole), "-o", str(small)]) == 0
    outputs = []
    for file in (whole, small):
        [model], *_ = checkpoint_utils.load_model_ensemble_and_task([str(file)])
        with torch.no_grad():
            source = torch.linspace(-1, 1, 8000)[None]
            outputs.append(model.eval()(source=source, padding_mask=None)["encoder_out"])
    torch.testing.assert_close(*outputs)
    assert model.w2v_encoder.w2v_model.encoder.layers[0].fc1.out_features == 24


@pytest.mark.parametrize("kind", KINDS)
def test_the_message_says_which_model_to_write(encoders, kind):
    stock = "hubert_ctc" if kind == "hubert" else "wav2vec_ctc"
    message = (
        rf"model\._name is '{stock}', which cannot be pruned: write model\._name=parp_{stock} "
    )
    with pytest.raises(ValueError, match=message):
        require_ctc(OmegaConf.create({"_name": stock}), masked=True)
    assert require_ctc(OmegaConf.create({"_name": MASKED[kind]}), masked=True).stock == stock

    [other] = set(MASKED.values()) - {MASKED[kind]}
    message = f"which {other} does not take: write model._name={MASKED[kind]} (or --arch"
    with pytest.raises(ValueError, match=re.escape(message)):
        require_encoder(settings(other, encoders[kind]))


def settings(name: str, path: Path):
    return OmegaConf.create(
        {"_name": name, "w2v_path": str(path), "w2v_args": None, "normalize": False}
    )


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


@pytest.mark.parametrize("case", CHANGED)
def test_what_cannot_be_pruned_is_refused(encoders, tmp_path, case):
    kind, change, message = CHANGED[case]
    state = load(encoders[kind])
    change(state)
    path = tmp_path / "changed.pt"
    torch.save(state, path)
    with pytest.raises(ValueError, match=rf"model\.w2v_path is {path}: .*{message}") as refused:
        require_encoder(settings(MASKED[kind], path))
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
