"""Sentencepiece units: made from the training words, and scored as words by fairseq-generate."""

import re
import subprocess
import sys
from pathlib import Path

import jiwer
import pytest
import sentencepiece
from fairseq_runs import finetune, training_config, transcribe, write_corpus
from test_evaluation import lines_of, printed_score

SCRIPT = Path(__file__).parents[1] / "manifests" / "sentencepiece_labels.py"


def run(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def data(tmp_path):
    write_corpus(tmp_path, "train", 20, seed=0)
    return write_corpus(tmp_path, "valid", 13, seed=1)


def test_units_score_as_words(data, encoder, tmp_path):
    assert run(data, "--vocab-size", 10).returncode == 0
    model = sentencepiece.SentencePieceProcessor(model_file=str(data / "spm.model"))
    words = (data / "valid.wrd").read_text().splitlines()
    units = [line.split() for line in (data / "valid.spm").read_text().splitlines()]
    assert [model.decode(line) for line in units] == words
    known = {line.split()[0] for line in (data / "dict.spm.txt").read_text().splitlines()}
    assert {unit for line in units for unit in line} <= known

    options = dict(labels="spm", post_process="sentencepiece")
    finetune(
        training_config(data, encoder, tmp_path / "run", max_update=40, lr="[0.01]", **options)
    )
    output = transcribe(data, tmp_path / "run/checkpoint_last.pt", tmp_path / "out", **options)
    references, hypotheses = lines_of(output, "T"), lines_of(output, "H")
    assert references == dict(enumerate(words))
    order = sorted(references)
    wer = jiwer.wer([references[i] for i in order], [hypotheses[i] for i in order])
    assert printed_score(output) == pytest.approx(100 * wer, abs=0.005)


def test_units_spell_the_words_to_the_letter(data):
    words = ["ﬁn ª", "ﬁn", "ŉ"] * 5  # which NFKC, sentencepiece's default, would write otherwise
    (data / "train.wrd").write_text("".join(f"{line}\n" for line in words), "utf-8")
    assert run(data, "--vocab-size", 7).returncode == 0
    units = (data / "train.spm").read_text("utf-8").splitlines()
    assert [line.replace(" ", "").replace("▁", " ").strip() for line in units] == words


def test_the_same_words_give_the_same_bytes(data):
    assert run(data, "--vocab-size", 10).returncode == 0
    first = {path.name: path.read_bytes() for path in data.glob("*spm*")}
    assert first.keys() == {"spm.model", "dict.spm.txt", "train.spm", "valid.spm"}
    assert run(data, "--vocab-size", 10).returncode == 0
    assert {path.name: path.read_bytes() for path in data.glob("*spm*")} == first


def test_errors_name_the_cause(data, tmp_path):
    failed = run(tmp_path / "nowhere")
    assert failed.returncode == 2
    assert "train.wrd: not found" in failed.stderr
    failed = run(data, "--vocab-size", 9000)
    assert failed.returncode == 2
    assert "--vocab-size: 9000: expected no more than the " in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list(data.glob("*spm*"))


def test_a_small_corpus_gets_as_many_units_as_its_words_allow(data):
    done = run(data)  # the example of --help
    assert done.returncode == 0, done.stderr
    size = int(re.search(r"sentencepiece: (\d+) units, as many as the words allow", done.stdout)[1])
    assert size < 100
    model = sentencepiece.SentencePieceProcessor(model_file=str(data / "spm.model"))
    assert model.get_piece_size() == size
    greatest = f"--vocab-size: {size + 1}: expected no more than the {size} units"
    assert greatest in run(data, "--vocab-size", size + 1).stderr
    assert run(data, "--vocab-size", size).returncode == 0
    assert "--vocab-size: 2: expected no fewer than " in run(data, "--vocab-size", 2).stderr
    (data / "train.wrd").write_text("\n" * 20)
    assert "no words, expected some" in run(data).stderr
