"""manifests/corpus/splits.py: subsets by seed and published lists, through the program."""

import shutil
import sys
from pathlib import Path
from typing import Dict, List, Set

import pytest

pytest.importorskip("soxr", reason="the [data] extra is not installed")

from commonvoice_tree import commonvoice, row, texts, write_release, write_table
from corpora import MANIFESTS

sys.path.insert(0, str(MANIFESTS))

import commonvoice as command

SPEAKERS = {name: count for count, name in enumerate("abcdefghijklmnop", start=1)}


def rows_of_speakers() -> List[Dict[str, str]]:
    """Speaker a has a clip, b has two, ... and p has sixteen: 136 clips of 0.4 s to 1.8 s."""
    return [
        row(f"speaker {name}", f"{name}{n}.mp3", "Бир эки үч.", "ky")
        for name, count in SPEAKERS.items()
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("cv")
    write_release(source, "ky", {"validated": rows_of_speakers()})
    return source


class Subset:
    """What a run chose: the .tsv line of each clip, by split, and who speaks."""

    def __init__(self, source: Path, dest: Path, *options: str) -> None:
        done = commonvoice(source, dest, "--lang=ky", *options)
        assert done.returncode == 0, done.stderr
        written = texts(dest)
        self.lines = {s: written[f"{s}.tsv"].splitlines()[1:] for s in ("train", "valid", "test")}
        self.speaker_of = dict(line.split("\t") for line in written["speakers.tsv"].splitlines())

    def seconds(self, split: str) -> List[float]:
        return [int(line.split("\t")[1]) / 16000 for line in self.lines[split]]

    def speakers(self, split: str) -> Set[str]:
        return {self.speaker_of[line.split("\t")[0]] for line in self.lines[split]}


def minutes(**seconds: float) -> List[str]:
    return [f"--{split}-minutes={value / 60}" for split, value in seconds.items()]


GOAL = dict(train=20.0, valid=5.0, test=10.0)


def test_subsets_last_as_long_as_asked_and_share_no_speaker(release: Path, tmp_path: Path) -> None:
    chosen = Subset(release, tmp_path, *minutes(**GOAL))
    for split, goal in GOAL.items():
        seconds = chosen.seconds(split)
        assert goal <= sum(seconds)
        assert sum(seconds[:-1]) < goal
    speakers = [chosen.speakers(split) for split in GOAL]
    assert sum(map(len, speakers)) == len(set.union(*speakers))
    # Those with few clips are not trained on, and everyone left is heard before anyone is twice.
    clips = {f"speaker {name}": count for name, count in SPEAKERS.items()}
    most, least = (
        max(clips[s] for s in speakers[1] | speakers[2]),
        min(clips[s] for s in speakers[0]),
    )
    assert most < least
    left = (
        {f"speaker {name}" for name in SPEAKERS}
        - chosen.speakers("valid")
        - chosen.speakers("test")
    )
    assert chosen.speakers("train") == left
    first = [chosen.speaker_of[line.split("\t")[0]] for line in chosen.lines["train"][: len(left)]]
    assert set(first) == left


def test_a_longer_training_split_goes_on_where_a_shorter_one_ends(
    release: Path, tmp_path: Path
) -> None:
    short = Subset(release, tmp_path, *minutes(**{**GOAL, "train": 6.0}))
    long = Subset(release, tmp_path, *minutes(**GOAL))
    assert len(short.lines["train"]) < len(long.lines["train"])
    assert long.lines["train"][: len(short.lines["train"])] == short.lines["train"]
    assert [long.lines[s] for s in ("valid", "test")] == [short.lines[s] for s in ("valid", "test")]


def test_the_seed_decides_and_the_order_of_the_rows_does_not(release: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(release, other)
    write_table(other / "ky" / "validated.tsv", reversed(rows_of_speakers()))
    first, same, third = (
        Subset(source, tmp_path / "out", *minutes(**GOAL), f"--seed={seed}")
        for source, seed in ((release, 1), (other, 1), (release, 2))
    )
    assert first.lines == same.lines
    assert all(first.lines[split] != third.lines[split] for split in ("train", "test"))


def test_a_clip_that_does_not_decode_is_made_up_for(release: Path, tmp_path: Path) -> None:
    good = Subset(release, tmp_path / "out", *minutes(**GOAL))
    other = tmp_path / "other"
    shutil.copytree(release, other)
    # One has a header, the other has nothing.
    worst = [good.lines["train"][number].split("\t")[0] for number in (3, 5)]
    for name, length in zip(worst, (2000, 0)):
        clip = other / "ky" / "clips" / Path(name).with_suffix(".mp3")
        clip.write_bytes(clip.read_bytes()[:length])
    made_up = Subset(other, tmp_path / "out", *minutes(**GOAL), "--max-skipped=0.2")
    assert sum(made_up.seconds("train")) >= GOAL["train"]
    kept = [line for line in good.lines["train"] if line.split("\t")[0] not in worst]
    assert made_up.lines["train"][: len(kept)] == kept
    assert len(made_up.lines["train"]) > len(kept)


def test_published_lists(release: Path, tmp_path: Path) -> None:
    """As in common_voices_splits: names without an ending, one a line."""
    lists = {
        "train": ("trainSeqs_1.0_uniform_new_version.txt", "\ufeffp3\nc0\ngone\na0\n\n"),
        "valid": ("valSeqs_1.0_uniform_new_version.txt", "b1.mp3\r\nd0.flac\r\nc0\n"),
        "test": ("testSeqs_uniform_new_version.txt", "h5\nh4\nh5"),
    }
    options = []
    for split, (name, content) in lists.items():
        (tmp_path / name).write_bytes(content.encode("utf-8"))
        options.append(f"--{split}-list={tmp_path / name}")
    dest = tmp_path / "ky"
    done = commonvoice(release, dest, "--lang=ky", "--max-skipped=0.5", *options)
    assert done.returncode == 0, done.stderr
    written = texts(dest)
    names = {
        s: [line.split(".")[0] for line in written[f"{s}.tsv"].splitlines()[1:]] for s in lists
    }
    assert names == {"train": ["p3", "a0"], "valid": ["b1", "d0", "c0"], "test": ["h5", "h4"]}
    assert written["skipped.tsv"] == (
        "clip\treason\n"
        "gone\tnot in validated.tsv\n"
        "h5.mp3\tagain in test, first in test\n"
        "c0.mp3\tagain in train, first in valid\n"
    )


def leaky(tmp_path: Path) -> Path:
    """A release whose dev speaker and one of whose test sentences are in train too."""
    tables = {
        "train": [row("ann", "t1.mp3", "one", "en"), row("ben", "t2.mp3", "Two.", "en")],
        "dev": [row("ben", "d1.mp3", "three", "en")],
        "test": [row("cleo", "e1.mp3", "two", "en")],
    }
    more = [
        row("cleo", "v1.mp3", "four", "en"),
        row("dora", "v2.mp3", "Three!", "en"),
        row("dora", "v3.mp3", "five", "en"),
    ]
    tables["validated"] = [*tables["train"], *tables["dev"], *tables["test"], *more]
    return write_release(tmp_path / "cv", "en", tables)


def in_process(folder: Path, dest: Path, *options: str) -> List[str]:
    """The clips of the training split."""
    command.main([str(folder), str(dest), "--lang=en", *options])
    return [line.split(".")[0] for line in (dest / "train.tsv").read_text().splitlines()[1:]]


LEAKS = [
    "leak: 1 speakers of valid, in 1 of its 1 clips, are also in train;"
    " --disjoint speakers leaves them out of train",
    "leak: 1 sentences of test, in 1 of its 1 clips, are also in train;"
    " --disjoint sentences leaves them out of train",
]


def test_leaks_are_reported_and_left_out(tmp_path: Path, capsys) -> None:
    folder, dest = leaky(tmp_path), tmp_path / "dest"

    def leaks() -> List[str]:
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("leak")]

    assert in_process(folder, dest) == ["t1", "t2"]
    assert leaks() == LEAKS
    assert in_process(folder, dest, "--disjoint=speakers") == ["t1"]
    assert leaks() == []
    assert "t2.mp3\tits speaker is in valid" in (dest / "skipped.tsv").read_text()
    assert in_process(folder, dest, "--disjoint=sentences") == ["t1"]
    assert "t2.mp3\tits sentence is in test" in (dest / "skipped.tsv").read_text()


def test_all_validated_clips_but_those_of_dev_and_test(tmp_path: Path, capsys) -> None:
    folder, dest = leaky(tmp_path), tmp_path / "dest"
    assert in_process(folder, dest, "--all-validated") == ["t1", "v3"]
    assert "leak" not in capsys.readouterr().out
    skipped = (dest / "skipped.tsv").read_text().splitlines()[1:]
    assert skipped == [
        "t2.mp3\tits speaker is in valid",
        "v1.mp3\tits speaker is in test",
        "v2.mp3\tits sentence is in valid",
    ]


def test_a_subset_without_the_sentences_of_its_test_split(tmp_path: Path, capsys) -> None:
    sentences = ("one", "two", "three")
    rows = [
        row(who, f"{who} {n}.mp3", n, "en")
        for who in "abcdef"
        for n in sentences[: ord(who) % 3 + 1]
    ]
    folder = write_release(tmp_path / "cv", "en", {"validated": rows})
    options = ["--test-minutes=0.01", "--valid-minutes=0.005", "--train-minutes=0.01"]
    assert len(in_process(folder, tmp_path / "dest", *options)) >= 2
    assert "sentences of test" in capsys.readouterr().out
    trained = in_process(folder, tmp_path / "dest", *options, "--disjoint=sentences")
    tested = set((tmp_path / "dest" / "test.wrd").read_text().split())
    assert trained and not tested & {clip.split()[1] for clip in trained}
    assert "leak" not in capsys.readouterr().out
