"""parp report --against, --baseline: other models to compare with; speakers and seeds needed."""

import json
import math
from statistics import mean, stdev

import pytest
from scipy.stats import t
from test_report import make_study, row_of, score_by_speakers, table, write_score

from parp_fairseq.cli import main as parp
from parp_fairseq.cli.report.intervals import Interval


@pytest.fixture
def studies(tmp_path, capsys):
    """Two studies of the same utterances; all models of the second have 5 points more."""
    made = []
    for name, shift in (("people", 0.0), ("random", 5.0)):
        folder = tmp_path / name
        folder.mkdir()
        score_by_speakers(make_study(folder), shift)
        made.append(folder)
    return made


def test_differences_are_to_the_dense_models_of_the_other_study(studies, capsys):
    people, random = studies
    assert parp(["report", str(random), "--against", str(people)]) == 0
    rows = {
        (row["method"], row["sparsity"]): row
        for row in table(random, "intervals.csv")
        if (row["split"], row["measure"]) == ("test", "wer")
    }
    assert float(rows["dense", "0.0"]["difference"]) == pytest.approx(5.0)
    assert float(rows["parp", "0.6"]["difference"]) == pytest.approx(2.75 + 5.0)
    assert float(rows["imp", "0.3"]["difference"]) == pytest.approx(66.0 - 61.0 + 5.0)
    text = (random / "report" / "report.md").read_text()
    _, compared = text.split("Difference to dense of people, from the same seed", 1)
    assert row_of(compared, "dense") == ["dense", "+5.0 ± 0.0", "", ""]
    assert row_of(compared, "PARP") == ["PARP", "", "+3.2 ± 1.1", "+7.8 ± 1.8"]
    assert "Difference in WER to dense of people" in text
    # The error rates are those of the study itself.
    assert row_of(text, "dense") == ["dense", "67.8 ± 2.5", "", ""]


def test_differences_are_to_another_method_at_the_same_sparsity(studies, capsys):
    people, random = studies
    assert parp(["report", str(random), "--baseline", "parp"]) == 0
    found = {
        (row["method"], row["sparsity"]): float(row["difference"])
        for row in table(random, "intervals.csv")
        if (row["split"], row["measure"]) == ("test", "wer")
    }
    # Of the seed that both have. The dense model has no sparsity at which PARP was trained.
    assert found == {
        ("imp", "0.3"): pytest.approx(66.0 - 60.0),
        ("imp", "0.6"): pytest.approx(70.0 - 65.0),
    }
    text = (random / "report" / "report.md").read_text()
    _, compared = text.split("Difference to PARP at the same sparsity, from the same seed", 1)
    assert row_of(compared, "IMP") == ["IMP", "+6.0", "+5.0"]
    assert parp(["report", str(random), "--baseline", "parp", "--against", str(people)]) == 0
    text = (random / "report" / "report.md").read_text()
    _, compared = text.split("Difference to PARP of people at the same sparsity", 1)
    assert row_of(compared, "IMP") == ["IMP", "+11.0", "+10.0"]
    assert row_of(compared, "PARP") == ["PARP", "+5.0 ± 0.0", "+5.0 ± 0.0"]


@pytest.mark.parametrize("other", [[], ["--against", "people"]])
@pytest.mark.parametrize("method", ["omp", "PARP"])
def test_a_baseline_that_was_not_trained_is_refused(studies, method, other, capsys, monkeypatch):
    people, random = studies
    monkeypatch.chdir(people.parent)
    with pytest.raises(SystemExit) as left:
        parp(["report", "random", "--baseline", method, *other])
    assert left.value.code == 2
    methods = f"expected a method of {other[-1] if other else 'random'} (dense, imp, parp)"
    assert f"--baseline: {method}, {methods}" in capsys.readouterr().err
    assert not (random / "report").exists()


@pytest.mark.parametrize(
    "difference, low, high, speakers",
    [(2.0, -2.0, 6.0, 10), (-0.3, -2.0, 1.1, 20), (1, -0.1, 3, 7)],
)
def test_so_many_speakers_narrow_the_interval_to_zero(difference, low, high, speakers):
    """The end that crosses 0 comes to lie on it; with one speaker less it still crosses."""
    needed = Interval(difference, low, high, speakers, by_seed=()).speakers_needed
    end = low if difference > 0 else high
    for number, crosses in ((needed, False), (needed - 1, True)):
        moved = difference + (end - difference) * math.sqrt(speakers / number)
        assert (moved * difference < -1e-9) == crosses


@pytest.mark.parametrize("by_seed", [(4.0, 1.5, -1.0), (-3.8, 0.2), (9.0, -5.0, 4.0, 1.0)])
def test_so_many_seeds_separate_the_difference_from_zero(by_seed):
    """With as many seeds of the same mean and spread; with one less they still do not."""
    needed = Interval(mean(by_seed), 0.0, 0.0, 10, by_seed).seeds_needed
    for number, separated in ((needed, True), (needed - 1, False)):
        interval = t.interval(0.95, number - 1, mean(by_seed), stdev(by_seed) / math.sqrt(number))
        assert (min(interval) > 0 or max(interval) < 0) == separated


@pytest.mark.parametrize("by_seed", [(), (1.0,), (4.0, 4.1), (0.0, 0.0), (1.0, -1.0)])
def test_no_number_of_seeds_where_none_is_needed_or_helps(by_seed):
    assert Interval(0.0, 0.0, 0.0, 10, by_seed).seeds_needed is None


@pytest.mark.parametrize("difference, low, high", [(2.0, 0.1, 6.0), (-2.0, -3.0, -1.0), (0, -1, 1)])
def test_no_number_where_it_is_separated_or_zero(difference, low, high):
    assert Interval(difference, low, high, speakers=10, by_seed=()).speakers_needed is None


def test_the_report_has_the_number_of_speakers(studies):
    people, _ = studies
    assert parp(["report", str(people)]) == 0
    rows = table(people, "intervals.csv")
    crossing = [row for row in rows if float(row["low"]) <= 0 <= float(row["high"])]
    assert crossing and all(row["speakers_needed"] for row in crossing)
    assert not any(row["speakers_needed"] for row in rows if row not in crossing)
    (number,) = [
        row["speakers_needed"]
        for row in crossing
        if [row[key] for key in ("method", "sparsity", "split", "measure")]
        == ["parp", "0.6", "test", "wer"]
    ]
    text = (people / "report" / "report.md").read_text()
    _, said = text.split("this many speakers would separate", 1)
    assert row_of(said, "PARP")[2] == number


@pytest.mark.parametrize(
    "damage, message",
    [
        (
            lambda other: [write_score(run, "test", 50.0, 2) for run in other.glob("runs/*")],
            "people were scored on different utterances of test",
        ),
        (
            lambda other: [path.unlink() for path in other.glob("runs/dense-*/model.pt")],
            "people has no finished dense model to compare with",
        ),
        (lambda other: (other / "plan.json").unlink(), "people/plan.json does not exist"),
        (
            lambda other: (other / "plan.json").write_text(
                json.dumps({**json.loads((other / "plan.json").read_text()), "splits": ["valid"]})
            ),
            "people was not scored on test, as ",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(studies, damage, message, capsys):
    people, random = studies
    damage(people)
    with pytest.raises(SystemExit) as left:
        parp(["report", str(random), "--against", str(people)])
    assert left.value.code == 2
    assert message in capsys.readouterr().err
    assert not (random / "report").exists()
