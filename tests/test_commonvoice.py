"""manifests/commonvoice.py: trees in the corpus's own layout come out as the files expected."""

from pathlib import Path
from typing import Dict, Sequence

import pytest

pytest.importorskip("soxr", reason="the [data] extra is not installed")

import soundfile
from commonvoice_tree import commonvoice, contents, row, texts, write_clip, write_release


def spanish(n: int, speaker: str, sentence: str) -> Dict[str, str]:
    return row(speaker, f"common_voice_es_{n}.mp3", sentence, "es")


ES = {
    "train": [
        spanish(11, "ana", "¿Qué dice el niño?"),
        spanish(12, "ana", "«No», dijo; así fue."),
        spanish(13, "bea", "Son 3 gatos."),
        spanish(14, "bea", "El ñandú CORRE…"),
    ],
    "dev": [spanish(21, "carlos", "Qué día")],
    "test": [spanish(31, "dolores", "El pingu\u0308ino"), spanish(32, "dolores", "Sí.")],
}
ES["validated"] = ES["train"] + ES["dev"] + ES["test"]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("cv") / "cv-corpus-6.1-2020-12-11"
    write_release(source, "es", ES)
    return source


def prepared(source: Path, dest: Path, *options: object) -> Dict[str, str]:
    done = commonvoice(source, dest, "--lang=es", *options)
    assert done.returncode == 0, done.stderr
    return texts(dest)


def test_official_splits_in_letters(release: Path, tmp_path: Path) -> None:
    root = tmp_path / "es" / "audio"
    assert prepared(release, tmp_path / "es", "--max-skipped=0.2") == {
        "train.tsv": f"{root}\n"
        "common_voice_es_11.flac\t6400\n"
        "common_voice_es_12.flac\t6560\n"
        "common_voice_es_14.flac\t6880\n",
        "train.wrd": "qué dice el niño\nno dijo así fue\nel ñandú corre\n",
        "train.ltr": "q u é | d i c e | e l | n i ñ o |\n"
        "n o | d i j o | a s í | f u e |\n"
        "e l | ñ a n d ú | c o r r e |\n",
        "valid.tsv": f"{root}\ncommon_voice_es_21.flac\t7040\n",
        "valid.wrd": "qué día\n",
        "valid.ltr": "q u é | d í a |\n",
        "test.tsv": f"{root}\ncommon_voice_es_31.flac\t7200\ncommon_voice_es_32.flac\t7360\n",
        "test.wrd": "el pingüino\nsí\n",
        "test.ltr": "e l | p i n g ü i n o |\ns í |\n",
        "dict.ltr.txt": "| 11\ne 5\no 4\nd 3\ni 3\nn 3\na 2\nc 2\nl 2\nr 2\nu 2\nñ 2\n"
        "f 1\nj 1\nq 1\ns 1\né 1\ní 1\nú 1\ng 0\np 0\nü 0\n",
        "speakers.tsv": "path\tspeaker\n"
        "common_voice_es_31.flac\tdolores\ncommon_voice_es_32.flac\tdolores\n"
        "common_voice_es_21.flac\tcarlos\n"
        "common_voice_es_11.flac\tana\ncommon_voice_es_12.flac\tana\n"
        "common_voice_es_14.flac\tbea\n",
        "skipped.tsv": "clip\treason\n"
        "common_voice_es_13.mp3\t'3', DIGIT THREE, is no letter of the language\n",
    }
    for flac in root.iterdir():
        info = soundfile.info(flac)
        assert (info.format, info.subtype, info.samplerate) == ("FLAC", "PCM_16", 16000)
        assert info.channels == 1
    assert len(list(root.iterdir())) == 6
