"""HuBERT, data2vec and a user's own encoder are pruned as wav2vec 2.0 is, with the same promises."""

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
from fairseq_runs import PRECISIONS, finetune, load, make_trainer, training_config, transcribe
from omegaconf import II
from pretrained_encoders import pretrain, pretrain_data2vec, pretrain_hubert
from test_checkpoints import RANDOM, finetune_and_keep
from test_training import plain_parp_step, run, same_bits, updates, weights

from parp_fairseq.cli import main as parp
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
        config(corpus, encoders, kind, tmp_path, sparsity=0.4, prune_interval=3, **options)
    )
    our_losses = run(ours, 8)

    options |= dict(task="audio_finetuning", arch=STOCK[kind])
    stock = make_trainer(config(corpus, encoders, kind, tmp_path, **options))
    plain_parp_step(stock.get_model(), 0.4)
    losses = []
    for loss in updates(stock, 8):
        losses.append(loss)
        if len(losses) % 3 == 0:
            plain_parp_step(stock.get_model(), 0.4)
            expected = prunable_parameters(stock.get_model())
            expected = {name: weight != 0 for name, weight in expected.items()}

    assert our_losses == losses
    same_bits(weights(ours), weights(stock))
    assert ours.task.pruner.mask == Mask(expected)


@pytest.mark.parametrize("precision", PRECISIONS[:2], ids=["float32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_resume_is_exact_and_checkpoints_are_sparse(corpus, encoders, tmp_path, kind, precision):
    options = {**RANDOM, "max_update": 7, "prune_interval": 3, "precision": precision}
    options["sparsity"] = 0.45
    whole = finetune_and_keep(config(corpus, encoders, kind, tmp_path / "whole", **options), 4)
    for path in (tmp_path / "whole").glob("*.pt"):
        zeros, total = count_zeros(load(path)["model"])
        assert zeros == round(0.45 * total), path

    (tmp_path / "parts").mkdir()
    [stopped] = (tmp_path / "whole").glob("checkpoint_*_4.pt")
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
    [ours], cfg, _ = checkpoint_utils.load_model_ensemble_and_task([str(runs[kind])])
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


def test_two_user_dirs_at_once(corpus, user_dir, encoders, tmp_path):
    """The programs themselves, which know the plugin and the encoder from one user dir alone."""
    command = [sys.executable, "-m", "fairseq_cli.hydra_train", "--config-dir", ROOT / "recipes"]
    command += ["--config-name", "mini", f"common.user_dir={user_dir}", "common.cpu=true"]
    command += [f"task.data={corpus}", f"model.w2v_path={encoders['own']}", "task.normalize=false"]
    command += [f"hydra.run.dir={tmp_path}", "optimization.max_update=1", "dataset.num_workers=0"]
    command += ["checkpoint.save_dir=.", "dataset.disable_validation=true", "+method=parp"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    state = load(tmp_path / "checkpoint_last.pt")
    assert "w2v_encoder.w2v_model.dropout_input.1.scale" in state["model"]
    zeros, total = count_zeros(state["model"])
    assert zeros == round(0.5 * total)


def test_masking_follows_the_seed(corpus, encoders, tmp_path):
    """HuBERT's own apply_mask takes no masks that are drawn elsewhere."""
    options = dict(mask_prob=0.5, mask_channel_prob=0.3, mask_channel_length=4)
    first, again, other = (
        weights_after(1, config(corpus, encoders, "hubert", tmp_path, seed=seed, **options))
        for seed in (1, 1, 2)
    )
    same_bits(first, again)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def weights_after(count, cfg):
    trainer = make_trainer(cfg)
    run(trainer, count)
    return weights(trainer)


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
    with pytest.raises(ValueError, match="model.freeze_finetune_updates is 30"):
        make_trainer(cfg)
    cfg = config(corpus, encoders, "hubert", tmp_path, freeze_share=0.5)
    assert make_trainer(cfg).get_model().w2v_encoder.freeze_finetune_updates == 15


def test_learned_masks_of_a_hubert(corpus, encoders, tmp_path):
    options = dict(learn_mask="true", prune_pattern="layerwise", prune_bias="false", sparsity=0.25)
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
    expected = load(encoders["data2vec"])["model"]
    expected = magnitude_mask(
        prunable_parameters({k: v for k, v in expected.items() if k != "_ema"})
    )
    assert masks["data2vec"] == expected
    names = {
        kind: {name: keep.shape for name, keep in mask.items()} for kind, mask in masks.items()
    }
    assert all(names[kind] == names["wav2vec2"] for kind in names)
    assert parp(["compare", *(str(tmp_path / f"{kind}.safetensors") for kind in files)]) == 0
    assert parp(["compare", str(runs["hubert"]), str(runs["data2vec"])]) == 0
    printed = capsys.readouterr().out
    assert "note" not in printed
    assert f"counted  {masks['wav2vec2'].num_weights:,} weights" in printed


@pytest.mark.parametrize("kind", KINDS)
def test_packs(corpus, encoders, runs, tmp_path, kind):
    packed, again = tmp_path / "pack.safetensors", tmp_path / "again.pt"
    base = ["--base", str(encoders[kind])]
    assert parp(["pack", str(runs[kind]), "-o", str(packed), *base]) == 0
    assert parp(["unpack", str(packed), "-o", str(again), *base]) == 0
    same_bits(load(again)["model"], load(runs[kind])["model"])
    lines = [transcribe(corpus, path, tmp_path / "out") for path in (runs[kind], again)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    "kind, name", [("hubert", "hubert"), ("data2vec", "data2vec_audio"), ("own", "gated_wav2vec2")]
)
def test_export_refuses_them(runs, tmp_path, capsys, kind, name):
    pytest.importorskip("transformers", reason="the [hf] extra is not installed")
    with pytest.raises(SystemExit):
        parp(["export", str(runs[kind]), str(tmp_path / "folder")])
    error = capsys.readouterr().err.strip()
    assert error.endswith(
        f"its encoder is {name!r}: expected wav2vec2, the only one that can be exported"
    )
    assert not (tmp_path / "folder").exists()


def test_a_hubert_is_shrunk(corpus, encoders, tmp_path):
    options = dict(max_update=1, prune_pattern="ffn_channels")
    finetune(config(corpus, encoders, "hubert", tmp_path / "run", **options))
    path, small = tmp_path / "run" / "checkpoint_last.pt", tmp_path / "small.pt"
    assert parp(["shrink", str(path), "-o", str(small)]) == 0
    lines = [transcribe(corpus, one, tmp_path / "out") for one in (path, small)]
    assert lines[0][-1] == lines[1][-1]
    assert load(small)["model"]["w2v_encoder.w2v_model.encoder.layers.0.fc1.bias"].shape == (16,)


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
    "layers of another kind": (
        "hubert",
        lambda state: state["cfg"]["model"].update(layer_type="conformer", attn_type="espnet"),
        "scope 'transformer' covers no parameter of this model, which has .*made for fairseq's",
    ),
    "not a number": (
        "data2vec",
        lambda state: state["model"]["mask_emb"].fill_(torch.nan),
        "mask_emb holds values that are infinite or not a number",
    ),
}


@pytest.mark.parametrize("case", [*REFUSED, *CHANGED])
def test_what_cannot_be_pruned_is_refused(corpus, encoders, tmp_path, case):
    if case in REFUSED:
        kind, options, message = REFUSED[case]
        files = encoders
    else:
        kind, change, message = CHANGED[case]
        options, files = {}, {kind: tmp_path / "changed.pt"}
        state = load(encoders[kind])
        change(state)
        torch.save(state, files[kind])
    cfg = config(corpus, files, kind, tmp_path / "run", **options)
    with pytest.raises(ValueError, match=message) as refused:
        finetune(cfg)
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "run").rglob("*.pt"))


def test_an_older_kind_of_file(corpus, encoders, tmp_path):
    """HuBERT was first published with its settings as arguments of the command line."""
    state = load(encoders["hubert"])
    task, model = state["cfg"]["task"], state["cfg"]["model"]
    args = {**task, **model, "task": "hubert_pretraining", "arch": "hubert", "labels": "['km']"}
    args = {key: value for key, value in args.items() if key != "_name"}
    torch.save({**state, "cfg": None, "args": Namespace(**args)}, tmp_path / "hubert.pt")
    files = {"hubert": tmp_path / "hubert.pt"}
    ours = weights_after(1, config(corpus, files, "hubert", tmp_path))
    same_bits(ours, weights_after(1, config(corpus, encoders, "hubert", tmp_path)))


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
