"""parp tune: error rates that fairseq-generate confirms, and the options of the best."""

import re

import pytest
from fairseq_runs import WORDS, finetune, training_config, transcribe
from ngrams import write_arpa

from parp_fairseq.cli import main

pytest.importorskip("flashlight.lib.text.decoder", reason="the [lm] extra is not installed")


@pytest.fixture(scope="module")
def files(tmp_path_factory, corpus, encoder):
    folder = tmp_path_factory.mktemp("tune")
    finetune(training_config(corpus, encoder, folder, max_update=40, lr="[0.01]"))
    (folder / "lexicon.txt").write_text("".join(f"{w}\t{' '.join(w)} |\n" for w in WORDS))
    write_arpa(folder / "words.arpa", WORDS, seed=0)
    return folder


def tune(corpus, files, *more):
    checkpoint = files / "checkpoint_last.pt"
    options = ["--cpu", "--lexicon", files / "lexicon.txt", "--kenlm", files / "words.arpa"]
    return main(["tune", *map(str, (checkpoint, corpus, *options, *more))])


def test_the_best_weights_are_pasted_into_fairseq_generate(corpus, files, tmp_path, capsys):
    picture = tmp_path / "surface.png"
    pytest.importorskip("matplotlib")
    tune(
        corpus, files, "--split", "valid", "--lm-weights", 0, 1, 2, "--word-scores", -1, 0,
        "--plot", picture, "--workers", 2,
    )  # fmt: skip
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if re.match(r" *[012]  ", line)]
    rates = {(row[0], score): float(r) for row in rows for score, r in zip(("-1", "0"), row[1:])}
    assert len(rates) == 6
    assert picture.stat().st_size > 1000

    [pasted] = (line.split() for line in printed.splitlines() if line.startswith("  --decoder"))
    options = dict(zip(pasted[::2], pasted[1::2]))
    best = rates[options["--lm-weight"], options["--word-score"]]
    assert best == min(rates.values())
    output = transcribe(
        corpus,
        files / "checkpoint_last.pt",
        tmp_path / "out",
        **{name[2:].replace("-", "_"): value for name, value in options.items()},
    )
    assert float(output[-1].rpartition(" ")[2]) == pytest.approx(best, abs=0.01)


def test_a_test_split_is_refused(corpus, files, capsys):
    with pytest.raises(SystemExit):
        tune(corpus, files, "--split", "test_other")
    assert "looks like a test split" in capsys.readouterr().err


def test_a_checkpoint_that_does_not_exist_is_an_error(corpus, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["tune", str(tmp_path / "none.pt"), str(corpus), "--split", "valid"])
    assert "none.pt does not exist" in capsys.readouterr().err
