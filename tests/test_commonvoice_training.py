"""What manifests/commonvoice.py writes, fairseq trains on by the recipe and scores: WER and PER."""
# ruff: noqa: RUF001  (the language is Kyrgyz)

from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

import jiwer
import pytest

pytest.importorskip("soxr", reason="the [data] extra is not installed")

from commonvoice_tree import commonvoice, row, write_release
from fairseq_runs import load, transcribe, write_encoder
from test_evaluation import lines_of, printed_score
from test_recipes_train import train

SENTENCES = ["Кар", "Ана", "Бала бар", "Эл", "Тил"]
LEXICON = "кар q a r\nана a n a\nбала b a l a\nбар b a r\nэл e l\nтил t i l\n"


class Kind(NamedTuple):
    """How labels of one kind are asked for, trained on and scored."""

    prepare: List[str]
    train: List[str]
    post_process: Optional[str]
    reference: str  # the file whose lines are scored


KINDS = {
    "ltr": Kind(
        [],
        ["criterion.post_process=letter", "checkpoint.best_checkpoint_metric=wer"],
        "letter",
        "wrd",
    ),
    # The recipe's own.
    "phn": Kind(["--lexicon=lexicon.txt"], [], None, "phn"),
    "spm": Kind(
        ["--vocab-size=12"],
        ["criterion.post_process=sentencepiece", "checkpoint.best_checkpoint_metric=wer"],
        "sentencepiece",
        "wrd",
    ),
}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("release")
    tables: Dict[str, List[Dict[str, str]]] = {}
    for name, clips in {"train": 12, "dev": 5, "test": 7}.items():
        tables[name] = [
            row(f"{name} speaker", f"{name}{n}.mp3", SENTENCES[n % len(SENTENCES)], "ky")
            for n in range(clips)
        ]
    write_release(source, "ky", tables)
    (source / "lexicon.txt").write_text(LEXICON, "utf-8")
    return source


@pytest.mark.parametrize(
    "labels", [pytest.param(one, marks=[pytest.mark.slow] * (one != "phn")) for one in KINDS]
)
def test_five_updates_and_every_utterance_scored(
    labels: str, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = KINDS[labels]
    monkeypatch.chdir(release)
    data = tmp_path / "data"
    done = commonvoice(release, data, "--lang=ky", f"--labels={labels}", *kind.prepare)
    assert done.returncode == 0, done.stderr

    encoder = write_encoder(tmp_path / "encoder.pt", large=True)
    overrides = [f"task.labels={labels}", *kind.train]
    done = train("commonvoice_xlsr53", "parp", data, encoder, tmp_path / "run", *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    checkpoint = tmp_path / "run" / "checkpoints" / "checkpoint_best.pt"
    assert load(checkpoint)["optimizer_history"][-1]["num_updates"] == 5

    output = transcribe(
        data,
        checkpoint,
        tmp_path / "out",
        labels=labels,
        post_process=kind.post_process,
        gen_subset="test",
    )
    references, hypotheses = lines_of(output, "T"), lines_of(output, "H")
    assert references == dict(
        enumerate((data / f"test.{kind.reference}").read_text("utf-8").splitlines())
    )
    order = sorted(references)
    rate = jiwer.wer([references[i] for i in order], [hypotheses[i] for i in order])
    assert printed_score(output) == pytest.approx(100 * rate, abs=0.005)
