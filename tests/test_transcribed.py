"""manifests/transcribed.py: a user's own recordings and table become a folder to train on."""

import sys
from itertools import chain
from pathlib import Path
from typing import Dict, List

import pytest

pytest.importorskip("soxr", reason="the [data] extra is not installed")

import soundfile
from corpora import MANIFESTS, contents, noise

sys.path.insert(0, str(MANIFESTS))

import check
import transcribed

PEOPLE = ("anna", "ben", "cleo", "dora")
CLIPS = {  # name -> what soundfile needs to know, and the rate
    "wav": (16000, {}),
    "flac": (44100, {}),
    "mp3": (48000, {}),
    "ogg": (22050, {}),
    "aiff": (8000, {}),
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each person a clip of each format, all of 0.5 s; one is stereo."""
    folder = tmp_path_factory.mktemp("my recordings")
    for number, person in enumerate(PEOPLE):
        (folder / person).mkdir()
        for suffix, (rate, settings) in CLIPS.items():
            samples = noise(rate // 2, 2 if suffix == "flac" else 1, seed=number)
            soundfile.write(folder / person / f"{suffix}.{suffix}", samples, rate, **settings)
    return folder


def rows(recordings: Path) -> List[Dict[str, str]]:
    return [
        {
            "path": f"{person}/{suffix}.{suffix}",
            "text": f'"Good {suffix[:2]}", {person} said.',
            "speaker": person,
        }
        for person in PEOPLE
        for suffix in CLIPS
    ]


def write(path: Path, found: List[Dict[str, str]], delimiter: str = ",") -> Path:
    quote = (lambda text: text) if delimiter == "\t" else lambda t: '"' + t.replace('"', '""') + '"'
    lines = [delimiter.join(found[0])]
    lines += [delimiter.join(quote(value) for value in row.values()) for row in found]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def run(table: Path, dest: Path, *options: object) -> None:
    transcribed.main([str(table), str(dest), "--lang=en", *map(str, options)])


def refused(capsys, table: Path, dest: Path, *options: object) -> str:
    with pytest.raises(SystemExit) as ended:
        run(table, dest, *options)
    assert ended.value.code == 2
    assert not list(dest.glob("*.ltr"))
    return capsys.readouterr().err.splitlines()[-1]


def speakers(dest: Path) -> Dict[str, List[str]]:
    of = dict(line.split("\t") for line in (dest / "speakers.tsv").read_text().splitlines())
    return {
        split: sorted({of[path] for path in paths(dest, split)})
        for split in ("train", "valid", "test")
    }


def paths(dest: Path, split: str) -> List[str]:
    return [line.split("\t")[0] for line in (dest / f"{split}.tsv").read_text().splitlines()[1:]]


@pytest.mark.parametrize("suffix, delimiter", [("csv", ","), ("csv", ";"), ("tsv", "\t")])
def test_a_table_becomes_a_folder_that_check_finds_good(
    suffix: str, delimiter: str, recordings: Path, tmp_path: Path, capsys
) -> None:
    table = write(recordings / f"table.{suffix}", rows(recordings), delimiter)
    run(table, tmp_path / "data")
    spoken = speakers(tmp_path / "data")
    assert sorted(chain(*spoken.values())) == sorted(PEOPLE)
    assert [len(spoken[split]) for split in ("train", "valid", "test")] == [2, 1, 1]
    frames = {
        int(line.split("\t")[1])
        for split in spoken
        for line in (tmp_path / "data" / f"{split}.tsv").read_text().splitlines()[1:]
    }
    assert frames == {8000}
    words = (tmp_path / "data" / "test.wrd").read_text().splitlines()
    (person,) = spoken["test"]
    assert sorted(words) == sorted(f"good {clip[:2]} {person} said" for clip in CLIPS)
    assert "leak" not in capsys.readouterr().out
    check.main([str(tmp_path / "data")])  # exits with 1 where something is wrong
    before = contents(tmp_path / "data")
    run(table, tmp_path / "data", "--jobs=1")
    assert contents(tmp_path / "data") == before


def test_the_seed_decides_and_the_order_of_the_rows_does_not(recordings, tmp_path) -> None:
    found = rows(recordings)
    for name, order in (("a", found), ("b", found[::-1])):
        table = write(tmp_path / f"{name}.csv", order)
        run(table, tmp_path / name, "--audio", recordings, "--train-minutes=0.05")
    for split in ("train", "valid", "test"):
        assert paths(tmp_path / "a", split) == paths(tmp_path / "b", split)
    assert len(paths(tmp_path / "a", "train")) == 6
    run(tmp_path / "a.csv", tmp_path / "c", "--audio", recordings, "--train-minutes=0.03")
    assert paths(tmp_path / "a", "train")[:4] == paths(tmp_path / "c", "train")
    seeds = []
    for seed in range(3):
        run(tmp_path / "a.csv", tmp_path / "c", "--audio", recordings, f"--seed={seed}")
        seeds.append(tuple(speakers(tmp_path / "c")["test"]))
    assert len(set(seeds)) > 1


def test_splits_of_the_table_and_their_leaks(recordings: Path, tmp_path: Path, capsys) -> None:
    found = rows(recordings)[:10]  # of anna and ben
    for row, split in zip(found, ["train"] * 4 + ["dev"] + ["train"] * 3 + ["test"] * 2):
        row["split"] = split
    found[0]["text"] = found[9]["text"]
    table = write(tmp_path / "table.csv", found)
    run(table, tmp_path / "data", "--audio", recordings)
    assert [len(paths(tmp_path / "data", s)) for s in ("train", "valid", "test")] == [7, 1, 2]
    assert [line for line in capsys.readouterr().out.splitlines() if "leak" in line] == [
        "leak: 1 speakers of test, in 2 of its 2 clips, are also in train;"
        " --disjoint speakers leaves them out of train",
        "leak: 1 speakers of valid, in 1 of its 1 clips, are also in train;"
        " --disjoint speakers leaves them out of train",
        "leak: 1 sentences of test, in 1 of its 2 clips, are also in train;"
        " --disjoint sentences leaves them out of train",
    ]
    run(table, tmp_path / "data", "--audio", recordings, "--disjoint=sentences")
    assert len(paths(tmp_path / "data", "train")) == 6
    assert "anna/wav.wav\tits sentence is in test" in (tmp_path / "data/skipped.tsv").read_text()
    found[5]["split"] = "eval"
    message = "line 7: split 'eval', expected train, valid (dev, validation) or test"
    assert message in refused(capsys, write(table, found), tmp_path / "bad")


def test_clips_are_drawn_where_nobody_knows_the_speakers(recordings, tmp_path, capsys) -> None:
    found = [{k: v for k, v in row.items() if k != "speaker"} for row in rows(recordings)]
    table = write(recordings / "nobody.csv", found)
    message = "has no column 'speaker', expected one"
    assert message in refused(capsys, table, tmp_path / "data", "--by=speakers")
    transcribed.main([str(table), str(tmp_path / "data"), "--test=0.2"])
    assert "no column 'speaker': a speaker may be in two splits" in capsys.readouterr().out
    assert [len(paths(tmp_path / "data", s)) for s in ("train", "valid", "test")] == [14, 2, 4]
    assert not (tmp_path / "data" / "speakers.tsv").exists()


def test_names_of_columns_absolute_paths_and_files_that_differ_in_their_suffix(
    recordings: Path, tmp_path: Path
) -> None:
    found = []
    for row in rows(recordings):
        person, _, name = row["path"].partition("/")
        clip = tmp_path / "corpus" / person / f"clip.{name.partition('.')[2]}"
        clip.parent.mkdir(parents=True, exist_ok=True)
        clip.write_bytes((recordings / row["path"]).read_bytes())
        found.append({"Who": person, "Said": row["text"], "note": "x, y", "File": str(clip)})
    table = write(tmp_path / "table.csv", found)
    names = ["--path-column=File", "--text-column=Said", "--speaker-column=Who"]
    run(table, tmp_path / "data", *names)
    written = {path for s in ("train", "valid", "test") for path in paths(tmp_path / "data", s)}
    inside = str(tmp_path).lstrip("/")
    assert f"{inside}/corpus/anna/clip.wav.flac" in written
    assert len(written) == 20


def test_what_cannot_be_used_is_skipped_with_its_reason(recordings, tmp_path, capsys) -> None:
    found = rows(recordings)
    found[0]["path"] = "anna/gone.wav"
    found[1]["text"] = "Room 101"
    found[2]["speaker"] = ""
    (recordings / "film.m4a").write_bytes(b"\0\0\0\x20ftypM4A " * 40)
    found[3]["path"] = "film.m4a"
    soundfile.write(recordings / "silence.wav", noise(8000) * 0, 16000)
    found[5]["path"] = "silence.wav"
    found += [found[10]]
    table = write(recordings / "bad.csv", found)
    with table.open("a") as lines:
        lines.write("one,two\n\n")
    message = refused(capsys, table, tmp_path / "data")
    assert "--max-skipped allows more" in message
    run(table, tmp_path / "data", "--max-skipped=0.5")
    skipped = (tmp_path / "data" / "skipped.tsv").read_text().splitlines()[1:]
    reasons = dict(line.split("\t") for line in skipped)
    assert reasons.pop("film.m4a").startswith("expected audio, found what does not decode")
    assert reasons == {
        "anna/mp3.mp3": "no speaker",
        "bad.csv, line 23": "2 columns, expected 3",
        "cleo/wav.wav": "again in bad.csv, first in bad.csv",
        "anna/flac.flac": "'1', DIGIT ONE, is no letter of the language",
        "anna/gone.wav": "not found",
        "silence.wav": "silent: all samples have the same value",
    }


def test_bad_tables(recordings: Path, tmp_path: Path, capsys) -> None:
    table, dest = tmp_path / "table.csv", tmp_path / "data"
    assert "table.csv: not found, expected a text file" in refused(capsys, table, dest)
    table.write_text("file,said\na.wav,go\n")
    columns = "line 1: 'file,said', expected the columns path, text, separated by tabs or commas"
    assert columns in refused(capsys, table, dest)
    table.write_text("path,text,speaker\n")
    assert "found no rows, expected some below the header" in refused(capsys, table, dest)
    table.write_bytes("path,text,speaker\na.wav,sí,ann\n".encode("utf-16"))
    assert "expected UTF-8" in refused(capsys, table, dest)
    write(table, [row for row in rows(recordings) if row["speaker"] < "c"])
    few = "2 speakers with usable text, expected 3 or more for 3 splits; --by clips draws clips"
    assert few in refused(capsys, table, dest, "--audio", recordings)
    phones = "--labels phn: expected --lang, for espeak-ng, or a --lexicon"
    assert phones in refused(capsys, table, dest, "--labels=phn", "--lang=")
    message = "--test, --valid: 0.5 and 0.5, expected less than 1"
    assert message in refused(capsys, table, dest, "--test=0.5", "--valid=0.5")
