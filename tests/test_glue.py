"""manifests/bert.py and manifests/glue.py: a BERT and a task of GLUE for fairseq's RoBERTa."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from corpora import MANIFESTS, contents
from fairseq.data import Dictionary
from fairseq.data.data_utils import load_indexed_dataset
from fairseq.models.roberta import RobertaModel
from fairseq_runs import load
from glue_tables import SIZES, edit_config, write_bert, write_tables
from omegaconf import OmegaConf

from parp_fairseq.models.parp_roberta import ParpRoberta

pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

sys.path.insert(0, str(MANIFESTS))
import bert  # noqa: E402
import glue  # noqa: E402
from sentences.table import Example  # noqa: E402
from sentences.vocabulary import Pieces  # noqa: E402

TEXTS = ["good film.", "Bad acting, dull actor, the film was a bad, bad film.", "zzz", "a"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A BERT as it is downloaded."""
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def encoder(source, tmp_path_factory):
    """The folder that bert.py makes of it."""
    folder = tmp_path_factory.mktemp("encoder")
    bert.main([str(source), str(folder)])
    return folder


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return write_tables(tmp_path_factory.mktemp("tables") / "single")


@pytest.fixture(scope="module")
def prepared(tables, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    glue.main([str(tables), str(folder), "--encoder", str(encoder), "--valid", "9"])
    return folder


def roberta(encoder: Path, model=ParpRoberta, **changes):
    """fairseq's model with the weights of encoder.pt, every one of which must fit."""
    state = load(encoder / "encoder.pt")
    dictionary = Dictionary.load(str(encoder / "dict.txt"))
    dictionary.add_symbol("<mask>")  # as the task does

    class Task:
        source_dictionary = dictionary

    built = model.build_model(OmegaConf.create({**state["cfg"]["model"], **changes}), Task)
    built.load_state_dict(state["model"], strict=True)
    return built.eval(), dictionary


@pytest.mark.parametrize("model, close", [(ParpRoberta, True), (RobertaModel, False)])
def test_hidden_states_are_those_of_transformers(model, close, source, encoder):
    """Of all layers, with padding; the stock model has other layer norms."""
    theirs = transformers.BertModel.from_pretrained(source).eval()
    tokenizer = transformers.BertTokenizerFast(tokenizer_file=str(source / "tokenizer.json"))
    ours, dictionary = roberta(encoder, model)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    pieces = Pieces(encoder).split(TEXTS)
    lines = [dictionary.encode_line(" ".join(["<s>", *one]), add_if_not_exist=False)
             for one in pieces]  # fmt: skip
    tokens = torch.nn.utils.rnn.pad_sequence(
        [line.long() for line in lines], batch_first=True, padding_value=dictionary.pad()
    )
    assert tokens.shape == inputs["input_ids"].shape
    shown = inputs["attention_mask"].bool()
    assert torch.equal(shown, tokens.ne(dictionary.pad()))
    with torch.no_grad():
        expected = theirs(**inputs, output_hidden_states=True).hidden_states
        _, extra = ours(tokens, features_only=True, return_all_hiddens=True)
    found = [state.transpose(0, 1) for state in extra["inner_states"]]
    assert len(found) == len(expected) == SIZES["num_hidden_layers"] + 1
    furthest = max(float((a - b)[shown].abs().max()) for a, b in zip(found, expected))
    assert (furthest < 1e-5) == close


def test_layer_norm_eps_is_a_number_above_0(encoder):
    for eps in (0, -1e-12, float("inf")):
        with pytest.raises(ValueError, match=r"model\.layer_norm_eps is .*, expected a number"):
            roberta(encoder, layer_norm_eps=eps)
    model, _ = roberta(encoder, layer_norm_eps=None)
    assert model.encoder.sentence_encoder.layernorm_embedding.eps == 1e-5


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "roberta"}, r"config\.json: model_type is 'roberta', expected 'bert'"),
        ({"hidden_act": "relu"}, r"config\.json: hidden_act is 'relu', expected 'gelu'"),
        ({"num_hidden_layers": 3}, r"encoder\.layer\.2\..*: no such tensor, expected shape"),
        ({"num_hidden_layers": 1}, r"encoder\.layer\.1\..*: expected no such tensor in a BERT"),
        ({"intermediate_size": 8}, r"shape \(32,.*\), expected shape \(8,"),
        ({"hidden_size": "16"}, r"hidden_size is '16', expected a number greater than 0"),
        ({"vocabulary": "{}"}, r"tokenizer\.json: tokenizers cannot read it"),
        ({"vocabulary": None}, r"tokenizer\.json: not found, expected a text file"),
        ({"weights": b"no"}, r"model\.safetensors: not a whole file of safetensors"),
    ],
)
def test_what_is_no_bert_is_refused(change, message, source, tmp_path, capsys):
    folder = shutil.copytree(source, tmp_path / "bert")
    if "vocabulary" in change:
        (folder / "tokenizer.json").unlink()
        if change["vocabulary"]:
            (folder / "tokenizer.json").write_text(change["vocabulary"])
    elif "weights" in change:
        (folder / "model.safetensors").write_bytes(change["weights"])
    else:
        edit_config(folder, **change)
    with pytest.raises(SystemExit) as stopped:
        bert.main([str(folder), str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def examples(folder: Path, key: str, split: str) -> list[str]:
    """The text of each line, as fairseq reads it."""
    dictionary = Dictionary.load(str(folder / key / "dict.txt"))
    data = load_indexed_dataset(str(folder / key / split), dictionary)
    assert all(int(line[-1]) == dictionary.eos() for line in data)
    return [dictionary.string(line) for line in data]


def rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()[1:]]


def test_splits_are_disjoint_and_the_test_set_is_whole(tables, encoder, prepared):
    train, test = rows(tables / "train.tsv"), rows(tables / "dev.tsv")
    pieces = Pieces(encoder)

    def text_of(row):
        return " ".join(pieces.split([row[0]])[0])

    assert examples(prepared, "input0", "test") == [text_of(row) for row in test]
    assert examples(prepared, "label", "test") == [row[1] for row in test]
    held_out = {row[0] for row in test}
    usable = {text_of(row): row[1] for row in train if row[0] not in held_out}
    drawn = {
        split: dict(zip(*(examples(prepared, key, split) for key in ("input0", "label"))))
        for split in ("train", "valid")
    }
    assert len(drawn["valid"]) == 9
    assert not drawn["train"].keys() & drawn["valid"].keys()
    assert drawn["train"] | drawn["valid"] == usable
    assert (prepared / "input0" / "dict.txt").read_text() == (encoder / "dict.txt").read_text()


def test_fewer_sentences_are_a_part_of_more(tables, encoder, prepared, tmp_path):
    options = [str(tables), "--encoder", str(encoder / "encoder.pt"), "--valid", "9"]
    glue.main([*options, str(tmp_path / "few"), "--sentences", "5"])
    few, all_of_them = (examples(folder, "input0", "train") for folder in
                        (tmp_path / "few", prepared))  # fmt: skip
    assert few == all_of_them[:5]
    assert examples(tmp_path / "few", "input0", "valid") == examples(prepared, "input0", "valid")
    # Twice the same bytes; another seed draws others.
    glue.main([*options, str(tmp_path / "all")])
    assert contents(tmp_path / "all") == contents(prepared)
    glue.main([*options, str(tmp_path / "all"), "--seed", "2"])
    assert examples(tmp_path / "all", "input0", "valid") != examples(prepared, "input0", "valid")


def test_pairs_become_two_inputs_and_leave_none_behind(tables, encoder, prepared, tmp_path):
    pairs = write_tables(tmp_path / "pairs", pairs=True)
    folder = tmp_path / "data"
    options = [str(folder), "--encoder", str(encoder), "--valid", "9"]
    glue.main([str(pairs), *options])
    second = [row[1] for row in rows(pairs / "dev.tsv")]
    expected = [" ".join(one) for one in Pieces(encoder).split(second)]
    assert examples(folder, "input1", "test") == expected
    glue.main([str(tables), *options])
    assert contents(folder) == contents(prepared)


def test_sentences_that_are_there_twice_are_left_out():
    train = [Example((text,), "1") for text in "abcabcde"]
    drawn, left_out = glue.draw(train, [Example(("e",), "0")], valid=1, count=None, seed=1)
    assert left_out == 4
    assert sorted(e.sentences[0] for e in drawn["train"] + drawn["valid"]) == list("abcd")


@pytest.mark.parametrize(
    "file, text, options, message",
    [
        ("train", "a\tb\nx\t1\n", [], r"train\.tsv, line 1: columns a, b; expected .*sentence"),
        ("train", "sentence\tlabel\nx\n", [], r"train\.tsv, line 2: 1 columns, expected 2"),
        ("train", "sentence\tlabel\n\t1\n", [], r"train\.tsv, line 2: an empty sentence"),
        ("train", "sentence\tlabel\nx\tvery good\n", [], r"line 2: class 'very good', expected"),
        ("train", "sentence\tlabel\n", [], r"train\.tsv: found no examples"),
        ("dev", "sentence\tlabel\nx\t-1\n", [], r"dev\.tsv: class '-1', expected .*, 0, 1"),
        ("dev", None, [], r"dev\.tsv: not found"),
        (None, None, ["--valid", "60"], r"--valid 60: expected no more examples than there are"),
        (None, None, ["--sentences", "60"], r"--sentences 60: expected no more examples than"),
        (None, None, ["--columns", "text,label"], r"line 1: .*expected text, label"),
        ("train", f"sentence\tlabel\n{'good ' * 600}\t1\nx\t0\n", [], r"602 pieces in 'good good"),
        (None, None, ["--encoder", "/no"], r"/dict\.txt: not found"),
    ],
)  # fmt: skip
def test_what_is_no_task_of_glue_is_refused(
    file, text, options, message, tables, encoder, tmp_path, capsys
):
    folder = shutil.copytree(tables, tmp_path / "tables")
    if file:
        (folder / f"{file}.tsv").unlink()
    if text:
        (folder / f"{file}.tsv").write_text(text)
    arguments = [str(folder), str(tmp_path / "out"), "--encoder", str(encoder), "--valid", "1"]
    with pytest.raises(SystemExit) as stopped:
        glue.main([*arguments, *options])
    assert stopped.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
