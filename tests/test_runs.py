"""What a run is, and what it may go on from: another run in its folder is refused, by name."""

import shutil
from pathlib import Path

import pytest
import torch
from fairseq_runs import finetune, load, training_config, transcribe, write_corpus, write_encoder

from parp_fairseq.pruning import magnitude_mask, prunable_parameters, random_mask


class Place:
    """A run of 2 updates that has a folder, data and an encoder of its own, to be changed."""

    def __init__(self, folder: Path):
        self.folder, self.data = folder / "run", folder / "data"
        self.encoder, self.mask = folder / "encoder.pt", folder / "mask.safetensors"

    @property
    def last(self) -> Path:
        return self.folder / "checkpoint_last.pt"

    def config(self, **changes):
        options = dict(
            max_update=2, adjust="false", mask_file=self.mask, valid_subset="train",
            save_dir=self.folder, encoder=self.encoder,
        )  # fmt: skip
        options.update(changes)
        encoder, save_dir = options.pop("encoder"), options.pop("save_dir")
        return training_config(self.data, encoder, save_dir, **options)

    def files(self):
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("original"))
    write_corpus(place.data, "train", 8)
    write_encoder(place.encoder)
    magnitude_mask(prunable_parameters(load(place.encoder)["model"]), 0.5).save(place.mask)
    finetune(place.config())
    return place


@pytest.fixture
def place(original, tmp_path):
    """A copy: its paths are others, and its content the same."""
    root = original.folder.parent
    shutil.copytree(root, tmp_path / "copy")
    manifest = tmp_path / "copy" / "data" / "train.tsv"
    manifest.write_text(manifest.read_text().replace(str(root), str(tmp_path / "copy")))
    return Place(tmp_path / "copy")


def updates_of(checkpoint) -> int:
    return checkpoint["optimizer_history"][-1]["num_updates"]


def test_a_finished_run_stays_as_it_is(place, caplog):
    before = place.files()
    finetune(place.config())
    assert place.files() == before


def test_a_run_that_used_up_its_time_stays_as_it_is(place):
    before = place.files()
    finetune(place.config(max_update=9, stop_time_hours=1e-9))
    assert place.files() == before


def test_what_may_change(place):
    place.encoder.rename(place.encoder.with_name("moved.pt"))
    place.mask.rename(place.mask.with_name("moved.safetensors"))
    moved = dict(encoder=place.encoder.with_name("moved.pt"))
    moved["mask_file"] = place.mask.with_name("moved.safetensors")
    cfg = place.config(
        max_update=3, log_interval=7, num_workers=1, save_interval=5, validate_interval=3,
        max_tokens_valid=20000, stop_time_hours=9, **moved,
    )  # fmt: skip
    assert updates_of(finetune(cfg)) == 3


def other_encoder(place):
    write_encoder(place.encoder, seed=5)


def other_mask(place):
    params = prunable_parameters(load(place.encoder)["model"])
    random_mask(params, 0.5, seed=3).save(place.mask)


def other_labels(place):
    lines = (place.data / "train.ltr").read_text().splitlines()
    (place.data / "train.ltr").write_text("\n".join(["A B |", *lines[1:]]) + "\n")


def fewer_utterances(place):
    for suffix in ("tsv", "ltr", "wrd"):
        file = place.data / f"train.{suffix}"
        file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")


CONTENT = {
    "encoder": (other_encoder, r"the encoder \(model\.w2v_path\) is not that of the run"),
    "mask": (other_mask, r"the mask \(task\.mask_file\) is not that of the run"),
    "labels": (other_labels, r"the training labels .* not that of the run"),
    "manifest": (fewer_utterances, r"the training manifest .* not that of the run"),
}


@pytest.mark.parametrize("change, message", CONTENT.values(), ids=CONTENT)
def test_files_are_compared_by_content(place, change, message):
    change(place)
    before = place.files()
    with pytest.raises(ValueError, match=message):
        finetune(place.config(max_update=4))
    assert place.files() == before


OPTIONS = {
    "seed": (dict(seed=8), r"common\.seed is 8, but the run to be resumed has 7"),
    "lr": (dict(lr="[0.5]"), r"optimization\.lr is \[0\.5\], .* has \[0\.003\]"),
    "mask_prob": (dict(mask_prob=0.6), r"model\.mask_prob is 0\.6, .* has 0\.3"),
    "dropout": (dict(final_dropout=0.3), r"model\.final_dropout is 0\.3, .* has 0\.0"),
    "schedule": (dict(warmup_updates=9), r"lr_scheduler\.warmup_updates is 9, .* has 0"),
    "optimizer": (dict(optimizer="sgd"), r"optimizer\._name is 'sgd', .* has 'adam'"),
    "betas": (dict(adam_betas="(0.5, 0.9)"), r"optimizer\.adam_betas"),
    "criterion": (dict(sentence_avg=True), r"sentence_avg is True, .* has False"),
    "batches": (dict(max_tokens=9000), r"dataset\.max_tokens is 9000, .* has 30000"),
    "accumulation": (dict(update_freq="[3]"), r"update_freq is \[3\] on 1 ranks, .* has \[1\]"),
    "precision": (dict(fp16_init_scale=4), r"common\.fp16_init_scale is 4, .* has 128"),
}


@pytest.mark.parametrize("changes, message", OPTIONS.values(), ids=OPTIONS)
def test_another_recipe_is_named(place, changes, message):
    before = place.files()
    with pytest.raises(ValueError, match=message):
        finetune(place.config(**changes))  # finished or not
    assert place.files() == before


# A checkpoint that lacks something ----------------------------------------------------------------


def change_checkpoint(place, change):
    state = load(place.last)
    change(state)
    torch.save(state, place.last)


def drop_metadata(state):
    state["model"] = dict(state["model"])


def drop_optimizer(state):
    state["last_optimizer_state"] = None


LACKING = {
    "metadata": (drop_metadata, "update 2 has no state of pruning .*reset_optimizer=true"),
    "optimizer": (drop_optimizer, "update 2 holds no state of the optimizer .*reset_optimizer"),
}


@pytest.mark.parametrize("change, message", LACKING.values(), ids=LACKING)
def test_a_checkpoint_that_lacks_state(place, change, message):
    change_checkpoint(place, change)
    before = place.files()
    with pytest.raises(ValueError, match=message):
        finetune(place.config(max_update=4))
    assert place.files() == before
    anew = finetune(place.config(max_update=3, reset_optimizer=True))
    assert updates_of(anew) == 3


def test_a_checkpoint_of_stock_fairseq(place, tmp_path):
    stock = training_config(
        place.data, place.encoder, tmp_path / "stock", task="audio_finetuning", arch="wav2vec_ctc",
        max_update=2, valid_subset="train",
    )  # fmt: skip
    finetune(stock)
    shutil.copy(tmp_path / "stock" / "checkpoint_last.pt", place.last)
    with pytest.raises(ValueError, match="has no state of pruning"):
        finetune(place.config(max_update=4))


# Dictionaries -------------------------------------------------------------------------------------


def sort_dictionary(place):
    file = place.data / "dict.ltr.txt"
    file.write_text("\n".join(sorted(file.read_text().splitlines())) + "\n")


def shorten_dictionary(place):
    (place.data / "dict.ltr.txt").write_text("| 9\nA 9\nB 9\nC 9\n")
    labels = place.data / "train.ltr"
    labels.write_text(labels.read_text().replace("D", "A"))


DICTIONARIES = {
    "sorted": (
        sort_dictionary,
        r"dict\.ltr\.txt is not the one .*: line 1 holds 'A', expected '\|' \(5 symbols here, 5 in",
    ),
    "shorter": (
        shorten_dictionary,
        r"dict\.ltr\.txt is not the one .*: symbol 5, 'D', is only in .*\(4 symbols here, 5 in",
    ),
}


@pytest.mark.parametrize("change, message", DICTIONARIES.values(), ids=DICTIONARIES)
def test_dictionaries_are_compared(place, tmp_path, change, message):
    change(place)
    with pytest.raises(ValueError, match=message):
        finetune(place.config(max_update=4))
    with pytest.raises(ValueError, match=message):
        finetune(place.config(save_dir=tmp_path / "new", finetune_from_model=place.last))
    with pytest.raises(ValueError, match=message):
        transcribe(place.data, place.last, tmp_path / "out", gen_subset="train")


def test_counts_in_a_dictionary_decide_nothing(place, tmp_path):
    file = place.data / "dict.ltr.txt"
    file.write_text(file.read_text().replace(" 9", " 1"))
    assert transcribe(place.data, place.last, tmp_path / "out", gen_subset="train")
