"""manifests/audio/clips.py: each clip once, in order; equal bytes through kills and any --jobs."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest
import soundfile
from corpora import MANIFESTS, contents, noise

sys.path.insert(0, str(MANIFESTS))

from audio.clips import Clip, Skipped, check_share, convert_all, write_skipped
from audio.files import BadAudio

# Converts SOURCE/*.mp3 to ROOT with JOBS threads; inside the N-th of WHAT it kills itself.
PROGRAM = """\
import itertools, os, signal, sys
from pathlib import Path
import soundfile
from audio.clips import Clip, convert_all

source, root, jobs, what, n = sys.argv[1:]
moments = {"write": (Path, "write_bytes"), "rename": (Path, "replace"), "stamp": (os, "utime")}
owner, name = moments[what]
original, calls = getattr(owner, name), itertools.count(1)

def killed(*args, **kwargs):
    if next(calls) == int(n):
        if what == "write":
            original(*args, **kwargs)
            os.truncate(args[0], os.path.getsize(args[0]) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(owner, name, killed)
clips = [Clip(path, f"deep/{path.stem}.flac") for path in sorted(Path(source).glob("*.mp3"))]
print(convert_all(clips, Path(root), int(jobs)))
"""

FRAMES = [3200 + 160 * index for index in range(12)]
FRAMES[5] = BadAudio("expected audio, found what does not decode: Format not recognised.")
FOUND = f"{FRAMES}\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for index in range(12):
        soundfile.write(folder / f"{index:02d}.mp3", noise(9600 + 480 * index, seed=index), 48000)
    (folder / "05.mp3").write_text("not audio")
    return folder


def run(source: Path, root: Path, jobs: int, what: str = "write", n: int = 0):
    command = [sys.executable, "-c", PROGRAM, source, root, jobs, what, n]
    environment = {**os.environ, "PYTHONPATH": str(MANIFESTS)}
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, bytes]:
    root = tmp_path_factory.mktemp("undisturbed")
    done = run(source, root, jobs=1)
    assert (done.returncode, done.stdout) == (0, FOUND), done.stderr
    assert sorted(contents(root)) == [f"deep/{n:02d}.flac" for n in range(12) if n != 5]
    return contents(root)


@pytest.mark.parametrize("jobs", [2, 5])
def test_the_same_bytes_whatever_the_jobs(jobs, source, undisturbed, tmp_path) -> None:
    done = run(source, tmp_path, jobs)
    assert (done.returncode, done.stdout) == (0, FOUND), done.stderr
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize("what, n, jobs", [("write", 4, 1), ("rename", 9, 2), ("stamp", 6, 1)])
def test_killed_and_started_again(what, n, jobs, source, undisturbed, tmp_path) -> None:
    killed = run(source, tmp_path, jobs, what, n)
    assert killed.returncode == -signal.SIGKILL
    assert contents(tmp_path) != undisturbed
    finished = {path: path.stat().st_ino for path in tmp_path.rglob("*.flac")}
    assert len(finished) >= n - 2
    again = run(source, tmp_path, jobs)
    assert (again.returncode, again.stdout) == (0, FOUND), again.stderr
    assert contents(tmp_path) == undisturbed
    assert {path: path.stat().st_ino for path in finished} == finished


def test_ctrl_c_ends_it_in_a_word(tmp_path: Path) -> None:
    # Python's own handler: a shell has its background jobs ignore the signal.
    program = "import signal as s, cli.options as c; s.signal(s.SIGINT, s.default_int_handler); "
    program += "c.run(c.corpus_parser('', '', ''), lambda args: s.raise_signal(s.SIGINT))"
    done = subprocess.run(
        [sys.executable, "-c", program, "source", "dest"],
        env={**os.environ, "PYTHONPATH": str(MANIFESTS)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (130, "-c: interrupted: run it again to resume\n")


def clips_of(source: Path) -> List[Clip]:
    return [Clip(path, f"{path.stem}.flac") for path in sorted(source.glob("*.wav"))]


def test_a_clip_is_converted_once_and_again_when_its_source_changed(tmp_path: Path) -> None:
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", noise(3200), 16000)
    root = tmp_path / "audio"
    assert convert_all(clips_of(tmp_path), root, 2) == [3200, 3200, 3200]
    before = {path: path.stat().st_ino for path in root.iterdir()}
    soundfile.write(tmp_path / "b.wav", noise(4000), 16000)
    (tmp_path / "c.wav").write_text("not audio any more")
    frames = convert_all(clips_of(tmp_path), root, 2)
    assert frames[:2] == [3200, 4000]
    assert isinstance(frames[2], BadAudio)
    assert sorted(path.name for path in root.iterdir()) == ["a.flac", "b.flac"]
    assert (root / "a.flac").stat().st_ino == before[root / "a.flac"]
    assert soundfile.info(root / "b.flac").frames == 4000


def test_a_finished_clip_that_was_damaged_is_converted_again(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(3200), 16000)
    root = tmp_path / "audio"
    convert_all(clips_of(tmp_path), root, 1)
    whole, stamp = (root / "a.flac").read_bytes(), (root / "a.flac").stat().st_mtime_ns
    for damaged in (b"", whole[:4000]):  # as after a loss of power
        (root / "a.flac").write_bytes(damaged)
        os.utime(root / "a.flac", ns=(stamp, stamp))
        assert convert_all(clips_of(tmp_path), root, 1) == [3200]
        assert (root / "a.flac").read_bytes() == whole


def test_a_clip_that_is_missing_or_asked_for_twice(tmp_path: Path) -> None:
    (missing,) = convert_all([Clip(tmp_path / "a.mp3", "a.flac")], tmp_path, 1)
    assert str(missing) == "not found"
    twice = [Clip(tmp_path / "a.mp3", "a.flac"), Clip(tmp_path / "b.mp3", "a.flac")]
    with pytest.raises(ValueError, match=r"a\.flac: two clips would be written there"):
        convert_all(twice, tmp_path, 1)


def test_skipped_clips_have_a_line_each(tmp_path: Path) -> None:
    odd = Skipped("a\tb\nc\udcff é.mp3", "tab\there,\r\nline break")
    write_skipped(tmp_path, [odd, Skipped("d.mp3", "not found")])
    assert (tmp_path / "skipped.tsv").read_bytes() == (
        "clip\treason\na b c\\udcff é.mp3\ttab here, line break\nd.mp3\tnot found\n"
    ).encode()
    write_skipped(tmp_path, [])
    assert (tmp_path / "skipped.tsv").read_bytes() == b"clip\treason\n"


def test_too_many_skipped_clips_of_a_split_are_an_error(tmp_path: Path) -> None:
    check_share(tmp_path, "test", skipped=0, total=0, max_share=0.0)
    check_share(tmp_path, "test", skipped=2, total=8, max_share=0.25)
    with pytest.raises(ValueError) as caught:
        check_share(tmp_path, "test", skipped=3, total=8, max_share=0.25)
    assert str(caught.value) == (
        f"{tmp_path / 'skipped.tsv'}: 3 of 8 clips of test (37.5%) are skipped,"
        " expected no more than 25.0%; --max-skipped allows more"
    )
