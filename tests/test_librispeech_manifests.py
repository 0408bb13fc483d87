"""manifests/librispeech.py: the corpora's own layouts, made small, become files known whole."""

import shutil
import sys
from pathlib import Path
from typing import Callable, Dict

import programs
import pytest
import soundfile
from corpora import MANIFESTS, contents, noise, prepare, write_chapter, write_librispeech
from fairseq_runs import transcribe, write_encoder

sys.path.insert(0, str(MANIFESTS))

import librispeech
from corpus import librispeech_published as published

SCRIPT = "librispeech.py"
EVALUATION = ("dev_clean", "dev_other", "test_clean", "test_other")
DICTIONARY = """\
| 94802
E 51860
T 38431
A 33152
O 31495
N 28855
I 28794
H 27187
S 26071
R 23546
D 18289
L 16308
U 12400
M 10685
W 10317
C 9844
F 9062
G 8924
Y 8226
P 6890
B 6339
V 3936
K 3456
' 1023
X 636
J 598
Q 437
Z 213
"""


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("entpackte Archivé")
    write_librispeech(folder)
    return folder


def prepare_ok(*arguments: object) -> str:
    """Corpora here are far smaller than what was published."""
    done = prepare(SCRIPT, "--partial", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def texts(dest: Path) -> Dict[str, str]:
    return {name: content.decode() for name, content in contents(dest).items()}


def test_ten_minutes(corpora: Path, tmp_path: Path) -> None:
    printed = prepare_ok(corpora, tmp_path / "data", "--train=10min", "--part=1")
    libri, light = corpora / "LibriSpeech", corpora / "librispeech_finetuning"
    assert texts(tmp_path / "data") == {
        "train.tsv": f"{light}\n"
        "1h/1/clean/1001/17/1001-17-0002.flac\t8000\n"
        "1h/1/clean/1001/17/1001-17-0005.flac\t8100\n"
        "1h/1/other/2001/17/2001-17-0002.flac\t8000\n"
        "1h/1/other/2001/17/2001-17-0005.flac\t8100\n",
        "train.wrd": "ONE HOUR\nPART B\nONE HOUR\nPART B\n",
        "train.ltr": "O N E | H O U R |\nP A R T | B |\nO N E | H O U R |\nP A R T | B |\n",
        "dev_clean.tsv": f"{libri}\n"
        "dev-clean/84/121123/84-121123-0000.flac\t8000\n"
        "dev-clean/84/121123/84-121123-0001.flac\t8100\n",
        "dev_clean.wrd": "GO ON\nBUT WHO\n",
        "dev_clean.ltr": "G O | O N |\nB U T | W H O |\n",
        "dev_other.tsv": f"{libri}\n"
        "dev-other/116/288045/116-288045-0000.flac\t8000\n"
        "dev-other/116/288046/116-288046-0000.flac\t8000\n"
        "dev-other/1255/138279/1255-138279-0010.flac\t8000\n",
        "dev_other.wrd": "AS I APPROACHED THE CITY\nI'LL SEE\nAND YET\n",
        "dev_other.ltr": "A S | I | A P P R O A C H E D | T H E | C I T Y |\n"
        "I ' L L | S E E |\nA N D | Y E T |\n",
        "test_clean.tsv": f"{libri}\ntest-clean/61/70968/61-70968-0000.flac\t8000\n",
        "test_clean.wrd": "HE BEGAN\n",
        "test_clean.ltr": "H E | B E G A N |\n",
        "test_other.tsv": f"{libri}\ntest-other/367/130732/367-130732-0000.flac\t8000\n",
        "test_other.wrd": "LOBSTERS AND LOBSTERS\n",
        "test_other.ltr": "L O B S T E R S | A N D | L O B S T E R S |\n",
        "dict.ltr.txt": DICTIONARY,
        "skipped.tsv": "clip\treason\n",
    }
    assert printed.splitlines() == [
        "train: 4 utterances, 0.00 hours, 0 skipped",
        "dev_clean: 2 of 2703 utterances, 0.00 hours, 0 skipped",
        "dev_other: 3 of 2864 utterances, 0.00 hours, 0 skipped",
        "test_clean: 1 of 2620 utterances, 0.00 hours, 0 skipped",
        "test_other: 1 of 2939 utterances, 0.00 hours, 0 skipped",
    ]


def paths(dest: Path, split: str = "train") -> list[str]:
    return [line.split("\t")[0] for line in (dest / f"{split}.tsv").read_text().splitlines()[1:]]


def test_one_hour_and_ten(corpora: Path, tmp_path: Path) -> None:
    hour = [
        f"1h/{part}/{noisiness}/{first}00{part}/17/{first}00{part}-17-000{number}.flac"
        for part in range(6)
        for noisiness, first in (("clean", 1), ("other", 2))
        for number in (2, 5)
    ]
    prepare_ok(corpora, tmp_path / "1h", "--train=1h")
    assert paths(tmp_path / "1h") == hour
    prepare_ok(corpora, tmp_path / "10h", "--train=10h")
    nine = ["9h/clean/3000/21/3000-21-0000.flac", "9h/other/4000/22/4000-22-0000.flac"]
    assert paths(tmp_path / "10h") == hour + nine
    for name in contents(tmp_path / "1h"):
        if not name.startswith("train."):
            assert (tmp_path / "10h" / name).read_bytes() == (tmp_path / "1h" / name).read_bytes()


def test_whole_splits_and_a_source_that_is_librispeech_itself(tmp_path: Path) -> None:
    libri = tmp_path / "LibriSpeech"
    write_chapter(libri / "train-clean-100" / "103" / "1240", {"0000": "CHAPTER ONE"})
    write_chapter(libri / "train-clean-360" / "100" / "121669", {"0000": "TOM"})
    write_chapter(libri / "dev-other" / "116" / "288045", {"0000": "AS I"})
    prepare_ok(libri, tmp_path / "460h", "--train=460h")
    assert paths(tmp_path / "460h") == [
        "train-clean-100/103/1240/103-1240-0000.flac",
        "train-clean-360/100/121669/100-121669-0000.flac",
    ]
    printed = prepare_ok(libri, tmp_path / "evaluation").splitlines()
    assert printed[1:] == [f"not in {libri}: dev-clean, test-clean, test-other"]
    assert sorted(contents(tmp_path / "evaluation")) == [
        "dev_other.ltr", "dev_other.tsv", "dev_other.wrd", "dict.ltr.txt", "skipped.tsv",
    ]  # fmt: skip
    (tmp_path / "460h" / "train.tsv").unlink()
    refused("train-other-500: not found, expected it for --train 960h", libri, tmp_path / "460h",
            "--train=960h")  # fmt: skip


def test_same_bytes_whatever_the_jobs(corpora: Path, tmp_path: Path) -> None:
    for jobs in (1, 3):
        prepare_ok(corpora, tmp_path / str(jobs), "--train=10h", f"--jobs={jobs}")
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


def refused(message: str, source: Path, dest: Path, *options: str) -> None:
    """The script fails with a message, and leaves what was there as it was."""
    before = contents(dest)
    done = prepare(SCRIPT, source, dest, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(dest) == before


def test_bad_folders_and_options(corpora: Path, tmp_path: Path) -> None:
    dest, empty = tmp_path / "data", tmp_path / "empty"
    empty.mkdir()
    refused(f"SOURCE: {empty} has no LibriSpeech/ with dev-clean", empty, dest)
    refused(f"{empty / 'librispeech_finetuning/1h/0/clean'}: not found", empty, dest,
            "--train=10min")  # fmt: skip
    refused("--part: 2, expected it with --train 10min only", corpora, dest, "--part=2")
    refused("--part: 2, expected it with", corpora, dest, "--part=2", "--train=1h")
    refused("invalid choice: 6", corpora, dest, "--part=6", "--train=10min")
    refused("--max-skipped: '1%', expected a share from 0 to 1", corpora, dest, "--max-skipped=1%")
    dest.write_text("mine")
    done = prepare(SCRIPT, corpora, dest)
    assert (done.returncode, dest.read_text()) == (2, "mine")
    assert str(dest) in done.stderr
    assert "Traceback" not in done.stderr


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def again(rate: int, channels: int = 1, frames: int = 8000) -> Callable[[Path], None]:
    return lambda path: soundfile.write(path, noise(frames, channels), rate)


def lie(path: Path) -> None:
    again(48000)(path)
    content = bytearray(path.read_bytes())
    content[18:20] = (16000 >> 4).to_bytes(2, "big")
    content[20] = (16000 & 15) << 4 | content[20] & 15
    path.write_bytes(content)


# What is done to the file of an utterance, and the reason in skipped.tsv.
BAD_AUDIO = {
    "0001": (cut, "expected audio, found what does not decode: Error : flac decoder lost sync."),
    "0002": (lambda path: path.write_bytes(b""), "0 bytes, expected audio"),
    "0003": (
        lambda path: path.write_text("text" * 99),
        "expected audio, found what does not decode: Format not recognised.",
    ),
    "0004": (again(8000), "8000 Hz, expected 16000 Hz or more"),
    "0005": (again(48000, 2), "48000 Hz, 2 channels, expected 16000 Hz, 1 channel"),
    "0006": (lie, "16000 Hz in its header, 48000 Hz in its frames"),
    "0007": (again(16000, frames=1), "1 samples, 0.000 s, expected 0.1 to 60.0 s"),
    "0008": (
        again(16000, frames=40 * 60 * 16000),
        "38400000 samples, 2400.000 s, expected 0.1 to 60.0 s",
    ),
    "0009": (Path.unlink, "not found, though 7-7.trans.txt has its words"),
    "0010": (
        lambda path: path.rename(path.with_name("7-7 0010.flac")),
        "not found, though 7-7.trans.txt has its words",
    ),
}
# The line of an utterance in the table of transcripts, and the reason.
LETTERS_EXPECTED = "in its transcript, expected A to Z, ' and spaces"
BAD_WORDS = {
    "0011": (b"7-7-0011 \n", "an empty transcript, expected words"),
    "0012": (b"7-7-0012\n", "an empty transcript, expected words"),
    "0013": (b"7-7-0013 GO\tON\n", rf"'\t' {LETTERS_EXPECTED}"),
    "0014": ("7-7-0014 GO 😀\n".encode(), f"'😀' {LETTERS_EXPECTED}"),
    "0015": ("7-7-0015 שלום\n".encode(), f"'ולםש' {LETTERS_EXPECTED}"),
    "0016": ("7-7-0016 CAFE\u0301\n".encode(), f"'\u0301' {LETTERS_EXPECTED}"),
    "0017": ("7-7-0017 CAF\u00c9\n".encode(), f"'\u00c9' {LETTERS_EXPECTED}"),
    "0018": (b"7-7-0018 GO 4 IT\n", f"'4' {LETTERS_EXPECTED}"),
    "0019": (b"7-7-0019 go on\n", f"'gno' {LETTERS_EXPECTED}"),
    "0020": (b"7-7-0020 GO|ON\n", f"'|' {LETTERS_EXPECTED}"),
    "0021": (b"7-7-0021 CAF\xc9\n", r"transcript b'CAF\xc9', expected UTF-8"),
    "0022": (b"", "0 transcripts in 7-7.trans.txt, expected 1"),
    "0023": (b"7-7-0023 GO\n7-7-0023 ON\n", "2 transcripts in 7-7.trans.txt, expected 1"),
    "0024": (b"7-7-0024 GO\nON\n", None),  # the second line is that of an utterance ON
}


def test_bad_data_is_skipped_with_its_reason(tmp_path: Path) -> None:
    split = tmp_path / "LibriSpeech" / "dev-clean"
    folder = split / "7" / "7"
    numbers = ["0000", *BAD_AUDIO, *BAD_WORDS]
    write_chapter(folder, dict.fromkeys(numbers, "GO ON"), frames=4000)
    for number, (damage, _) in BAD_AUDIO.items():
        damage(folder / f"7-7-{number}.flac")
    lines = [BAD_WORDS.get(n, (f"7-7-{n} GO ON\n".encode(),))[0] for n in numbers]
    (folder / "7-7.trans.txt").write_bytes(b"".join(lines))
    for name in ("7-7-0030 é.flac", "9-9-0000.flac"):
        shutil.copy(folder / "7-7-0000.flac", folder / name)
    (folder / "._7-7-0000.flac").write_text("left there by another system")
    write_chapter(split / "8" / "8", {"0000": "GO"})
    (split / "8" / "8" / "8-8.trans.txt").unlink()
    write_chapter(split / "9" / "9", {"0000": "GO"})
    (split / "10").mkdir()

    done = prepare(SCRIPT, tmp_path, tmp_path / "data", "--partial")
    assert done.returncode == 2
    allowed = "expected no more than 1.0%; --max-skipped allows more"
    assert f"{tmp_path / 'data' / 'skipped.tsv'}: 28 of 31 clips of dev_clean" in done.stderr
    assert allowed in done.stderr
    assert list(contents(tmp_path / "data")) == ["skipped.tsv"]

    prepare_ok(tmp_path, tmp_path / "data", "--max-skipped=0.95")
    expected = {f"7-7-{n}.flac": reason for n, (_, reason) in {**BAD_AUDIO, **BAD_WORDS}.items()}
    del expected["7-7-0024.flac"]
    name = "not the name of an utterance, expected one like 7-7-0000.flac"
    expected |= {"7-7 0010.flac": name, "7-7-0030 é.flac": name, "9-9-0000.flac": name}
    expected["ON.flac"] = "not found, though 7-7.trans.txt has its words"
    rows = (tmp_path / "data" / "skipped.tsv").read_text(encoding="utf-8").splitlines()
    assert rows.pop(0) == "clip\treason"
    found = dict(row.split("\t") for row in rows)
    assert found.pop("dev-clean/8/8/8-8-0000.flac") == (
        "8-8.trans.txt not found, expected it beside the audio"
    )
    assert found == {f"dev-clean/7/7/{clip}": reason for clip, reason in expected.items()}
    assert paths(tmp_path / "data", "dev_clean") == [
        "dev-clean/7/7/7-7-0000.flac",
        "dev-clean/7/7/7-7-0024.flac",
        "dev-clean/9/9/9-9-0000.flac",
    ]


def test_an_utterance_in_two_folders_is_taken_once(tmp_path: Path) -> None:
    write_librispeech(tmp_path)
    light = tmp_path / "librispeech_finetuning"
    shutil.copytree(light / "1h/0/clean/1000", light / "9h/clean/1000")
    prepare_ok(tmp_path, tmp_path / "data", "--train=10h", "--max-skipped=0.1")
    assert len(paths(tmp_path / "data")) == 26
    assert (tmp_path / "data" / "skipped.tsv").read_text() == "clip\treason\n" + "".join(
        f"9h/clean/1000/17/1000-17-000{n}.flac\t"
        f"also 1h/0/clean/1000/17/1000-17-000{n}.flac, expected it once\n"
        for n in (2, 5)
    )


def write_dev_clean(source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A subset of four chapters of ten utterances, published as such, and its CHAPTERS.TXT."""
    monkeypatch.setitem(published.PUBLISHED, "dev-clean", 40)
    libri = source / "LibriSpeech"
    table = ";ID |READER|MINUTES| SUBSET | PROJ.|BOOK ID| CH. TITLE | PROJECT TITLE\n"
    for chapter in range(4):
        numbers = [f"{number:04d}" for number in range(10)]
        write_chapter(libri / "dev-clean" / "7" / str(chapter), dict.fromkeys(numbers, "GO ON"))
        table += f"{chapter}     | 7    | 8.13  | dev-clean | 0 | 9 | A | title\n"
    table += "99 | 8 | 9.1 | train-clean-100 | 0 | 9 | of a subset that is not asked for | B\n"
    (libri / "CHAPTERS.TXT").write_text(table)
    return libri


def incomplete(source: Path, dest: Path, capsys, *options: object) -> str:
    with pytest.raises(SystemExit) as ended:
        librispeech.main([str(source), str(dest), *map(str, options)])
    assert ended.value.code == 2
    assert not list(dest.glob("*.ltr"))
    return capsys.readouterr().err.splitlines()[-1]


def test_a_subset_that_is_partly_there_is_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    libri = write_dev_clean(tmp_path, monkeypatch)
    librispeech.main([str(tmp_path), str(tmp_path / "data")])
    assert "dev_clean: 40 of 40 utterances" in capsys.readouterr().out
    shutil.rmtree(libri / "dev-clean" / "7" / "2")
    for audio in (libri / "dev-clean" / "7" / "3").iterdir():
        audio.unlink()
    chapters = "dev-clean/7/2: found no audio in 2 chapters that CHAPTERS.TXT lists, expected all"
    assert chapters in incomplete(tmp_path, tmp_path / "bad", capsys, "--max-skipped", 0.9)
    assert (tmp_path / "bad" / "skipped.tsv").read_text() == (
        "clip\treason\n"
        "dev-clean/7/2\tno audio, though CHAPTERS.TXT lists it\n"
        "dev-clean/7/3\tno audio, though CHAPTERS.TXT lists it\n"
        "dev-clean/7/3\tan empty chapter, expected audio and transcripts\n"
    )
    (libri / "CHAPTERS.TXT").unlink()
    count = "dev-clean: found 20 good utterances, expected the 40 that were published"
    assert count in incomplete(tmp_path, tmp_path / "bad", capsys)
    librispeech.main([str(tmp_path), str(tmp_path / "bad"), "--partial", "--max-skipped=0.1"])
    assert "dev_clean: 20 of 40 utterances" in capsys.readouterr().out


def test_a_set_of_libri_light_lasts_as_long_as_its_name_says(corpora, tmp_path, capsys) -> None:
    light = corpora / "librispeech_finetuning"
    message = "--train 10min: found 0.0 minutes, expected about 10; see skipped.tsv; --partial"
    assert message in incomplete(light, tmp_path / "data", capsys, "--train", "10min")


def test_a_source_one_folder_too_deep_or_too_high(corpora: Path, tmp_path: Path, capsys) -> None:
    libri = corpora / "LibriSpeech"
    for source in (libri / "dev-clean", corpora.parent):
        shown = incomplete(source, tmp_path / "data", capsys)
        assert shown.endswith(f"; SOURCE could be {libri if source.parent == libri else corpora}")


@pytest.mark.slow
def test_five_updates_and_a_score(corpora: Path, tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    prepare_ok(corpora, data, "--train=10h")
    recipes = Path(__file__).parents[1] / "recipes"
    done = programs.run(
        "fairseq_cli.hydra_train", "--config-dir", recipes,
        "--config-name", "librispeech_10h_base", "+method=parp", f"task.data={data}",
        f"model.w2v_path={write_encoder(tmp_path / 'encoder.pt')}", f"hydra.run.dir={run}",
        "common.cpu=true", "dataset.num_workers=0", "dataset.max_tokens=40000",
        "model.mask_length=2", "model.mask_channel_length=1", "optimization.max_update=5",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    checkpoint = run / "checkpoints" / "checkpoint_best.pt"
    for split in EVALUATION:
        lines = transcribe(data, checkpoint, tmp_path / "scores", gen_subset=split)
        words = (data / f"{split}.wrd").read_text().splitlines()
        scored = sorted(line.split("\t")[1] for line in lines if line.startswith("T-"))
        assert scored == sorted(words)
        assert sum(line.startswith("D-") for line in lines) == len(words)
        assert "WER: " in lines[-1]
