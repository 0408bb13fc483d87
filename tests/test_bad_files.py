"""Promise 10 for masks and encoders: what is missing, damaged or of another kind is named."""

import argparse
import logging
import resource
from pathlib import Path
from typing import Dict, Optional

import pytest
import torch
from fairseq_runs import load, make_trainer, training_config, write_encoder
from safetensors.torch import save_file
from test_bad_input import assert_refused
from test_training import run

from parp_fairseq.pruning import Mask, magnitude_mask, prunable_parameters, random_mask

NAME = "encoder.layers.1.fc1.weight"


# Mask files -----------------------------------------------------------------------------------


def with_changes(path: Path, mask: Mask, changes: Dict[str, Optional[torch.Tensor]]) -> None:
    """The mask as the authors write it, with tensors changed, added, or left out (None)."""
    state = {f"{name}_mask": kept.float() for name, kept in mask.items()}
    state.update(changes)
    torch.save({key: value for key, value in state.items() if value is not None}, path)


FC1 = f"{NAME}_mask"
MASKS = {
    "folder.safetensors": (lambda path, _: path.mkdir(), "is a folder"),
    "empty.safetensors": (lambda path, _: path.touch(), "header"),
    "empty.pt": (lambda path, _: path.touch(), "it is cut short"),
    "text.safetensors": (lambda path, _: path.write_text("no mask"), "header"),
    "text.pt": (lambda path, _: path.write_text("no mask"), "of another kind"),
    "cut.safetensors": (
        lambda path, mask: (mask.save(path), path.write_bytes(path.read_bytes()[:-9])),
        "incomplete metadata, file not fully covered",
    ),
    "cut.pt": (
        lambda path, mask: (
            with_changes(path, mask, {}),
            path.write_bytes(path.read_bytes()[:999]),
        ),
        "it is cut short",
    ),
    "weights.safetensors": (
        lambda path, _: save_file({"w": torch.ones(3)}, path),
        "expected parp-mask in a safetensors file's metadata, found none",
    ),
    "half.pt": (
        lambda path, mask: with_changes(path, mask, {FC1: torch.full((32, 16), 0.5)}),
        f"{FC1} holds values other than 0 and 1",
    ),
    "nan.pt": (
        lambda path, mask: with_changes(path, mask, {FC1: torch.full((32, 16), torch.nan)}),
        f"{FC1} holds values other than 0 and 1",
    ),
    "list.pt": (lambda path, _: torch.save([1, 0], path), "expected a dict of masks, found list"),
    "one_more.pt": (
        lambda path, mask: with_changes(path, mask, {"extra.weight_mask": torch.ones(2, 2)}),
        r"1 too many \['extra\.weight'\]",
    ),
    "one_less.pt": (
        lambda path, mask: with_changes(path, mask, {FC1: None}),
        rf"1 missing \['{NAME}'\]",
    ),
    "off_by_one.pt": (
        lambda path, mask: with_changes(path, mask, {FC1: torch.ones(32, 17)}),
        rf"{NAME} has shape \(32, 17\), expected \(32, 16\)",
    ),
    "denser.pt": (
        lambda path, mask: with_changes(path, mask, {FC1: torch.ones(32, 16)}),
        r"expected \d+ for sparsity 0\.5: the mask's own sparsity is 0\.4",
    ),
    "sparser.safetensors": (
        lambda path, mask: random_mask(mask, 0.7).save(path),
        r"expected \d+ for sparsity 0\.5: the mask's own sparsity is 0\.7",
    ),
}


@pytest.fixture(scope="module")
def half(encoder):
    return random_mask(prunable_parameters(load(encoder)["model"]), 0.5)


@pytest.mark.parametrize("name", MASKS)
def test_mask_files(corpus, encoder, half, tmp_path, name):
    write, message = MASKS[name]
    write(tmp_path / name, half)
    cfg = training_config(corpus, encoder, tmp_path / "run", mask_file=tmp_path / name)
    assert_refused(rf"mask file .*{name}\b.*{message}", tmp_path / "run", cfg)


def test_a_mask_of_another_architecture(corpus, encoder, tmp_path):
    other = load(write_encoder(tmp_path / "other.pt", encoder_ffn_embed_dim=64))
    magnitude_mask(prunable_parameters(other["model"]), 0.5).save(tmp_path / "other.safetensors")
    file = tmp_path / "other.safetensors"
    cfg = training_config(corpus, encoder, tmp_path / "run", mask_file=file)
    assert_refused(
        r"mask.*other\.safetensors.*layers\.0\.fc1\.weight has shape \(64, 16\)",
        tmp_path / "run", cfg,
    )  # fmt: skip


def test_a_full_disk(half, tmp_path):
    half.save(tmp_path / "mask.safetensors")
    before = (tmp_path / "mask.safetensors").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match=r"mask\.safetensors cannot be written: "):
            half.save(tmp_path / "mask.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["mask.safetensors"]
    assert (tmp_path / "mask.safetensors").read_bytes() == before


# Pre-trained encoders -------------------------------------------------------------------------


def rewritten(change):
    """Writes the encoder's checkpoint with ``change`` made to it, or what ``change`` returns."""

    def write(path: Path, encoder: Path) -> None:
        state = load(encoder)
        changed = change(state)
        torch.save(state if changed is None else changed, path)

    return write


def as_args(**flat):
    return rewritten(lambda state: state.update(cfg=None, args=argparse.Namespace(**flat)))


ENCODERS = {
    "missing.pt": (lambda *_: None, "does not exist"),
    "folder.pt": (lambda path, _: path.mkdir(), "is a folder"),
    "empty.pt": (lambda path, _: path.touch(), "is empty"),
    "text.pt": (lambda path, _: path.write_text("no weights"), "refused.* of another kind"),
    "cut.pt": (
        lambda path, encoder: path.write_bytes(encoder.read_bytes()[:-999]),
        "refused.*cut short",
    ),
    "cut_early.pt": (
        lambda path, encoder: path.write_bytes(encoder.read_bytes()[:999]),
        "refused.*cut short",
    ),
    "list.pt": (lambda path, _: torch.save([1], path), "an object of type list, expected a ch"),
    "weights_alone.pt": (
        rewritten(lambda state: state["model"]),
        "a dict with 'mask_emb', .* but without 'model', 'optimizer_history'",
    ),
    "no_history.pt": (
        rewritten(lambda state: state.pop("extra_state") and None),
        "without 'extra_state', expected a checkpoint that fairseq wrote",
    ),
    "no_settings.pt": (
        rewritten(lambda state: state.update(cfg=None)),
        "its settings hold no 'model', expected 'args' or 'cfg'",
    ),
    "hubert.pt": (
        rewritten(lambda state: state["cfg"]["model"].update(_name="hubert")),
        r"the model 'hubert', which .* does not take: write model\._name=parp_hubert_ctc",
    ),
    "translation.pt": (
        as_args(arch="transformer", task="translation"),
        "it holds the model 'transformer', expected wav2vec2",
    ),
    "finetuned.pt": (
        rewritten(lambda state: state["cfg"]["model"].update(_name="wav2vec_ctc")),
        "the model 'wav2vec_ctc', expected wav2vec2 .*; see checkpoint.finetune_from_model",
    ),
    "other_task.pt": (
        rewritten(lambda state: state["cfg"]["task"].update(_name="translation")),
        "its task is 'translation', expected audio_pretraining",
    ),
    "not_tensors.pt": (
        rewritten(lambda state: state["model"].update({NAME: 3})),
        f"{NAME} is of type int, expected a tensor",
    ),
    "nan.pt": (
        rewritten(lambda state: state["model"][NAME].mul_(torch.nan).size() and None),
        f"{NAME} holds values that are infinite or not a number",
    ),
    "inf.pt": (
        rewritten(lambda state: state["model"].update(mask_emb=torch.tensor([0, -torch.inf]))),
        "mask_emb holds values that are infinite or not a number",
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders(corpus, encoder, tmp_path, name):
    write, message = ENCODERS[name]
    write(tmp_path / name, encoder)
    cfg = training_config(corpus, tmp_path / name, tmp_path / "run")
    assert_refused(rf"model\.w2v_path is .*{name}: .*{message}", tmp_path / "run", cfg)


def test_an_encoder_that_is_not_given(corpus, tmp_path):
    cfg = training_config(corpus, None, tmp_path)
    assert_refused(r"model\.w2v_path is not given", tmp_path, cfg)


@pytest.mark.parametrize("large", [False, True])
def test_an_encoder_of_other_normalisation(corpus, tmp_path, large):
    path = write_encoder(tmp_path / "encoder.pt", large=large)
    cfg = training_config(corpus, path, tmp_path / "run", normalize=not large)
    message = rf"task\.normalize is {not large}, but .*encoder\.pt was pre-trained with {large}"
    assert_refused(message, tmp_path / "run", cfg)


def test_weights_that_are_no_numbers_are_named_when_they_come_later(corpus, encoder, tmp_path):
    """``finetune_from_model`` loads its weights after the model was built."""
    cfg = training_config(corpus, encoder, tmp_path / "run")
    trainer = make_trainer(cfg)
    prunable_parameters(trainer.get_model())[NAME].data[0, 0] = torch.inf
    with pytest.raises(ValueError, match=f"{NAME} holds values that are infinite or not a number"):
        run(trainer, 1)
    assert not list(tmp_path.rglob("*.pt"))


def test_a_matrix_that_a_later_prune_empties_is_told_in_the_log(corpus, encoder, tmp_path, caplog):
    trainer = make_trainer(
        training_config(
            corpus, encoder, tmp_path, prune_interval=2, initial_sparsity=0.1, ramp_updates=2
        )
    )
    with caplog.at_level(logging.WARNING):
        run(trainer, 1)
        assert "prunes all weights" not in caplog.text
        prunable_parameters(trainer.get_model())[NAME].data.zero_()
        run(trainer, 2)
    assert f"update 2: sparsity 0.5 prunes all weights of {NAME}" in caplog.text
