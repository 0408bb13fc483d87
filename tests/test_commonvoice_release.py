"""manifests/corpus/commonvoice_release.py: the tables of every release, in their columns."""

from pathlib import Path
from typing import Dict, List, Sequence

import pytest

pytest.importorskip("soxr", reason="the [data] extra is not installed")

from commonvoice_tree import commonvoice, row, texts, write_release, write_table

RELEASES = {
    "cv-corpus-1": "client_id path sentence up_votes down_votes age gender accent",
    "cv-corpus-6.1-2020-12-11": "client_id path sentence up_votes down_votes age gender accent"
    " locale segment",
    "cv-corpus-8.0-2022-01-19": "client_id path sentence up_votes down_votes age gender accents"
    " locale segment",
    "cv-corpus-18.0-2024-06-14": "client_id path sentence_id sentence sentence_domain up_votes"
    " down_votes age gender accents variant locale segment",
    "another order": "segment sentence locale path accents client_id",
}  # fmt: skip


def rows(split: str) -> List[Dict[str, str]]:
    quoted = row("joris", f"{split} 2.mp3", 'Hij zei: "Ja', "nl")
    return [row("an", f"{split} 1.mp3", "Zo\u2019n \u0133sje.", "nl"), quoted]


@pytest.mark.parametrize("release", RELEASES)
def test_columns(release: str, tmp_path: Path) -> None:
    columns: Sequence[str] = RELEASES[release].split()
    folder = write_release(tmp_path, "nl", {name: rows(name) for name in ("train", "dev", "test")})
    for name in ("train", "dev", "test"):
        table = rows(name)
        if release == "cv-corpus-1":
            table = [{**r, "path": r["path"].removesuffix(".mp3")} for r in table]
        write_table(folder / f"{name}.tsv", table, columns)
    done = commonvoice(tmp_path, tmp_path / "dest", "--lang=nl")
    assert done.returncode == 0, done.stderr
    written = texts(tmp_path / "dest")
    assert [line.split("\t")[0] for line in written["valid.tsv"].splitlines()] == [
        str(tmp_path / "dest" / "audio"), "dev 1.flac", "dev 2.flac",
    ]  # fmt: skip
    assert written["valid.wrd"] == "zo'n ijsje\nhij zei ja\n"
    assert written["speakers.tsv"].splitlines()[1] == "test 1.flac\tan"
    assert written["skipped.tsv"] == "clip\treason\n"
