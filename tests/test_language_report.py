"""parp report of a study over several corpora: what it says is what lies there."""

import csv
import json
from itertools import product
from pathlib import Path

import pytest
import torch
from test_report import SHAPES, config_of, row_of, write_config, write_score

from parp_fairseq.cli import main as parp
from parp_fairseq.cli.counting.overlap import OverlapByLayer
from parp_fairseq.cli.report.languages.masks import linkage_of, newick, read_overlaps
from parp_fairseq.cli.report.languages.rates import runs_by_cell
from parp_fairseq.cli.report.languages.runs import read_languages
from parp_fairseq.pruning import Mask, magnitude_mask

CORPORA = ("aa", "bb", "cc")
SEEDS = (1, 2)
# Error rate of a mask of the first, finetuned on the second; seed 2 has one point more.
MOVED = {("aa", "aa"): 20.0, ("aa", "bb"): 24.0, ("bb", "aa"): 19.0, ("bb", "bb"): 22.0}
BASE = {"aa": 21.0, "bb": 23.0, "cc": 40.0}  # PARP alone
MB = 2**20


def mask_of(corpus: str, seed: int) -> Mask:
    """aa and bb have most in common."""
    torch.manual_seed(seed)
    common = {name: torch.randn(shape) for name, shape in SHAPES.items()}
    torch.manual_seed(100 * seed + CORPORA.index(corpus))
    own = {"aa": 0.3, "bb": 0.3, "cc": 1.5}[corpus]
    return magnitude_mask({n: w + own * torch.randn(w.shape) for n, w in common.items()}, 0.5)


def make_languages(folder: Path, speakers: bool = True) -> Path:
    runs = []
    for corpus in CORPORA:
        data = folder / "data" / corpus
        data.mkdir(parents=True)
        (data / "test.tsv").write_text("/audio\na.flac\t1\nb.flac\t1\n")
        if speakers:
            (data / "speakers.tsv").write_text("path\tspeaker\na.flac\tann\nb.flac\tbob\n")

    def write(kind, method, seed, corpus, rates, mask_corpus=None, chain=(), masks=None) -> str:
        place = f"{mask_corpus}-to-{corpus}" if kind == "moved" else f"{corpus}-{kind}"
        name = f"{method}-{place}-0.5-seed{seed}-0000000{seed}"
        run = folder / "runs" / name
        run.mkdir(parents=True)
        (run / "model.pt").touch()
        (run / "train.log").touch()
        config = config_of("imp" if kind == "moved" else "parp", 0.5, seed)
        config["task"]["data"] = str(folder / "data" / (corpus if corpus in CORPORA else "joint"))
        if kind == "each":
            config["task"]["prune_criterion"] = method
        write_config(run, config)
        scores = {}
        for scored, rate in rates.items():
            how = "test" if corpus in CORPORA else f"test_{scored}"
            write_score(run, how, rate)
            scores[how] = [scored, "test"]
        masks = masks or {"": mask_of(mask_corpus or (corpus if corpus in CORPORA else "cc"), seed)}
        for owner, mask in masks.items():
            mask.save(run / (f"mask_{owner}.safetensors" if owner else "mask.safetensors"))
        facts = {"bytes": 4 * MB, "base_bytes": 3 * MB, "pack_bytes": MB}
        if kind == "each":
            mask_of("cc", seed).save(run / "mask.safetensors")
            facts["corpus_pack_bytes"] = dict.fromkeys(CORPORA, MB // 4)
        (run / "facts.json").write_text(json.dumps(facts))
        runs.append(
            dict(
                name=name,
                method=method,
                sparsity=0.5,
                seed=seed,
                chain=[*chain, name],
                kind=kind,
                corpus=corpus,
                mask_corpus=mask_corpus,
                drawn="plain",
                scores=scores,
            )
        )
        return name

    joint = folder / "data" / "joint"
    joint.mkdir()
    for corpus in CORPORA:
        (joint / f"test_{corpus}.tsv").write_text("/audio\na.flac\t1\nb.flac\t1\n")
    for seed in SEEDS:
        alone = {c: write("alone", "parp", seed, c, {c: BASE[c] + seed - 1}) for c in CORPORA}
        for a, b in product(CORPORA, CORPORA):
            rate = MOVED.get((a, b), 41.0) + seed - 1
            write("moved", "parp", seed, b, {b: rate}, mask_corpus=a, chain=[alone[a]])
        write("joint", "parp", seed, "joint", {c: BASE[c] + 2 for c in CORPORA})
        masks = {c: mask_of(c, seed + 10) for c in CORPORA}
        write("each", "taylor", seed, "joint", {c: BASE[c] - 1 for c in CORPORA}, masks=masks)
    plan = {"recipe": "mini", "labels": "ltr", "splits": ["test"], "overrides": []}
    plan["corpora"] = list(CORPORA)
    (folder / "plan.json").write_text(json.dumps({**plan, "runs": runs}))
    return folder


@pytest.fixture(scope="module")
def reported(tmp_path_factory) -> Path:
    folder = make_languages(tmp_path_factory.mktemp("languages"))
    assert parp(["report", str(folder)]) == 0
    return folder


def table(folder: Path, name: str):
    with (folder / "report" / name).open() as file:
        return list(csv.DictReader(file))


def section(folder: Path, title: str) -> str:
    text = (folder / "report" / "report.md").read_text()
    return text[text.index(f"## {title}") :].split("\n## ")[0]


def test_the_matrix_has_the_differences_to_its_diagonal(reported: Path) -> None:
    text = section(reported, "Masks that move, WER: PARP at sparsity 0.5")
    assert row_of(text, "aa")[1:] == ["20.5 ± 0.7", "24.5 ± 0.7", "41.5 ± 0.7"]
    differences = text.split("Difference to the mask")[1]
    # Half of the errors of the second speaker's utterance would be needed to be sure.
    bb = row_of(differences, "bb")
    assert bb[1].startswith("-1.0 [") and bb[2] == "0"
    rows = {
        (row["mask_corpus"], row["corpus"]): row
        for row in table(reported, "moved.csv")
        if row["measure"] == "wer"
    }
    assert len(rows) == 9
    assert float(rows["aa", "bb"]["difference"]) == pytest.approx(2.0)
    assert rows["aa", "aa"]["difference"] == "" and rows["aa", "bb"]["speakers"] == "2"
    # All errors are of one speaker, so that another draw of the two may have none: not separated.
    assert "[+0.0, +4.0] =" in row_of(differences, "aa")[2]


def test_character_error_rates_have_the_same_pages(reported: Path) -> None:
    """Each wrong word has one wrong character; two utterances of 500 words have 2998."""
    text = section(reported, "Masks that move, CER: PARP at sparsity 0.5")
    assert row_of(text, "aa")[2] == "8.2 ± 0.2"  # 240 and 250 characters
    rows = [row for row in table(reported, "moved.csv") if row["measure"] == "cer"]
    moved = next(row for row in rows if (row["mask_corpus"], row["corpus"]) == ("aa", "bb"))
    assert float(moved["mean"]) == pytest.approx(245 / 29.98, abs=1e-4)
    assert float(moved["difference"]) == pytest.approx(20 / 29.98, abs=1e-4)
    assert float(moved["high"]) == pytest.approx(40 / 29.98, abs=1e-4)
    jointly = row_of(
        section(reported, "CER on test, %").split("Difference to")[1], "PARP, jointly, one mask"
    )
    assert [cell.split()[0] for cell in jointly[2:]] == ["+0.5"] * 3


def test_joint_trainings_are_held_against_each_alone(reported: Path) -> None:
    text = section(reported, "WER on test, %")
    alone = row_of(text, "PARP, each alone")
    assert alone[2:] == ["21.5 ± 0.7", "23.5 ± 0.7", "40.5 ± 0.7", "28.5 ± 0.7"]
    jointly = row_of(text.split("Difference to")[1], "PARP, jointly, one mask")
    assert [cell.split()[0] for cell in jointly[2:]] == ["+1.5"] * 3
    rows = table(reported, "trainings.csv")
    each = [row for row in rows if row["kind"] == "each" and row["measure"] == "wer"]
    assert [row["mean"] for row in each] == ["20.0000", "22.0000", "39.0000"]


def test_overlaps_are_means_of_the_seeds(reported: Path) -> None:
    rows = {
        (row["kind"], row["corpus"], row["other"], row["layer"]): float(row["overlap"])
        for row in table(reported, "overlap.csv")
    }
    for a, b in (("aa", "bb"), ("aa", "cc"), ("bb", "cc")):
        by_seed = [OverlapByLayer([mask_of(a, seed), mask_of(b, seed)]) for seed in SEEDS]
        for place, layer in enumerate(by_seed[0].rows):
            mean = sum(one.values[place][0] for one in by_seed) / 2
            assert rows["alone", a, b, layer] == pytest.approx(mean, abs=1e-6)
    assert {kind for kind, *_ in rows} == {"alone", "each"}


def test_the_tree_joins_what_overlaps_most(reported: Path) -> None:
    study = read_languages(reported)
    overlaps = read_overlaps(study, runs_by_cell(study))[0]
    text = newick(overlaps, linkage_of(overlaps))
    assert text.startswith(("(cc,(aa,bb):", "((aa,bb):", "((bb,aa):", "(cc,(bb,aa):"))
    # Average linkage, by hand.
    matrix = overlaps.matrix
    first, second = 1 - matrix[0][1], 1 - (matrix[0][2] + matrix[1][2]) / 2
    found = [
        float(row["distance"]) for row in table(reported, "tree.csv") if row["kind"] == "alone"
    ]
    assert found == pytest.approx([first, second], abs=1e-6)
    assert text in section(reported, "Masks: PARP, each alone, sparsity 0.5")


def test_bytes_are_for_all_corpora_together(reported: Path) -> None:
    rows = {row["kept"]: int(row["bytes"]) / MB for row in table(reported, "bytes.csv")}
    assert rows == {
        "3 models": 12,
        "the encoder and 3 packs over it": 6,
        "one model for all": 4,
        "the encoder and one pack for all": 4,
        "shared weights and 3 packs over them": 4.75,
    }


def test_every_picture_is_there_and_every_run(reported: Path) -> None:
    text = (reported / "report" / "report.md").read_text()
    assert text.startswith("# Study of aa, bb, cc: recipe `mini`\n\nAll 28 runs are finished.")
    names = {line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")}
    assert names == {path.name for path in (reported / "report").glob("*.png")}
    assert len(names) == 10
    assert len(table(reported, "runs.csv")) == 2 * (3 + 9 + 3 + 3)


def test_what_is_missing_is_named_and_left_out(tmp_path: Path, capsys) -> None:
    folder = make_languages(tmp_path, speakers=False)
    (folder / "runs" / "parp-aa-alone-0.5-seed1-00000001" / "model.pt").unlink()
    (folder / "runs" / "parp-bb-to-cc-0.5-seed2-00000002" / "test.txt").write_text("cut")
    for seed in SEEDS:
        (folder / "runs" / f"parp-cc-to-cc-0.5-seed{seed}-0000000{seed}" / "model.pt").unlink()
    assert parp(["report", str(folder), "--format", "latex"]) == 0
    said = capsys.readouterr().out
    assert "parp-aa-alone-0.5-seed1-00000001: unfinished: 0 updates logged" in said
    assert "parp-aa-to-bb-0.5-seed1-00000001: waits for parp-aa-alone" in said
    assert "parp-bb-to-cc-0.5-seed2-00000002: trained, but not scored on test" in said
    text = section(folder, "Masks that move, WER: PARP at sparsity 0.5")
    differences = text.split("Difference to the mask")[1]
    # Of aa on aa, seed 2 is left; of cc on cc, nothing, so no mask can be held against its own.
    assert row_of(text, "aa")[1] == "21.0 (1 of 2 seeds)"
    assert row_of(differences, "bb")[1] == "-1.0 (1 of 2 seeds)"
    assert row_of(differences, "aa")[1] == "0"
    assert [row_of(differences, corpus)[3] for corpus in CORPORA] == ["missing"] * 3
    # The mean of the corpora is of the seeds that all of them have.
    alone = row_of(section(folder, "WER on test, %"), "PARP, each alone")
    assert alone[2:4] == ["22.0 (1 of 2 seeds)", "23.5 ± 0.7"]
    assert alone[5] == "29.0 (1 of 2 seeds)"
    assert (folder / "report" / "report.tex").is_file()


def test_a_run_that_is_not_what_was_planned_stops_the_report(tmp_path: Path, capsys) -> None:
    folder = make_languages(tmp_path)
    run = folder / "runs" / "taylor-joint-each-0.5-seed1-00000001"
    magnitude_mask({name: torch.randn(shape) for name, shape in SHAPES.items()}, 0.3).save(
        run / "mask_bb.safetensors"
    )
    with pytest.raises(SystemExit):
        parp(["report", str(folder)])
    assert "the study planned sparsity 0.5, and its model has 0.3" in capsys.readouterr().err
