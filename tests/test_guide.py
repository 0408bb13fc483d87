"""README.md and docs/: every block of commands and of Python runs as it is printed.

A page is walked from top to bottom, in one folder outside of the checkout, with the scripts and
recipes of the installed package. The absolute paths of the examples lie in a temporary folder with
small stand-ins for encoders and corpora. The programs are the real ones.
Trainings are cut to two updates, and studies are dry runs. Nothing is downloaded or installed.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from importlib.metadata import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, Tuple

import pytest
from commonvoice_tree import row, write_release
from corpora import noise, write_librispeech
from fairseq_runs import WORDS, finetune, training_config, write_corpus, write_encoder
from ngrams import write_arpa
from pretrained_encoders import pretrain_hubert
from test_report import make_study

import parp_fairseq

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr", reason="the [data] extra is not installed")

ROOT = Path(__file__).parents[1]
INSTALLED = Path(parp_fairseq.__file__).parent  # pytest imports the installed package
FSDD = ROOT.parent / "shared" / "data" / "fsdd"
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
RUN_ELSEWHERE = {
    "docs/results.md",  # hours
    "docs/results-more-methods.md",  # hours
    "docs/results-languages.md",  # hours, and four clones; tests/test_language_study.py
    "docs/results-text.md",  # hours, and a download; tests/test_text_study.py
    "docs/performance.md",  # make bench
    "docs/pretraining.md",  # hours of speech; tests/test_unlabelled.py, tests/test_encoder_files.py
}
EXAMPLE_PATHS = re.compile(r"(?<![\w.])/(data|models|runs|masks)\b")

# Small enough for a CPU and two updates.
SMALL = """common.cpu=true dataset.num_workers=0 dataset.max_tokens=300000 model.mask_length=2
model.mask_channel_length=1 optimization.max_update=2"""
PROGRAMS = {
    "fairseq-hydra-train": f'exec {{bin}}/fairseq-hydra-train "$@" {" ".join(SMALL.split())}',
    "snakemake": 'exec {bin}/snakemake "$@" -n --quiet',
    "srun": 'shift; program=$1; shift; exec {bin}/"$program" "$@" --cfg job',  # composes the config
    "git": 'test "$1" = clone && ln -s "{fsdd}" "$(basename "$2" .git)"',
    "pip": 'echo pip "$@"',
    "make": 'exec {make} -n -C {root} "$@"',
    # The stand-ins for LibriSpeech and CommonVoice are small.
    "python": """case "$*" in
*benchmarks/*) exec echo python "$@" ;;
*librispeech.py*) set -- "$@" --partial ;;
*--train-minutes*) set -- "$@" --train-minutes 0.03 --valid-minutes 0.02 --test-minutes 0.02 ;;
esac
exec {bin}/python "$@\"""",
}


def blocks(page: str) -> Iterator[Tuple[int, str, str]]:
    """Line number, language and text of each fenced block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        yield text[: match.start()].count("\n") + 1, match[1], match[2]


def runnable(page: str):
    return [block for block in blocks(page) if block[1] in ("", "bash", "python")]


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/, models/ and a finetuned checkpoint, as the examples name them."""
    top = tmp_path_factory.mktemp("guide")
    write_encoder(top / "models" / "wav2vec_small.pt")
    write_encoder(top / "models" / "xlsr_53_56k.pt", large=True)
    write_arpa(top / "models" / "words.bin", WORDS, seed=0)
    write_librispeech(top / "data")
    libri = top / "data" / "librispeech_10m"
    for seed, split in enumerate(("train", "valid", "dev_other")):
        write_corpus(libri, split, 8, seed)
    shutil.copytree(libri, top / "data" / "digits")
    write_corpus(top / "data" / "digits", "test", 8, seed=3)
    hubert = pretrain_hubert(libri, top / "hubert")
    shutil.copy(hubert, top / "models" / "hubert_base_ls960.pt")
    table = ["path,text,speaker"]
    for number in range(12):
        clip = top / "data" / f"clip{number}.wav"
        soundfile.write(clip, noise(16000, seed=number), 16000)
        table.append(f"{clip.name},words of clip {'abcdefghijkl'[number]},speaker{number % 6}")
    (top / "data" / "clips.csv").write_text("\n".join(table) + "\n")
    for locale, sentence in {"es": "dos palabras", "fr": "deux mots", "it": "due parole"}.items():
        tables = {
            split: [
                row(f"{split}{n}", f"{locale}{split}{n}.mp3", sentence, locale) for n in range(6)
            ]
            for split in ("train", "dev", "test")
        }
        tables["validated"] = [one for rows in tables.values() for one in rows]
        write_release(top / "cv-corpus-6.1-2020-12-11", locale, tables)
    cfg = training_config(
        libri, top / "models" / "wav2vec_small.pt", top / "finetuned", max_update=2
    )
    finetune(cfg)
    return top


@pytest.fixture
def walk(stand_ins: Path, tmp_path: Path) -> Path:
    """A folder to walk a page in: copies of the stand-ins, what is installed, and the programs."""
    for name in ("data", "models", "cv-corpus-6.1-2020-12-11"):
        shutil.copytree(stand_ins / name, tmp_path / name)
    for corpus in (tmp_path / "data").glob("*/*.tsv"):  # the audio's folder, on the first line
        corpus.write_text(corpus.read_text().replace(str(stand_ins), str(tmp_path)))
    for name in ("manifests", "recipes"):
        (tmp_path / name).symlink_to(INSTALLED / name)
    (tmp_path / "constraints.txt").symlink_to(ROOT / "constraints.txt")
    (tmp_path / "masks").mkdir()
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        text = text.format(
            bin=Path(sys.executable).parent, make=shutil.which("make"), fsdd=FSDD, root=ROOT
        )
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(stat.S_IRWXU)
    return tmp_path


def run_block(language: str, text: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    text = EXAMPLE_PATHS.sub(rf"{folder}/\1", text)
    if "from transformers" in text:  # the torchaudio that docs/deployment.md removes is still here
        text = f"import parp_fairseq.huggingface\n{text}"
    path = f"{folder / 'programs'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", text] if language == "python" else ["bash", "-euc", text]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)])
def test_every_block_runs(page: str, walk: Path, stand_ins: Path) -> None:
    if page in RUN_ELSEWHERE:
        pytest.skip("this page has the commands of long measurements")
    text = "".join(block for _, _, block in runnable(page))
    if "free-spoken-digit-dataset" in text and not FSDD.is_dir():
        pytest.skip("the Free Spoken Digit Dataset is not here")
    if "transformers" in text and find_spec("transformers") is None:
        pytest.skip("the [hf] extra is not installed")
    if "snakemake" in text and sys.version_info < (3, 11):
        pytest.skip("studies need Python 3.11")
    for run in ("parp", "dense", "digits"):
        made = f"checkpoint.save_dir=/runs/{run}" in text
        if not made:
            shutil.copytree(stand_ins / "finetuned", walk / "runs" / run)
            shutil.copy(
                walk / "runs" / run / "checkpoint_last.pt",
                walk / "runs" / run / "checkpoint_best.pt",
            )
    if "parp report" in text:  # the studies of the page are dry runs
        for study in ("study", "random_weights"):
            make_study(walk / "runs" / study)
    for line, language, block in runnable(page):
        done = run_block(language, block, walk)
        told = done.stdout[-3000:] + done.stderr[-3000:]
        assert done.returncode == 0, f"{page}:{line}\n{block}\n{told}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


def test_every_page_is_reached_from_the_front_page() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#\s]+\.md)", (ROOT / "README.md").read_text()))
    assert linked == set(PAGES) - {"README.md"}


def test_extras_that_the_guide_names_exist() -> None:
    extras = set(metadata("parp_fairseq").get_all("Provides-Extra"))
    for page in PAGES:
        for named in re.findall(r'"\.\[([\w,]+)\]"', (ROOT / page).read_text(encoding="utf-8")):
            assert set(named.split(",")) <= extras, page


def test_the_front_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
