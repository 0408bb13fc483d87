"""manifests/joint.py: several corpora as one, to train on as it is, or to draw from by weight."""
# ruff: noqa: RUF001  (letters that look alike are what some tests are about)

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List

import jiwer
import pytest

pytest.importorskip("soxr", reason="the [data] extra is not installed")

from corpora import MANIFESTS, prepare
from fairseq.tasks.audio_finetuning import AudioFinetuningConfig
from fairseq_runs import finetune, load, training_config, transcribe, write_encoder
from hypothesis import given
from hypothesis import strategies as st
from languages import SENTENCES, write_language, write_languages
from test_bad_input import assert_refused
from test_evaluation import lines_of, printed_score
from test_recipes_train import train

sys.path.insert(0, str(MANIFESTS))

import joint as command
from manifest.sampling import sampling_weights

DRAWS_BY_WEIGHT = "multi_corpus_keys" in AudioFinetuningConfig.__dataclass_fields__
by_weight = pytest.mark.skipif(not DRAWS_BY_WEIGHT, reason="fairseq 0.12.2 cannot draw by weight")

# What joint.py writes of the three languages of languages.py, whole; ROOT is where they lie.
EXPECTED = {
    "train.tsv": """\
ROOT
es/audio/train/né 0.flac\t6400
es/audio/train/né 1.flac\t6720
es/audio/train/né 2.flac\t7040
es/audio/train/né 3.flac\t7360
fr/audio/train/né 0.flac\t6400
fr/audio/train/né 1.flac\t6720
it/audio/train/né 0.flac\t6400
""",
    "train.wrd": "el niño\nsí\nno\nel año\nça\nété\nè un no\n",
    "train.ltr": """\
e l | n i ñ o |
s í |
n o |
e l | a ñ o |
ç a |
é t é |
è | u n | n o |
""",
    "train.phn": "e l n i ñ o\ns í\nn o\ne l a ñ o\nç a\né t é\nè u n n o\n",
    "valid.tsv": """\
ROOT
es/audio/valid/né 0.flac\t6400
fr/audio/valid/né 0.flac\t6400
it/audio/valid/né 0.flac\t6400
""",
    "valid.wrd": "un niño\nun été\nno è\n",
    "valid.ltr": "u n | n i ñ o |\nu n | é t é |\nn o | è |\n",
    "valid.phn": "u n n i ñ o\nu n é t é\nn o è\n",
    "test.tsv": """\
ROOT
es/audio/test/né 0.flac\t6400
fr/audio/test/né 0.flac\t6400
it/audio/test/né 0.flac\t6400
""",
    "test.wrd": "sí un año\nça été\nun è\n",
    "test.ltr": "s í | u n | a ñ o |\nç a | é t é |\nu n | è |\n",
    "test.phn": "s í u n a ñ o\nç a é t é\nu n è\n",
    "train_es.tsv": """\
ROOT
es/audio/train/né 0.flac\t6400
es/audio/train/né 1.flac\t6720
es/audio/train/né 2.flac\t7040
es/audio/train/né 3.flac\t7360
""",
    "train_es.wrd": "el niño\nsí\nno\nel año\n",
    "train_es.ltr": "e l | n i ñ o |\ns í |\nn o |\ne l | a ñ o |\n",
    "train_es.phn": "e l n i ñ o\ns í\nn o\ne l a ñ o\n",
    "train_fr.tsv": "ROOT\nfr/audio/train/né 0.flac\t6400\nfr/audio/train/né 1.flac\t6720\n",
    "train_fr.wrd": "ça\nété\n",
    "train_fr.ltr": "ç a |\né t é |\n",
    "train_fr.phn": "ç a\né t é\n",
    "train_it.tsv": "ROOT\nit/audio/train/né 0.flac\t6400\n",
    "train_it.wrd": "è un no\n",
    "train_it.ltr": "è | u n | n o |\n",
    "train_it.phn": "è u n n o\n",
    "valid_es.tsv": "ROOT\nes/audio/valid/né 0.flac\t6400\n",
    "valid_es.wrd": "un niño\n",
    "valid_es.ltr": "u n | n i ñ o |\n",
    "valid_es.phn": "u n n i ñ o\n",
    "valid_fr.tsv": "ROOT\nfr/audio/valid/né 0.flac\t6400\n",
    "valid_fr.wrd": "un été\n",
    "valid_fr.ltr": "u n | é t é |\n",
    "valid_fr.phn": "u n é t é\n",
    "valid_it.tsv": "ROOT\nit/audio/valid/né 0.flac\t6400\n",
    "valid_it.wrd": "no è\n",
    "valid_it.ltr": "n o | è |\n",
    "valid_it.phn": "n o è\n",
    "test_es.tsv": "ROOT\nes/audio/test/né 0.flac\t6400\n",
    "test_es.wrd": "sí un año\n",
    "test_es.ltr": "s í | u n | a ñ o |\n",
    "test_es.phn": "s í u n a ñ o\n",
    "test_fr.tsv": "ROOT\nfr/audio/test/né 0.flac\t6400\n",
    "test_fr.wrd": "ça été\n",
    "test_fr.ltr": "ç a | é t é |\n",
    "test_fr.phn": "ç a é t é\n",
    "test_it.tsv": "ROOT\nit/audio/test/né 0.flac\t6400\n",
    "test_it.wrd": "un è\n",
    "test_it.ltr": "u n | è |\n",
    "test_it.phn": "u n è\n",
    # 6 words of es, 2 of fr, 3 of it. To u, es and fr add 0: they have it in other splits alone.
    "dict.ltr.txt": "| 11\nn 4\no 4\na 2\ne 2\nl 2\né 2\nñ 2\ni 1\ns 1\nt 1\nu 1\nç 1\nè 1\ní 1\n",
    "dict.phn.txt": "n 4\no 4\na 2\ne 2\nl 2\né 2\nñ 2\ni 1\ns 1\nt 1\nu 1\nç 1\nè 1\ní 1\n",
    "speakers.tsv": """\
path\tspeaker
es/audio/train/né 0.flac\tes/speaker of train
es/audio/train/né 1.flac\tes/speaker of train
es/audio/train/né 2.flac\tes/speaker of train
es/audio/train/né 3.flac\tes/speaker of train
es/audio/valid/né 0.flac\tes/speaker of valid
es/audio/test/né 0.flac\tes/speaker of test
fr/audio/train/né 0.flac\tfr/speaker of train
fr/audio/train/né 1.flac\tfr/speaker of train
fr/audio/valid/né 0.flac\tfr/speaker of valid
fr/audio/test/né 0.flac\tfr/speaker of test
it/audio/train/né 0.flac\tit/speaker of train
it/audio/valid/né 0.flac\tit/speaker of valid
it/audio/test/né 0.flac\tit/speaker of test
""",
    # 2, sqrt(2) and 1 of 4.41, in multiples of 1/1024.
    "weighted.txt": """\
dataset.train_subset='es:train_es,fr:train_fr,it:train_it'
++task.multi_corpus_keys='es,fr,it'
++task.multi_corpus_sampling_weights='0.453125,0.3203125,0.2265625'
""",
}


@pytest.fixture(scope="module")
def languages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_languages(tmp_path_factory.mktemp("languages"))


def joint(languages: Path, dest: Path, *options: object) -> "subprocess.CompletedProcess[str]":
    return prepare("joint.py", *(languages / name for name in SENTENCES), dest, *options)


def files(folder: Path) -> Dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in folder.iterdir()}


@pytest.fixture(scope="module")
def data(languages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dest = tmp_path_factory.mktemp("joint") / "not there" / "all"
    done = joint(languages, dest)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^fr +2 +1 +1 +28\.6% +32\.0%$", done.stdout, re.MULTILINE)
    return dest


def test_files_compared_whole(languages: Path, data: Path) -> None:
    expected = {name: text.replace("ROOT", str(languages)) for name, text in EXPECTED.items()}
    assert files(data) == expected


def test_made_again_alike_and_not_of_other_corpora(languages: Path, tmp_path: Path) -> None:
    assert joint(languages, tmp_path, "--tags").returncode == 0
    (tmp_path / "test_it.tsv").unlink()  # as where a run was killed
    assert joint(languages, tmp_path).returncode == 0
    before = files(tmp_path)
    assert before.keys() == EXPECTED.keys()
    assert before["train.ltr"] == EXPECTED["train.ltr"]
    done = prepare("joint.py", languages / "es", languages / "fr", tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path / 'test_it.tsv'}: of another corpus, expected a new DEST" in done.stderr
    assert files(tmp_path) == before


def test_tags_are_words_and_phones_of_their_own(languages: Path, tmp_path: Path) -> None:
    done = joint(languages, tmp_path, "--tags")
    assert done.returncode == 0, done.stderr
    written = files(tmp_path)
    assert (
        written["valid.ltr"] == "<es> | u n | n i ñ o |\n<fr> | u n | é t é |\n<it> | n o | è |\n"
    )
    assert written["valid.phn"] == "<es> u n n i ñ o\n<fr> u n é t é\n<it> n o è\n"
    assert written["valid_fr.ltr"] == "<fr> | u n | é t é |\n"
    assert written["valid.wrd"] == EXPECTED["valid.wrd"]
    plain = EXPECTED["dict.ltr.txt"].splitlines()
    tagged = set(written["dict.ltr.txt"].splitlines())
    assert tagged == {"| 18", "<es> 4", "<fr> 2", "<it> 1", *plain[1:]}
    assert prepare("check.py", tmp_path).returncode == 0


def test_units_of_sentencepiece_are_tagged_as_words(languages: Path, tmp_path: Path) -> None:
    for name, size in (("es", 12), ("fr", 6)):
        shutil.copytree(languages / name, tmp_path / name)
        units = prepare("sentencepiece_labels.py", tmp_path / name, "--vocab-size", size)
        assert units.returncode == 0, units.stderr
    sources = [tmp_path / "es", tmp_path / "fr"]
    done = prepare("joint.py", *sources, tmp_path / "all", "--tags")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "all" / "test.spm").read_text("utf-8").splitlines()
    words = ["".join(line.split()).replace("\u2581", " ").strip() for line in lines]
    assert words == ["<es> sí un año", "<fr> ça été"]
    symbols = [line.split()[0] for line in (tmp_path / "all" / "dict.spm.txt").open()]
    assert {"\u2581<es>", "\u2581<fr>"} <= set(symbols)


def test_splits_that_not_all_have_are_joined_of_those_that_do(
    languages: Path, tmp_path: Path
) -> None:
    es = write_language(tmp_path / "es", {**SENTENCES["es"], "dev_other": ["no"]})
    done = prepare("joint.py", es, f"fra={languages / 'fr'}", tmp_path / "all")
    assert done.returncode == 0, done.stderr
    written = files(tmp_path / "all")
    assert (written["dev_other.wrd"], written["dev_other_es.wrd"]) == ("no\n", "no\n")
    assert "dev_other_fra.wrd" not in written
    assert written["train_fra.wrd"] == EXPECTED["train_fr.wrd"]


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=40), st.floats(0, 1))
def test_weights_are_powers_of_sizes_that_add_up_to_one(sizes: List[int], alpha: float) -> None:
    weights = sampling_weights(sizes, alpha)
    assert sum(weights) == 1 == sum(float(str(weight)) for weight in weights)
    ideal = [size**alpha / sum(size**alpha for size in sizes) for size in sizes]
    raised = sum(share < 1 / 1024 for share in ideal)
    assert min(weights) >= 1 / 1024
    for weight, share in zip(weights, ideal):
        assert abs(weight - share) <= (1 + raised) / 1024 + 1e-9


def edited(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, "utf-8") and None


# What is done to es, how joint.py is called in the folder of the languages, and what it says.
REFUSED = {
    "one corpus": (None, "es all", "CORPUS: es alone, expected two corpora or more"),
    "one name": (None, "es x=fr x=it all", "CORPUS: two are named x, expected NAME=FOLDER"),
    "bad name": (None, "es,1=es fr all", "the name 'es,1' in 'es,1=es', expected letters, digits"),
    "no folder": (None, "es xx all", "xx: not found, expected a folder of manifests"),
    "empty folder": (lambda es: [f.unlink() for f in es.glob("*.tsv")], "es fr all", "no manifest"),
    "alpha": (None, "es fr all --alpha 2", "argument --alpha: '2', expected a share from 0 to 1"),
    "reserved": (None, "s=es fr all --tags", "--tags: <s> is a symbol of fairseq's own"),
    "the same audio": (
        None,
        "es fr it=es all",
        "all/train.tsv: 'es/audio/train/né 0.flac' is of es and of it, expected each file in one",
    ),
    "the name of a split": (
        lambda es: [f.rename(es / f"train_fr{f.suffix}") for f in es.glob("test.*")],
        "es fr all",
        "fr: its train would be named train_fr, like another split",
    ),
    "another corpus in DEST": (None, "es fr it", "it/speakers.tsv: of another corpus, expected"),
    "no train": (
        lambda es: (es / "train.tsv").unlink(),
        "es fr all",
        "es/train.tsv: not found, expected a split to train on",
    ),
    "no labels of a split": (
        lambda es: (es / "test.ltr").unlink(),
        "es fr all",
        "es/test.ltr: not found, expected labels",
    ),
    "no labels in common": (
        lambda es: [f.unlink() for f in es.iterdir() if ".phn" in f.name or ".ltr" in f.name],
        "es fr all",
        "all: no labels that all corpora have (es has none, fr has ltr phn), expected some",
    ),
    "no dictionary": (
        lambda es: (es / "dict.phn.txt").unlink(),
        "es fr all",
        "es/dict.phn.txt: not found, expected the symbols of the .phn files",
    ),
    "a symbol that the dictionary lacks": (
        edited("test.phn", "s í w n a ñ o\n"),
        "es fr all",
        "es/test.phn, line 1: 'w', expected one of the 10 of dict.phn.txt",
    ),
    "too few labels": (
        edited("train.phn", "e l\n"),
        "es fr all",
        "es/train.phn: 1 lines, expected 4 as in train.tsv",
    ),
    "letters of other words": (
        edited("test.ltr", "s í | u n | o ñ o |\n"),
        "es fr all",
        "es/test.ltr, line 1: spells 'sí un oño', expected 'sí un año' as in test.wrd",
    ),
    "not UTF-8": (
        lambda es: (es / "test.wrd").write_bytes("sí un año\n".encode("latin-1")),
        "es fr all",
        "es/test.wrd, line 1: b'\\xed', expected UTF-8",
    ),
    "a line of the manifest": (
        edited("test.tsv", "/\nné 0.flac 6400\n"),
        "es fr all",
        "es/test.tsv, line 2: 'né 0.flac 6400', expected a path, a tab, and the number of samples",
    ),
    "no root": (edited("test.tsv", "\nné 0.flac\t6400\n"), "es fr all", "expected the folder of"),
    "speakers": (
        edited("speakers.tsv", "path\tspeaker\nx.flac\n"),
        "es fr all",
        "es/speakers.tsv, line 2: 'x.flac', expected a path, a tab, a speaker",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_and_nothing_written(
    case: str, languages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage, line, message = REFUSED[case]
    shutil.copytree(languages, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    if damage:
        damage(Path("es"))
    before = sorted(Path.cwd().rglob("*"))
    done = prepare("joint.py", *line.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(Path.cwd().rglob("*")) == before


# Training --------------------------------------------------------------------------------------

LETTERS = ["task.labels=ltr", "criterion.post_process=letter"]
LETTERS += ["checkpoint.best_checkpoint_metric=wer", "dataset.required_batch_size_multiple=1"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder") / "encoder.pt", large=True)


@pytest.mark.parametrize(
    "weighted", [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=by_weight)]
)
def test_five_updates_and_every_language_scored(
    weighted: bool, data: Path, encoder: Path, tmp_path: Path
) -> None:
    options = (data / "weighted.txt").read_text().split() if weighted else []
    valid = "dataset.valid_subset='valid,valid_fr'"
    run = tmp_path / "run"
    done = train("commonvoice_xlsr53", "parp", data, encoder, run, *LETTERS, valid, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    checkpoint = run / "checkpoints" / "checkpoint_best.pt"
    assert load(checkpoint)["optimizer_history"][-1]["num_updates"] == 5
    assert "scoring 3 of 3 utterances" in done.stdout + done.stderr
    # 7 utterances an epoch: by weight, 45 % and 32 % of them, and the rest.
    drawn = re.findall(r"sampling (\d) from (\w\w) dataset", done.stdout + done.stderr)
    assert drawn[:3] == ([("3", "es"), ("2", "fr"), ("2", "it")] if weighted else [])
    for subset in ("test", "test_es", "test_fr", "test_it"):
        output = transcribe(data, checkpoint, tmp_path / "out", gen_subset=subset)
        references, hypotheses = lines_of(output, "T"), lines_of(output, "H")
        assert references == dict(enumerate(EXPECTED[f"{subset}.wrd"].splitlines()))
        assert hypotheses.keys() == references.keys()
        order = sorted(references)
        wer = jiwer.wer([references[i] for i in order], [hypotheses[i] for i in order])
        assert printed_score(output) == pytest.approx(100 * wer, abs=0.005)


WEIGHTS = "0.453125,0.3203125,0.2265625"
SUBSET = "es:train_es,fr:train_fr,it:train_it"


def weighted_config(data: Path, encoder: Path, save_dir: Path, **changes: object):
    options: Dict[str, object] = dict(
        train_subset=SUBSET, multi_corpus_keys="es,fr,it", multi_corpus_sampling_weights=WEIGHTS
    )
    options.update(max_tokens=14000, required_batch_size_multiple=1, normalize=True)
    return training_config(data, encoder, save_dir, **{**options, **changes})


@by_weight
def test_a_run_drawn_by_weight_is_resumed_to_the_bit(
    data: Path, encoder: Path, tmp_path: Path
) -> None:
    whole = finetune(weighted_config(data, encoder, tmp_path / "whole", max_update=10))
    for stop in (3, 6, 10):  # in an epoch of 4 updates, and in the next
        resumed = finetune(weighted_config(data, encoder, tmp_path / "cut", max_update=stop))
    assert all((resumed["model"][key] == value).all() for key, value in whole["model"].items())


# Options of a run, and what they are refused with.
BAD_OPTIONS = {
    "plain subset": (
        {"train_subset": "train"},
        r"dataset\.train_subset is train, and task\.multi_corpus_keys is es,fr,it: expected KEY:",
    ),
    "a part without key": (
        {"train_subset": "es:train_es,train_fr"},
        r"'es:train_es,train_fr' is no split of several corpora: expected KEY:NAME,KEY:NAME",
    ),
    "a key twice": ({"train_subset": "es:train_es,es:train_fr"}, "is no split of several corpora"),
    "an unknown key": (
        {"train_subset": "es:train_es,xx:train_fr"},
        r"names the corpus 'xx', expected one of task\.multi_corpus_keys \(es,fr,it\)",
    ),
    "too few weights": (
        {"multi_corpus_sampling_weights": "0.5,0.5"},
        r"task\.multi_corpus_sampling_weights is 0\.5,0\.5, expected 3 numbers joined by commas",
    ),
    "no weights": ({"multi_corpus_sampling_weights": None}, r"weights is None, expected 3 numbers"),
    "no numbers": (
        {"multi_corpus_sampling_weights": "a,b,c"},
        r"weights is a,b,c, expected 3 numbers",
    ),
    "a wrong sum": (
        {"multi_corpus_sampling_weights": "0.3,0.3,0.3"},
        r"add up to 0\.89+\d*, expected 1 exactly",
    ),
    "no such manifest": (
        {"train_subset": "es:train_es,fr:train_fr,it:train_xx"},
        r"manifest .*train_xx\.tsv does not exist",
    ),
}


@by_weight
@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_of_a_run(case: str, data: Path, encoder: Path, tmp_path: Path) -> None:
    options, message = BAD_OPTIONS[case]
    assert_refused(message, tmp_path, weighted_config(data, encoder, tmp_path, **options))


@by_weight
def test_evaluation_reads_one_corpus_or_a_plain_manifest(
    data: Path, encoder: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint_last.pt"
    finetune(weighted_config(data, encoder, tmp_path, max_update=1))
    for subset in ("fr:test_fr", "test_fr"):
        output = transcribe(data, checkpoint, tmp_path / "out", gen_subset=subset)
        assert lines_of(output, "T") == {0: "ça été"}
    message = (
        "es:test_es,fr:test_fr is 2 corpora drawn by weight, which scores some utterances twice "
        "and others never: expected one, as es:test_es, or a joint manifest"
    )
    with pytest.raises(ValueError, match=message):
        transcribe(data, checkpoint, tmp_path / "out", gen_subset="es:test_es,fr:test_fr")


def in_process(capsys, *arguments: object) -> str:
    """The last line that joint.py prints, on stderr if it fails."""
    try:
        command.main([*map(str, arguments)])
        return capsys.readouterr().out.splitlines()[-1]
    except SystemExit as ended:
        assert ended.code == 2
        return capsys.readouterr().err.splitlines()[-1]


def write_cased(folder: Path) -> None:
    for seed, (name, words) in enumerate(
        {
            "libri": "GO ON",
            "es": "el niño",
            "tr": "ışık iyi",
            "de": "groß",
            "mixed": "Go on",
        }.items()
    ):
        splits = {split: [words] for split in ("train", "valid", "test")}
        write_language(folder / name, splits, seed=seed)
        for file in folder.glob(f"{name}/*.phn*"):
            file.unlink()


def test_letters_that_differ_only_in_case(tmp_path: Path, capsys) -> None:
    write_cased(tmp_path)
    both = [tmp_path / "libri", tmp_path / "es", tmp_path / "all"]
    refused = in_process(capsys, *both)
    assert ".ltr: 'O' of libri and 'o' of es differ only in case, expected one form" in refused
    assert not (tmp_path / "all").exists()
    in_process(capsys, *both, "--case=upper")
    assert (tmp_path / "all" / "train.ltr").read_text("utf-8") == "G O | O N |\nE L | N I Ñ O |\n"
    assert (tmp_path / "all" / "train.wrd").read_text("utf-8") == "GO ON\nEL NIÑO\n"
    lines = (tmp_path / "all" / "dict.ltr.txt").read_text("utf-8").splitlines()
    assert sorted(lines) == ["E 1", "G 1", "I 1", "L 1", "N 2", "O 3", "| 4", "Ñ 1"]
    in_process(capsys, *both, "--case=lower", "--tags")
    written = (tmp_path / "all" / "test.ltr").read_text("utf-8")
    assert written == "<libri> | g o | o n |\n<es> | e l | n i ñ o |\n"


def test_cased_texts_and_letters_without_a_twin(tmp_path: Path, capsys) -> None:
    write_cased(tmp_path)
    cased = [tmp_path / "mixed", tmp_path / "es", tmp_path / "all"]
    assert "differ only in case" not in in_process(capsys, *cased)
    for name, message in {
        "tr": "--case upper: 'i' and 'ı' of tr would become 'I', expected --case lower",
        "de": "--case upper: 'ß' of de would become 'SS', expected --case lower",
    }.items():
        joined = [tmp_path / "libri", tmp_path / name, tmp_path / f"with {name}"]
        found = in_process(capsys, *joined, "--case=upper")
        assert found.endswith(message) or message.replace("'i' and 'ı'", "'ı' and 'i'") in found
        in_process(capsys, *joined, "--case=lower")
        assert (tmp_path / f"with {name}" / "train.tsv").is_file()
