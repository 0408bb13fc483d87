"""manifests/commonvoice.py: trees in the corpus's own layout come out as the files expected."""
# ruff: noqa: RUF001  (letters and phones that look alike are what this is about)

import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Dict

import pytest

pytest.importorskip("soxr", reason="the [data] extra is not installed")

import sentencepiece
import soundfile
from commonvoice_tree import commonvoice, row, texts, write_release
from corpora import MANIFESTS, contents


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
    assert prepared(release, tmp_path / "es", "--max-skipped=0.3") == {
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


LEXICON = """\
QUÉ k e
dice\td i θ e
dice(2)\td i s e
EL e l
nin\u0303o n i ɲ o
no n o
dijo d i x o
así a s i
fue f w e
corre k o r e
día d i a
pingüino p i n ɡ w i n o
sí s i
24h x
"""


def test_letters_of_a_file_and_a_warning_of_rare_ones(release: Path, tmp_path: Path) -> None:
    letters = tmp_path / "letters.txt"
    letters.write_text("ABCDEFGHIJLMNOPQRSTU í é ñ", "utf-8")
    options = ("--lang=es", f"--letters={letters}", "--max-skipped=0.5")
    done = commonvoice(release, tmp_path / "es", *options)
    assert done.returncode == 0, done.stderr
    written = texts(tmp_path / "es")
    assert written["train.wrd"] == "qué dice el niño\nno dijo así fue\n"
    assert "'ú', LATIN SMALL LETTER U WITH ACUTE, is no letter" in written["skipped.tsv"]
    assert (
        "symbols occur fewer than 5 times in training, too few to be learnt: 'a' 1," in done.stderr
    )


def test_phones_by_a_lexicon(release: Path, tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text(LEXICON, "utf-8")
    dest = tmp_path / "es"
    written = prepared(release, dest, "--labels=phn", f"--lexicon={lexicon}", "--max-skipped=0.5")
    assert {name: written[name] for name in written if "phn" in name} == {
        "train.phn": "k e d i θ e e l n i ɲ o\nn o d i x o a s i f w e\n",
        "valid.phn": "k e d i a\n",
        "test.phn": "e l p i n ɡ w i n o\ns i\n",
        "dict.phn.txt": "e 4\ni 4\no 3\nd 2\nn 2\na 1\nf 1\nk 1\nl 1\ns 1\nw 1\nx 1\nɲ 1\nθ 1\n"
        "p 0\nɡ 0\n",
    }
    assert written["train.wrd"] == "qué dice el niño\nno dijo así fue\n"
    assert written["skipped.tsv"].endswith("_14.mp3\tthe lexicon lacks 'ñandú'\n")


def test_a_lexicon_that_is_none(release: Path, tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon.txt"
    options = ["--lang=es", "--labels=phn", f"--lexicon={lexicon}"]
    for content, message in {
        "no n o\nmudo\n": f"{lexicon}, line 2: 'mudo', expected a word and its phones",
        "": f"{lexicon}: found no word of the language, expected a lexicon",
        "24h x\n": f"{lexicon}: found no word of the language, expected a lexicon",
    }.items():
        lexicon.write_text(content)
        done = commonvoice(release, tmp_path / "es", *options)
        assert done.returncode == 2
        assert message in done.stderr
        assert not (tmp_path / "es").exists()


def test_phones_by_espeak(tmp_path: Path) -> None:
    pytest.importorskip("phonemizer", reason="the [phones] extra is not installed")
    sentences = {"train": "J'aime ça.", "other": "C'est le football", "dev": "Un", "test": "Oui"}
    rows = {name: row(name, f"{name}.mp3", text, "fr") for name, text in sentences.items()}
    tables = {"train": [rows["train"], rows["other"]], "dev": [rows["dev"]], "test": [rows["test"]]}
    write_release(tmp_path, "fr", tables)
    done = commonvoice(tmp_path, tmp_path / "d", "--lang=fr", "--labels=phn", "--max-skipped=0.5")
    assert done.returncode == 0, done.stderr
    written = texts(tmp_path / "d")
    assert {name: written[name] for name in written if "phn" in name} == {
        "train.phn": "ʒ ɛ m s a\n",
        "valid.phn": "œ̃\n",
        "test.phn": "w i\n",
        "dict.phn.txt": "a 1\nm 1\ns 1\nɛ 1\nʒ 1\ni 0\nw 0\nœ̃ 0\n",
    }
    reason = "espeak-ng reads some of it as another language"
    assert written["skipped.tsv"] == f"clip\treason\nother.mp3\t{reason}\n"


def test_sentencepiece_units(release: Path, tmp_path: Path) -> None:
    written = prepared(release, tmp_path, "--labels=spm", "--vocab-size=22", "--max-skipped=0.3")
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spm.model"))
    for split in ("train", "valid", "test"):
        lines = [line.split(" ") for line in written[f"{split}.spm"].splitlines()]
        assert ["".join(line).replace("▁", " ").strip() for line in lines] == (
            written[f"{split}.wrd"].splitlines()
        )
    counts = dict(line.split(" ") for line in written["dict.spm.txt"].splitlines())
    pieces = {model.id_to_piece(i) for i in range(22)} - {"<unk>"}
    # Those of the model, and what the model, which knows the training words alone, has not seen.
    assert set(counts) == pieces | {"p", "gü"}
    assert (counts["p"], counts["gü"]) == ("0", "0")
    used = Counter(written["train.spm"].split())
    assert {unit: int(count) for unit, count in counts.items() if count != "0"} == used


def test_letters_of_other_languages(tmp_path: Path) -> None:
    sentences = {"train": "就差當天，沒直接訂。", "dev": "你好 嗎？", "test": "天天"}
    tables = {name: [row(name, f"{name}.mp3", text, "zh-TW")] for name, text in sentences.items()}
    write_release(tmp_path, "zh-TW", tables)
    done = commonvoice(tmp_path, tmp_path / "zh", "--lang=zh-TW")
    assert done.returncode == 0, done.stderr
    written = texts(tmp_path / "zh")
    assert {name: written[name] for name in written if name.endswith((".ltr", ".wrd", ".txt"))} == {
        "train.wrd": "就差當天沒直接訂\n",
        "train.ltr": "就 差 當 天 沒 直 接 訂 |\n",
        "valid.wrd": "你好嗎\n",
        "valid.ltr": "你 好 嗎 |\n",
        "test.wrd": "天天\n",
        "test.ltr": "天 天 |\n",
        "dict.ltr.txt": "| 1\n天 1\n就 1\n差 1\n接 1\n沒 1\n當 1\n直 1\n訂 1\n你 0\n嗎 0\n好 0\n",
    }


def test_what_was_changed_is_told(release: Path, tmp_path: Path) -> None:
    done = commonvoice(release, tmp_path, "--lang=es", "--max-skipped=0.3")
    assert done.stdout.splitlines() == [
        "text: 7 sentences, changed in normal form 1, case 7, punctuation 5, spaces 5",
        "train: 3 clips, 0.0 minutes, 2 speakers",
        "valid: 1 clips, 0.0 minutes, 1 speakers",
        "test: 2 clips, 0.0 minutes, 1 speakers",
        "skipped: 1 clips, see skipped.tsv",
    ]


def test_the_same_bytes_whatever_the_jobs_and_whatever_was_there(
    release: Path, tmp_path: Path
) -> None:
    prepared(release, tmp_path, "--max-skipped=0.3", "--jobs=1")
    first = contents(tmp_path)
    shutil.rmtree(tmp_path / "audio")
    prepared(release, tmp_path, "--max-skipped=0.3", "--jobs=3")
    assert contents(tmp_path) == first
    prepared(release, tmp_path, "--labels=spm", "--vocab-size=22", "--max-skipped=0.3")
    assert len(contents(tmp_path)) == len(first) + 5
    prepared(release, tmp_path, "--max-skipped=0.3")
    assert contents(tmp_path) == first


def test_the_folder_of_the_language_is_a_source_too(release: Path, tmp_path: Path) -> None:
    prepared(release, tmp_path, "--max-skipped=0.3")
    first = contents(tmp_path)
    shutil.rmtree(tmp_path)
    prepared(release / "es", tmp_path, "--max-skipped=0.3")
    assert contents(tmp_path) == first


# There is some more of it, for a killed run is to die in the middle.
MANY = {split: [spanish(n, split, "Sí.") for n in numbers] for split, numbers in {
    "train": range(100, 140), "dev": range(200, 202), "test": range(300, 302)
}.items()}  # fmt: skip


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    write_release(tmp_path / "cv", "es", MANY, seconds=4.0)
    options = [tmp_path / "cv", tmp_path / "es", "--lang=es", "--jobs=1"]
    command = [sys.executable, str(MANIFESTS / "commonvoice.py"), *map(str, options)]
    audio = tmp_path / "es" / "audio"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        while len(list(audio.glob("*.flac"))) < 5 and run.poll() is None:
            time.sleep(0.001)
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert 5 <= len(list(audio.glob("*.flac"))) < 44
    done_before = {path: path.stat().st_ino for path in audio.glob("*.flac")}
    assert commonvoice(*options).returncode == 0
    assert {path: path.stat().st_ino for path in done_before} == done_before
    resumed = contents(tmp_path / "es")
    shutil.rmtree(tmp_path / "es")
    assert commonvoice(*options).returncode == 0
    assert contents(tmp_path / "es") == resumed
