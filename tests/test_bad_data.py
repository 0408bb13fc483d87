"""Promise 10 for manifests, labels and dictionaries: file, line and symbol are named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fairseq_runs import (
    SAMPLE_RATE,
    finetune,
    make_trainer,
    training_config,
    transcribe,
    write_corpus,
)
from test_bad_input import assert_refused

from parp_fairseq.tasks.audio_headers import shortest_clip


def replace_line(name: str, index: int, line: str):
    def change(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines()
        lines[index] = line
        (folder / name).write_text("\n".join(lines) + "\n")

    return change


def replace_audio(samples: int, rate: int = SAMPLE_RATE, channels: int = 1, subtype="PCM_16"):
    """Another recording for the third utterance, of line 4."""

    def change(folder: Path) -> None:
        noise = 0.1 * np.random.default_rng(0).standard_normal((samples, channels))
        soundfile.write(folder / "train-2.wav", noise, rate, subtype=subtype)

    return change


def shorten(samples: int):
    """The third utterance, in its file and in the manifest."""

    def change(folder: Path) -> None:
        replace_audio(samples)(folder)
        replace_line("train.tsv", 3, f"train-2.wav\t{samples}")(folder)

    return change


def prepend_bom(name: str):
    def change(folder: Path) -> None:
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())

    return change


def drop_word_ends(folder: Path) -> None:
    lines = (folder / "train.ltr").read_text().replace(" |", "")
    (folder / "train.ltr").write_text(lines)


def drop_word_ends_and_words(folder: Path) -> None:
    drop_word_ends(folder)
    (folder / "train.wrd").unlink()


def two_bad_clips(folder: Path) -> None:
    replace_audio(8000, channels=2)(folder)
    soundfile.write(folder / "train-9.wav", np.zeros(800), 8000)


WHERE = r"manifest .*train\.tsv, line 4: .*train-2\.wav: "
AUDIO = {
    "stereo": (replace_audio(8000, channels=2), WHERE + "2 channels, expected 1"),
    "8 kHz": (replace_audio(4000, rate=8000), WHERE + "8000 Hz, expected 16000 Hz"),
    "44.1 kHz": (replace_audio(4000, rate=44100), WHERE + "44100 Hz, expected 16000 Hz"),
    "longer than the manifest says": (
        replace_audio(20000, subtype="FLOAT"),
        WHERE + r"20000 samples, expected \d+ as the manifest says",
    ),
    "without samples": (replace_audio(0), WHERE + r"0 samples, expected \d+ as the manifest"),
    "without samples, as the manifest says": (shorten(0), WHERE + "0 samples, expected 345 or mo"),
    "shorter than one frame": (shorten(344), WHERE + "344 samples, expected 345 or more"),
    "no audio inside": (
        lambda folder: (folder / "train-2.wav").write_bytes(b"RIFF of nothing"),
        WHERE + "cannot be read as audio",
    ),
    "several": (two_bad_clips, WHERE + "2 channels, expected 1, and 1 more like it"),
}

DATA = {
    **AUDIO,
    "manifest with a BOM": (
        prepend_bom("train.tsv"),
        r"manifest .*train\.tsv, line 1: it begins with a byte order mark",
    ),
    "labels with a BOM": (
        prepend_bom("train.ltr"),
        r"label file .*train\.ltr, line 1: it begins with a byte order mark",
    ),
    "dictionary with a BOM": (
        prepend_bom("dict.ltr.txt"),
        r"dictionary .*dict\.ltr\.txt, line 1: it begins with a byte order mark",
    ),
    "dictionary with fairseq's own symbols": (
        replace_line("dict.ltr.txt", 2, "<pad> 9"),
        r"dictionary .*dict\.ltr\.txt, line 3: fairseq adds '<pad>' to every dictionary",
    ),
    "letters without words": (
        drop_word_ends,
        r"label file .*train\.ltr, line 1: no '\|' ends a word",
    ),
    "letters without words, and no words beside them": (
        drop_word_ends_and_words,
        r"label file .*train\.ltr, line 1: no '\|' ends a word",
    ),
    "labels of nothing": (
        lambda folder: (folder / "train.ltr").write_text("|\n" * 20),
        r"label file .*train\.ltr holds no words: there is nothing to train on",
    ),
    "no dictionary": (
        lambda folder: (folder / "dict.ltr.txt").unlink(),
        r"dictionary .*dict\.ltr\.txt does not exist",
    ),
    "dictionary empty": (
        lambda folder: (folder / "dict.ltr.txt").write_text(""),
        r"dictionary .*dict\.ltr\.txt is empty",
    ),
    "dictionary without counts": (
        replace_line("dict.ltr.txt", 2, "B"),
        r"dictionary .*dict\.ltr\.txt: Incorrect dictionary format",
    ),
    "dictionary with a symbol twice": (
        replace_line("dict.ltr.txt", 2, "A 9"),
        r"dictionary .*dict\.ltr\.txt: Duplicate word .*'A'",
    ),
    "no labels": (
        lambda folder: (folder / "train.ltr").unlink(),
        r"label file .*train\.ltr does not exist",
    ),
    "labels too few": (
        lambda folder: (folder / "train.ltr").write_text("A | \nB | \n"),
        r"label file .*train\.ltr has 2 lines, expected 20: .*train\.tsv",
    ),
    "labels too many": (
        replace_line("train.ltr", 4, "A |\nB |"),
        r"label file .*train\.ltr has 21 lines, expected 20",
    ),
    "labels that are no text": (
        lambda folder: (folder / "train.ltr").write_bytes(b"A |\n\xff\xfe |\n" * 10),
        r"label file .*train\.ltr: .*can't decode",
    ),
    "unknown symbol": (
        replace_line("train.ltr", 4, "A B | E A |"),
        r"label file .*train\.ltr, line 5: the dictionary lacks the symbol 'E'",
    ),
    "no manifest": (
        lambda folder: (folder / "train.tsv").unlink(),
        r"manifest .*train\.tsv does not exist",
    ),
    "manifest empty": (
        lambda folder: (folder / "train.tsv").write_text(""),
        r"manifest .*train\.tsv names no audio file",
    ),
    "manifest of a folder alone": (
        lambda folder: (folder / "train.tsv").write_text(f"{folder}\n"),
        r"manifest .*train\.tsv names no audio file",
    ),
    "manifest without sizes": (
        replace_line("train.tsv", 3, "train-2.wav"),
        r"manifest .*train\.tsv, line 4: expected a path, a tab .* found 'train-2\.wav'",
    ),
    "size that is no number": (
        replace_line("train.tsv", 3, "train-2.wav\tlong"),
        r"manifest .*train\.tsv, line 4: .* found 'train-2\.wav\\tlong'",
    ),
    "no audio": (
        lambda folder: (folder / "train-7.wav").unlink(),
        r"manifest .*train\.tsv, line 9: audio file .*train-7\.wav does not exist",
    ),
    "audio elsewhere": (
        replace_line("train.tsv", 0, "nowhere"),
        r"manifest .*, line 2: audio file nowhere/train-0\.wav does not exist, and 19 more like it",
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_data(encoder, tmp_path, name):
    change, message = DATA[name]
    change(write_corpus(tmp_path / "data", "train", 20))
    cfg = training_config(tmp_path / "data", encoder, tmp_path / "run", valid_subset="train")
    assert_refused(message, tmp_path / "run", cfg)


EVALUATION = {
    "no such split": (
        dict(gen_subset="test"),
        r"manifest .*test\.tsv does not exist: see task\.data",
    ),
    "no such labels": (dict(labels="chr"), r"dictionary .*dict\.chr\.txt does not exist"),
    "symbols of other labels": (dict(gen_subset="odd"), r"odd\.ltr, line 2: .*the symbol 'E'"),
    "not finetuned": (
        dict(path="encoder.pt"),
        r"model\._name is 'wav2vec2', expected parp_wav2vec_ctc .* or parp_hubert_ctc",
    ),
}


@pytest.fixture(scope="module")
def finetuned(encoder, tmp_path_factory):
    """A folder of manifests, a checkpoint and its encoder."""
    folder = write_corpus(tmp_path_factory.mktemp("finetuned"), "train", 20)
    write_corpus(folder, "odd", 3)
    replace_line("odd.ltr", 1, "A E |")(folder)
    shutil.copy(encoder, folder / "encoder.pt")
    cfg = training_config(folder, encoder, folder, max_update=1, valid_subset="train")
    finetune(cfg)
    return folder


@pytest.mark.parametrize("name", EVALUATION)
def test_evaluation(finetuned, tmp_path, name):
    changes, message = EVALUATION[name]
    options = {"path": "checkpoint_last.pt", "gen_subset": "train", **changes}
    options["path"] = finetuned / options["path"]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        transcribe(finetuned, options.pop("path"), tmp_path, **options)


def without_spaces(folder: Path) -> None:
    lines = (folder / "train.ltr").read_text().replace(" |", "")
    for letter, other in zip("ABCD", "\u4e00\u3042\u0e01\u1000"):
        lines = lines.replace(letter, other)
    (folder / "train.ltr").write_text(lines)
    (folder / "train.wrd").unlink()
    (folder / "dict.ltr.txt").write_text("\u4e00 1\n\u3042 1\n\u0e01 1\n\u1000 1\n")


def single_words(folder: Path) -> None:
    (folder / "train.ltr").write_text("A B\n" * 20)
    (folder / "train.wrd").write_text("AB\n" * 20)


def shortest(folder: Path) -> None:
    shorten(345)(folder)


GOOD = {
    "a script without spaces": without_spaces,
    "single words": single_words,
    "the shortest": shortest,
}


@pytest.mark.parametrize("change", GOOD.values(), ids=GOOD)
def test_data_that_is_good(encoder, tmp_path, change):
    change(write_corpus(tmp_path / "data", "train", 20))
    task = make_trainer(training_config(tmp_path / "data", encoder, tmp_path)).task
    task.load_dataset("train")
    assert len(task.datasets["train"]) == 20


def test_clips_that_fairseq_leaves_out_need_not_be_good(encoder, tmp_path):
    shorten(100)(write_corpus(tmp_path / "data", "train", 20))
    cfg = training_config(tmp_path / "data", encoder, tmp_path, min_sample_size=400)
    task = make_trainer(cfg).task
    task.load_dataset("train")
    assert len(task.datasets["train"]) == 19


def test_nothing_to_score_is_said(finetuned, tmp_path, caplog):
    for suffix in ("tsv", "ltr"):
        shutil.copy(finetuned / f"odd.{suffix}", finetuned / f"silent.{suffix}")
    (finetuned / "silent.ltr").write_text("\n|\n\n")
    transcribe(finetuned, finetuned / "checkpoint_last.pt", tmp_path, gen_subset="silent")
    assert "silent.ltr holds no words: there is nothing to score" in caplog.text


def test_the_shortest_clip_is_that_of_the_convolutions():
    base = [(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2
    assert shortest_clip(base) == 400
    convolve = torch.nn.Sequential(*(torch.nn.Conv1d(1, 1, k, s) for _, k, s in base))
    assert convolve(torch.zeros(1, 1, 400)).shape[-1] == 1
    with pytest.raises(RuntimeError):
        convolve(torch.zeros(1, 1, 399))
