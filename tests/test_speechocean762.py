"""manifests/speechocean762.py: who and what is in which split of a clone made small."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from corpora import MANIFESTS, contents, noise

soundfile = pytest.importorskip("soundfile", reason="the [data] extra is not installed")
pytest.importorskip("soxr", reason="the [data] extra is not installed")

sys.path.insert(0, str(MANIFESTS))

import speechocean762  # noqa: E402

SENTENCES = 6
SECONDS = 1.0
TRAIN = {f"{n:04d}": 8 + 10 * (n % 3) for n in range(1, 7)}  # speaker -> age: 8, 18 and 28
TEST = {f"{n:04d}": 8 + 10 * (n % 3) for n in range(7, 11)}
SHARED = "SAID BY ALL"
WORDS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "TEN")


def name_of(speaker: str, number: int) -> str:
    return f"0{speaker}{number:04d}"


def words_of(speaker: str, number: int) -> str:
    """A sentence that nobody else says, but for the first, which everybody says."""
    return SHARED if number == 0 else f"{WORDS[int(speaker)]} SAYS {WORDS[number]}"


def write_clone(source: Path) -> Path:
    for part, speakers in (("train", TRAIN), ("test", TEST)):
        folder = source / part
        folder.mkdir(parents=True)
        rows = [(s, n, name_of(s, n)) for s in speakers for n in range(SENTENCES)]
        for speaker, _, name in rows:
            path = source / "WAVE" / f"SPEAKER{speaker}" / f"{name}.WAV"
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = noise(int(SECONDS * 16000), seed=int(name))
            soundfile.write(path, samples, 16000, format="WAV")
        lists = {
            "text": [f"{name}\t{words_of(s, n)}" for s, n, name in rows],
            "utt2spk": [f"{name} {s}" for s, _, name in rows],
            "wav.scp": [f"{name}\tWAVE/SPEAKER{s}/{name}.WAV" for s, _, name in rows],
            "spk2age": [f"{speaker}\t{age}" for speaker, age in speakers.items()],
        }
        for table, lines in lists.items():
            (folder / table).write_text("\n".join(lines) + "\n")
    return source


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    return write_clone(tmp_path_factory.mktemp("speechocean762"))


def run(*arguments: object) -> None:
    speechocean762.main([str(argument) for argument in (*arguments, "--jobs", 1)])


def read(dest: Path, split: str) -> dict[str, str]:
    """Utterance -> words, after a look at the audio."""
    root, *lines = (dest / f"{split}.tsv").read_text().splitlines()
    words = (dest / f"{split}.wrd").read_text().splitlines()
    assert len(words) == len(lines)
    for line in lines:
        path, frames = line.split("\t")
        info = soundfile.info(f"{root}/{path}")
        assert (info.samplerate, info.channels, info.frames) == (16000, 1, int(frames))
    return {Path(line.partition("\t")[0]).stem: text for line, text in zip(lines, words)}


def speaker(name: str) -> str:
    return name[1:5]


@pytest.fixture(scope="module")
def dest(clone, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dest") / "new"
    run(clone, folder, "--valid-speakers", 2)
    return folder


def test_each_sentence_has_its_words_and_its_samples(clone, dest) -> None:
    for split in ("train", "valid", "test"):
        for name, words in read(dest, split).items():
            assert words == words_of(speaker(name), int(name[5:]))
            original = clone / "WAVE" / f"SPEAKER{speaker(name)}" / f"{name}.WAV"
            ours = soundfile.read(dest / "audio" / split / f"{name}.flac", dtype="int16")[0]
            assert (ours == soundfile.read(original, dtype="int16")[0]).all()


def test_splits_share_neither_speakers_nor_sentences_with_train(dest) -> None:
    splits = {split: read(dest, split) for split in ("train", "valid", "test")}
    people = {split: {speaker(name) for name in names} for split, names in splits.items()}
    assert people["test"] == set(TEST)
    assert len(people["valid"]) == 2 and people["train"] | people["valid"] == set(TRAIN)
    assert not people["train"] & people["valid"]
    assert len(splits["train"]) == 4 * SENTENCES and SHARED in splits["train"].values()
    for split in ("valid", "test"):
        assert SHARED not in splits[split].values()
        assert len(splits[split]) == len(people[split]) * (SENTENCES - 1)
    rows = (dest / "speakers.tsv").read_text().splitlines()[1:]
    assert {Path(row.split("\t")[0]).stem: row.split("\t")[1] for row in rows} == {
        name: speaker(name) for names in splits.values() for name in names
    }


def test_minutes_are_spread_over_all_speakers(clone, dest, tmp_path) -> None:
    run(clone, tmp_path, "--valid-speakers", 2, "--train-minutes", 10 * SECONDS / 60)
    short = read(tmp_path, "train")
    assert len(short) == 10
    assert sorted(Counter(map(speaker, short)).values()) == [2, 2, 3, 3]
    whole = list(read(dest, "train"))
    assert whole[: len(short)] == list(short)
    assert read(tmp_path, "valid").keys() >= read(dest, "valid").keys()


def test_ages_hold_for_every_split(clone, tmp_path) -> None:
    run(clone, tmp_path, "--valid-speakers", 1, "--min-age", 18, "--max-age", 27)
    names = [name for split in ("train", "valid", "test") for name in read(tmp_path, split)]
    everyone = {**TRAIN, **TEST}
    assert {everyone[speaker(name)] for name in names} == {18}


def test_digits_are_sentences_of_nothing_else(tmp_path, capsys) -> None:
    clone = write_clone(tmp_path / "clone")
    digits = {
        "train": {name_of("0001", 3): "ONE THREE", name_of("0002", 1): "TWO"},
        "test": {name_of("0007", 3): "SEVEN THREE ZERO"},
    }
    others = {name_of("0008", 4): "EIGHT TEN", name_of("0009", 1): "NINE'S", name_of("0009", 2): ""}
    for part, wanted in digits.items():
        text = clone / part / "text"
        names = [line.partition("\t")[0] for line in text.read_text().splitlines()]
        said = {name: f"{name[5:]} AND MORE" for name in names} | wanted | others
        text.write_text("".join(f"{name}\t{said[name]}\n" for name in names))
    run(clone, tmp_path / "dest", "--digits", "--valid-speakers", 1)
    found = {split: read(tmp_path / "dest", split) for split in ("train", "valid", "test")}
    assert found["test"] == digits["test"]
    assert {**found["train"], **found["valid"]} == digits["train"]
    assert len(found["train"]) == len(found["valid"]) == 1
    with pytest.raises(SystemExit):
        run(clone, tmp_path / "other", "--digits", "--valid-speakers", 2)
    assert "fewer than the 2 speakers of train who read digits" in capsys.readouterr().err


def test_the_same_options_give_the_same_bytes(clone, dest, tmp_path) -> None:
    speechocean762.main([str(clone), str(tmp_path), "--valid-speakers", "2", "--jobs", "3"])
    ours, theirs = contents(tmp_path), contents(dest)
    root = str(dest).encode()
    assert ours.keys() == theirs.keys()
    for name, data in theirs.items():
        assert ours[name] == data.replace(root, str(tmp_path).encode()), name


def test_bad_clips_and_transcripts_are_skipped(tmp_path, capsys) -> None:
    clone = write_clone(tmp_path / "clone")
    broken, gone = name_of("0007", 2), name_of("0007", 3)
    (clone / "WAVE" / "SPEAKER0007" / f"{broken}.WAV").write_bytes(b"RIFF and no more")
    (clone / "WAVE" / "SPEAKER0007" / f"{gone}.WAV").unlink()
    text = (clone / "test" / "text").read_text()
    strange = name_of("0008", 4)
    (clone / "test" / "text").write_text(text.replace("EIGHT SAYS FOUR", "EIGHT SAYS 4"))
    run(clone, tmp_path / "dest", "--valid-speakers", 2, "--max-skipped", 0.2)
    rows = (tmp_path / "dest" / "skipped.tsv").read_text().splitlines()[1:]
    assert [row.split("\t")[0] for row in rows] == [strange, broken, gone]
    assert "'4' in its transcript" in rows[0] and "not found" in rows[2]
    assert not {broken, gone, strange} & read(tmp_path / "dest", "test").keys()
    with pytest.raises(SystemExit):
        run(clone, tmp_path / "other", "--valid-speakers", 2)
    assert "--max-skipped allows more" in capsys.readouterr().err
    assert not (tmp_path / "other" / "test.tsv").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--train-minutes", 9], "--train-minutes: 9, expected no more than the 0.4 that"),
        (["--valid-speakers", 6], "--valid-speakers: 6, expected fewer than the 6 speakers"),
        (["--min-age", 30, "--max-age", 20], "--min-age: 30, expected no more than --max-age 20"),
        (["--min-age", 60], "train has no speaker from 60 to 200 years"),
    ],
)
def test_options_that_cannot_be_met_are_refused(clone, tmp_path, capsys, options, message) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(clone, tmp_path / "dest", "--valid-speakers", 2, *options)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "dest").exists()


def test_a_folder_that_is_no_clone_is_refused(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, tmp_path / "dest")
    assert "train/text: not found" in capsys.readouterr().err
