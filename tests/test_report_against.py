"""parp report --against: differences to the dense models of another study; speakers needed."""

import json
import math

import numpy as np
import pytest
from test_report import make_study, row_of, score_by_speakers, table, write_score

from parp_fairseq.cli import main as parp


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


def test_the_number_of_speakers_is_what_narrows_the_interval_to_zero(studies):
    people, _ = studies
    assert parp(["report", str(people)]) == 0
    rows = table(people, "intervals.csv")
    needed = {}
    for row in rows:
        difference, low, high = (float(row[key]) for key in ("difference", "low", "high"))
        if low > 0 or high < 0 or difference == 0:
            assert row["speakers_needed"] == ""
            continue
        number = needed[row["method"], row["sparsity"], row["split"], row["measure"]] = int(
            row["speakers_needed"]
        )
        end = low if difference > 0 else high
        # The end that crosses 0 comes to lie on it: at one speaker less it still crosses.
        for speakers, crosses in ((number, False), (number - 1, True)):
            moved = difference + (end - difference) * math.sqrt(5 / speakers)
            assert (np.sign(moved) == -np.sign(difference) and abs(moved) > 1e-3) == crosses
    text = (people / "report" / "report.md").read_text()
    _, said = text.split("this many speakers would separate", 1)
    assert row_of(said, "PARP")[2] == f"{needed['parp', '0.6', 'test', 'wer']:,}"


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
