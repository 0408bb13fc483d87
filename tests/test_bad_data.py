"""Promise 10 for manifests, labels and dictionaries: file, line and symbol are named."""

import shutil
from pathlib import Path

import pytest
from fairseq_runs import finetune, training_config, transcribe, write_corpus
from test_bad_input import assert_refused


def replace_line(name: str, index: int, line: str):
    def change(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines()
        lines[index] = line
        (folder / name).write_text("\n".join(lines) + "\n")

    return change


DATA = {
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
        r"manifest .*train\.tsv, line 2: audio file nowhere/train-0\.wav does not exist, nor do 19",
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
        "task parp is for parp_wav2vec_ctc and wav2vec_ctc, found the model 'wav2vec2'",
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
