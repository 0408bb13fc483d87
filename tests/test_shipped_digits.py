"""manifests/digits and manifests/people: the real speech and the encoders that ship."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import soundfile

MANIFESTS = Path(__file__).parents[1] / "manifests"
DIGITS = MANIFESTS / "digits"


def test_the_manifests_say_what_is_in_the_files(tmp_path):
    script = [sys.executable, MANIFESTS / "mini.py", DIGITS, tmp_path]
    subprocess.run(script, check=True, capture_output=True)
    _, *rows = (tmp_path / "speakers.tsv").read_text("utf-8").splitlines()
    speaker_of = dict(row.split("\t") for row in rows)
    speakers, words = {}, set()
    for split, minutes in (("train", 10), ("valid", 2), ("test", 7)):
        root, *lines = (tmp_path / f"{split}.tsv").read_text("utf-8").splitlines()
        assert Path(root) == DIGITS / "audio"
        paths, frames = zip(*(line.split("\t") for line in lines))
        headers = [soundfile.info(Path(root, path)) for path in paths]
        assert [(h.frames, h.samplerate) for h in headers] == [(int(f), 16000) for f in frames]
        assert minutes <= sum(h.duration for h in headers) / 60 < minutes + 0.2
        speakers[split] = {speaker_of[path] for path in paths}
        words |= set((tmp_path / f"{split}.wrd").read_text("utf-8").split())
    assert [len(of_split) for of_split in speakers.values()] == [7, 3, 20]
    assert len(set.union(*speakers.values())) == 30
    assert len(words) == 10
    listed = {path.relative_to(DIGITS / "audio").as_posix() for path in DIGITS.rglob("*.ogg")}
    assert listed == set(speaker_of)


def test_the_encoders_are_those_that_the_readme_lists():
    readme = (MANIFESTS / "people" / "README.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `(\S+\.pt)` \|.*?`([0-9a-f]{64})`", readme, re.MULTILINE))
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (MANIFESTS / "people").glob("*.pt")
    }
    assert listed == found
