"""What manifests/mini promises: its size, its voices, its tables, and that it can be made again."""

import csv
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import soundfile

REPOSITORY = Path(__file__).resolve().parents[1]
MINI = REPOSITORY / "manifests" / "mini"
AUDIO = MINI / "audio"
SPLITS = ("train", "valid", "test")


def load_make():
    spec = importlib.util.spec_from_file_location("mini_make", MINI / "make.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


make = load_make()


def read_rows():
    with (MINI / "transcripts.tsv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


ROWS = read_rows()


def of(split):
    return [row for row in ROWS if row["split"] == split]


def variants(rows):
    """The part of a voice that makes a speaker: en-gb+m4-p32-s143-g1 is m4."""
    return {re.fullmatch(r"[\w-]+\+(\w+)-p\d+-s\d+-g\d", row["voice"])[1] for row in rows}


@pytest.mark.parametrize("split, minutes", [("train", 10), ("valid", 3), ("test", 3)])
def test_each_split_has_its_minutes(split, minutes):
    assert sum(int(row["frames"]) for row in of(split)) / 16_000 / 60 >= minutes


def test_words_and_voices_are_many():
    assert len({word for row in ROWS for word in row["words"].split()}) >= 200
    assert len({row["voice"] for row in of("train")}) >= 10


def test_every_word_is_heard_in_training():
    heard = Counter(word for row in of("train") for word in row["words"].split())
    said = {word for row in ROWS for word in row["words"].split()}
    assert said <= set(heard)
    assert min(heard.values()) >= 2


def test_no_voice_is_in_two_splits():
    train, valid, test = (variants(of(split)) for split in SPLITS)
    assert not train & valid
    assert not train & test
    assert not valid & test


def test_pretraining_hears_neither_valid_nor_test_voices_nor_their_sentences():
    grammar = make.Grammar((MINI / "grammar.txt").read_text(encoding="utf-8"))
    lines = make.unlabelled_lines(grammar, seed=1, seconds=3600)
    held_out = of("valid") + of("test")
    assert not {line.voice.variant for line in lines} & variants(held_out)
    assert not {line.words for line in lines} & {row["words"] for row in held_out}
    assert not set(make.UNLABELLED_VARIANTS) & variants(held_out)


def test_no_sentence_is_in_two_splits():
    sentences = [row["words"] for row in ROWS]
    assert len(sentences) == len(set(sentences))


def test_all_audio_is_listed_and_small():
    files = {path.relative_to(AUDIO).as_posix() for path in AUDIO.rglob("*") if path.is_file()}
    assert files == {row["path"] for row in ROWS}
    assert sum((AUDIO / name).stat().st_size for name in files) <= 8_000_000


def test_frames_are_those_of_the_decoded_audio():
    for row in ROWS:
        samples, rate = soundfile.read(AUDIO / row["path"])
        assert (samples.shape, rate) == ((int(row["frames"]),), 16_000), row["path"]
        assert soundfile.info(AUDIO / row["path"]).frames == len(samples)
        assert 2 <= len(samples) / rate <= 5


def test_the_same_seed_gives_the_shipped_sentences_and_voices():
    """Lines whose speech was too short or too long are passed over, the order stays."""
    grammar = make.Grammar((MINI / "grammar.txt").read_text(encoding="utf-8"))
    planned = make.labelled_lines(grammar, seed=1)
    for split in SPLITS:
        table = {line.path: (line.voice.name, line.words) for line in planned[split]}
        assert [(row["voice"], row["words"]) for row in of(split)] == [
            table[row["path"]] for row in of(split)
        ]
    other = make.labelled_lines(grammar, seed=2)
    assert [line.words for line in other["train"]] != [line.words for line in planned["train"]]


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_speaking_twice_gives_the_same_samples(tmp_path):
    pytest.importorskip("scipy")
    grammar = make.Grammar((MINI / "grammar.txt").read_text(encoding="utf-8"))
    line = make.labelled_lines(grammar, seed=1)["valid"][0]
    first, second = tmp_path / "first", tmp_path / "second"
    assert make.speak(line, first) == make.speak(line, second) > 0
    samples = [soundfile.read(root / line.path)[0] for root in (first, second)]
    assert (samples[0] == samples[1]).all()


def test_make_says_how_to_get_espeak(tmp_path, monkeypatch):
    monkeypatch.setattr(make.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="apt-get install espeak-ng"):
        make.main([str(tmp_path / "corpus")])
    assert not (tmp_path / "corpus").exists()


def test_manifests_agree_with_an_independent_reading(tmp_path):
    script = [sys.executable, REPOSITORY / "manifests" / "mini.py", MINI, tmp_path / "data"]
    subprocess.run(script, check=True, cwd=tmp_path)
    symbols = Counter()
    for split in SPLITS:
        tsv = [str(AUDIO)] + [f"{row['path']}\t{row['frames']}" for row in of(split)]
        wrd = [row["words"].upper() for row in of(split)]
        ltr = [" ".join(text.replace(" ", "|")) + " |" for text in wrd]
        for suffix, lines in (("tsv", tsv), ("wrd", wrd), ("ltr", ltr)):
            written = (tmp_path / "data" / f"{split}.{suffix}").read_text(encoding="utf-8")
            assert written == "".join(f"{line}\n" for line in lines)
        if split == "train":
            symbols.update(symbol for line in ltr for symbol in line.split())
    dictionary = (tmp_path / "data" / "dict.ltr.txt").read_text(encoding="utf-8").splitlines()
    assert {line.split()[0]: int(line.split()[1]) for line in dictionary} == symbols
    counts = [int(line.split()[1]) for line in dictionary]
    assert counts == sorted(counts, reverse=True)
    speakers = (tmp_path / "data" / "speakers.tsv").read_text(encoding="utf-8").splitlines()
    assert speakers[1:] == [f"{row['path']}\t{variants([row]).pop()}" for row in ROWS]


def test_missing_audio_is_named(tmp_path):
    source = tmp_path / "mini"
    source.mkdir()
    shutil.copy(MINI / "transcripts.tsv", source)
    script = [sys.executable, REPOSITORY / "manifests" / "mini.py", source, tmp_path / "data"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert str(source / "audio" / ROWS[0]["path"]) in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_readme_names_the_encoder_that_lies_beside_it():
    digest = hashlib.sha256((MINI / "encoder.pt").read_bytes()).hexdigest()
    assert digest in (MINI / "README.md").read_text(encoding="utf-8")
    assert (MINI / "encoder.pt").stat().st_size <= 10_000_000
