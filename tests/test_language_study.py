"""recipes/study/ over several corpora: which runs there are, and a study of three from nothing."""

import csv
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import programs
import pytest
import yaml

pytest.importorskip("snakemake", reason="Snakemake needs Python 3.11")

RECIPES = Path(__file__).parents[1] / "recipes"
sys.path.insert(0, str(RECIPES / "study"))

from composed import compose, read_presets  # noqa: E402
from overrides import parse  # noqa: E402
from several_corpora import evaluations_of, plan_languages, read_corpora  # noqa: E402
from test_study import SAVED, SNAKEMAKE, is_half_done, snakemake, starts, wait_until  # noqa: E402

from parp_fairseq.cli import main as parp  # noqa: E402
from parp_fairseq.pruning import Mask  # noqa: E402

SMALL = {
    "recipe": "mini",
    "encoder": "{repository}/manifests/mini/encoder.pt",
    "corpora": {name: {"data": f"data {name}"} for name in ("aa", "bb", "cc")},
    "methods": ["dense", "parp"],
    "transfer": ["omp", "parp"],
    "joint": ["parp"],
    "mask_per_corpus": ["taylor"],
    "sparsities": [0.5],
    "seeds": [1],
    "splits": ["test"],
}
# As snakemake fills them in.
DEFAULTS = {
    "labels": "ltr", "overrides": [], "gpus": 0, "presets": {}, "decoders": {}, "draw": ["plain"],
    "join": "", "joint": [], "transfer": [], "mask_per_corpus": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def configs():
    return compose(RECIPES, "mini", parse([]), read_presets(RECIPES), {})


def planned(configs, version="1", **change):
    return plan_languages({**DEFAULTS, **SMALL, **change}, configs, version)


def names(configs, **change):
    return {run.name for run in planned(configs, **change)}


def test_the_runs_are_those_that_are_asked_for(configs) -> None:
    found = Counter(re.sub(r"-[0-9a-f]{8}$", "", name) for name in names(configs))
    languages = ("aa", "bb", "cc")
    expected = {f"dense-{one}-0-seed1" for one in languages}
    expected |= {f"parp-{one}-0.5-seed1" for one in languages}
    for a in languages:
        for b in languages:
            expected.add(f"parp-{a}-to-{b}-0.5-seed1")
            # OMP keeps the mask of a language fixed as it is: the diagonal is the method itself.
            expected.add(f"omp-{a}-to-{b}-0.5-seed1" if a != b else f"omp-{a}-0.5-seed1")
    expected |= {"parp-joint-plain-0.5-seed1", "taylor-each-plain-0.5-seed1"}
    assert found == dict.fromkeys(expected, 1)


def test_a_moved_mask_is_the_final_one_and_stays_fixed(configs) -> None:
    runs = {re.sub(r"-[0-9a-f]{8}$", "", run.name): run for run in planned(configs)}
    moved = runs["parp-aa-to-bb-0.5-seed1"]
    assert [run.corpus for run in moved.chain] == ["aa", "bb"]
    assert moved.final_mask_of == runs["parp-aa-0.5-seed1"] and moved.mask_from is None
    assert moved.options[:3] == ["+method=omp", "common.seed=1", "task.sparsity=0.5"]
    router = next(run for run in planned(configs, transfer=["s3_router"]) if run.final_mask_of)
    assert '++task.prune_pattern="layerwise"' in router.options
    assert "++task.prune_bias=false" in router.options
    of_omp = runs["omp-aa-to-bb-0.5-seed1"]
    assert of_omp.mask_from == runs["dense-aa-0-seed1"] and of_omp.mask_corpus == "aa"
    each = runs["taylor-each-plain-0.5-seed1"]
    assert each.options[-2:] == [
        "task.mask_per_corpus=true",
        "dataset.train_subset='aa:train_aa,bb:train_bb,cc:train_cc'",
    ]


def test_a_name_follows_what_decides_the_run(configs) -> None:
    """What is finished stays where another language, method or way to draw comes in."""
    before = names(configs)
    more = {**SMALL["corpora"], "dd": {"data": "data dd"}}
    grown = names(configs, corpora=more, draw=["plain", "weighted"], methods=["dense", "mpi"])
    assert {name for name in before if "-plain-" not in name and not name.startswith("parp-aa-0")}
    alone = {name for name in before if "joint" not in name and "each" not in name}
    assert alone - {name for name in alone if re.match(r"parp-\w\w-0\.5", name)} <= grown
    assert not {name for name in before - alone if name in grown}
    other = {**SMALL["corpora"], "aa": {"data": "elsewhere"}}
    changed = before - names(configs, corpora=other)
    assert changed == {name for name in before if "aa" in name or "-plain-" in name}
    assert not before & names(configs, version="2")


def test_each_run_is_scored_by_language(configs) -> None:
    study = {**DEFAULTS, **SMALL, "splits": ["valid", "test"], "decoders": {"lm": "--decoder x"}}
    by_kind = {run.place: evaluations_of(run, study) for run in planned(configs)}
    assert by_kind["aa-to-bb"] == {
        "valid+lm": ("bb", "valid"), "valid": ("bb", "valid"), "test+lm": ("bb", "test"),
        "test": ("bb", "test"),
    }  # fmt: skip
    assert by_kind["joint-plain"]["test_cc+lm"] == ("cc", "test")
    assert list(by_kind["each-plain"])[-3:] == ["test_aa", "test_bb", "test_cc"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"transfer": ["dense"]}, "transfer: 'dense' has no mask"),
        ({"transfer": ["magic"]}, "transfer: 'magic' is not a method"),
        ({"methods": ["imp"]}, "methods: a study with `corpora` does not support imp"),
        ({"mask_per_corpus": ["s3_router"]}, "mask_per_corpus: 's3_router' cannot have a mask"),
        ({"mask_per_corpus": ["parp_p"]}, "mask_per_corpus: 'parp_p' cannot have a mask for each"),
        ({"options_by_method": {"omp": {"task.x": 1}}}, "options_by_method is given: a study with"),
    ],
)
def test_runs_that_cannot_be_are_refused(configs, change, message) -> None:
    with pytest.raises(ValueError, match=message):
        planned(configs, **change)


@pytest.mark.parametrize(
    "corpora, message",
    [
        ({"aa": {"data": "a"}}, "corpora: aa alone: expected two or more"),
        ({"aa": {"data": "a"}, "bb": {"data": "a"}}, "corpora: two have the same folder"),
        (
            {"aa": {"data": "a"}, "bb": {"data": "b", "labels": "phn"}},
            r"their labels are ltr, phn: expected the same to train on all",
        ),
        ({"aa": {"data": "{source}/a"}, "bb": {"data": "b"}}, r"expected --config source=FOLDER"),
    ],
)
def test_corpora_that_are_wrong_are_refused(corpora, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_corpora({**DEFAULTS, **SMALL, "corpora": corpora}, RECIPES)


def dry_run(folder: Path, *configfile: object) -> str:
    line = ["-s", RECIPES / "study" / "Snakefile", "--configfile", *configfile, "-d", folder]
    done = programs.run("snakemake", *line, "-n", "-p")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_study_of_xlsr53_is_ready(tmp_path: Path) -> None:
    """Ten languages of CommonVoice: a mask of each, on each, and three joint trainings."""
    for name in ("es", "fr", "it", "ky", "nl", "ru", "sv-SE", "tr", "tt", "zh-TW"):
        for split in ("train", "valid", "test"):
            for ending in ("tsv", "phn"):
                path = tmp_path / name / f"{split}.{ending}"
                path.parent.mkdir(exist_ok=True)
                path.touch()
        (tmp_path / name / "dict.phn.txt").touch()
    (tmp_path / "encoder.pt").touch()
    places = tmp_path / "places.yaml"
    places.write_text(f"source: {tmp_path}\nencoder: {tmp_path / 'encoder.pt'}\n")
    said = dry_run(tmp_path / "out", RECIPES / "study" / "languages_xlsr53.yaml", places)
    # dense, MPI, OMP and PARP alone, 90 masks of OMP and 100 of PARP that move, three joint.
    assert re.search(r"train +233\n", said)
    assert re.search(r"mask +100\n", said)
    # Each scored on valid and test, the joint ones in ten languages.
    assert re.search(rf"score +{2 * (230 + 3 * 10)}\n", said)
    assert re.search(r"prepare_joint +1\n", said)
    assert "--gen-subset test_zh" in said and "--corpus zh" in said
    assert "task.mask_file=../parp-es-0.5-seed1-" in said


SPLIT = """\
import sys
from pathlib import Path

made, dest, part, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), 18
dest.mkdir(parents=True, exist_ok=True)
for split in ("train", "valid", "test"):
    root, *lines = (made / f"{split}.tsv").read_text().splitlines()
    chosen = range(part, min(len(lines), 3 * size), 3)
    (dest / f"{split}.tsv").write_text("\\n".join([root, *(lines[n] for n in chosen)]) + "\\n")
    for suffix in ("ltr", "wrd"):
        lines = (made / f"{split}.{suffix}").read_text().splitlines()
        (dest / f"{split}.{suffix}").write_text("\\n".join(lines[n] for n in chosen) + "\\n")
for name in ("dict.ltr.txt", "speakers.tsv"):
    if (made / name).is_file():
        (dest / name).write_text((made / name).read_text())
"""


@pytest.mark.slow
def test_three_languages_from_nothing_to_pages_through_a_kill(tmp_path: Path) -> None:
    made, folder = tmp_path / "mini", tmp_path / "study"
    mini = RECIPES.parent / "manifests" / "mini"
    subprocess.run([sys.executable, mini.with_suffix(".py"), mini, made], check=True)
    (made / "split.py").write_text(SPLIT)
    corpora = {
        name: {
            "data": f"data {name}",
            "prepare": f"python {{source}}/split.py {{source}} {{data}} {part}",
        }
        for part, name in enumerate(SMALL["corpora"])
    }
    study = {
        **SMALL,
        "corpora": corpora,
        "source": str(made),
        "methods": ["parp"],
        "transfer": ["parp"],
        "draw": ["plain", "weighted"],
        "overrides": [
            "optimization.max_update=4",
            "task.prune_interval=2",
            "checkpoint.save_interval_updates=2",
            "dataset.validate_interval_updates=4",
            "dataset.num_workers=0",
            "dataset.max_tokens=160000",
        ],
    }
    folder.mkdir()
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    line = [SNAKEMAKE, "-s", RECIPES / "study" / "Snakefile", "-d", folder, "-j", "1", "-q"]
    line += ["--configfile", folder / "study.yaml"]
    runs = folder / "runs"
    with subprocess.Popen([*map(str, line)], start_new_session=True) as killed:
        wait_until(lambda: runs.is_dir() and is_half_done(runs), killed)
        os.killpg(killed.pid, signal.SIGKILL)
    finished = {path: path.stat().st_mtime_ns for path in runs.glob("*/model.pt")}
    assert finished and list(runs.glob(f"*/{SAVED}"))
    snakemake(folder, study, "-j", 2)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert sum(starts(run) for run in runs.iterdir()) == len(list(runs.iterdir())) + 1
    assert "Nothing to be done" in snakemake(folder, study, "-n")

    pages = folder / "report"
    text = (pages / "report.md").read_text()
    assert "All 16 runs are finished" in text
    with (pages / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["kind"] for row in rows) == {"alone": 3, "moved": 9, "joint": 6, "each": 6}
    for title in ("Masks that move, WER: PARP at sparsity 0.5", "Bytes for 3 corpora"):
        assert f"## {title}" in text
    for picture in re.findall(r"\]\((\S+\.png)\)", text):
        assert (pages / picture).stat().st_size > 1000
    # A mask that moves is where it was found: final there, and fixed here.
    moved = next(runs.glob("parp-aa-to-cc-*"))
    found = next(runs.glob("parp-aa-0.5-*"))
    assert Mask.load(moved / "mask.safetensors") == Mask.load(found / "mask.safetensors")
    # What the study kept of the model with three masks can be packed.
    each = next(runs.glob("taylor-each-plain-*"))
    for name in corpora:
        output = tmp_path / f"{name}.safetensors"
        parp(["mask", str(each / "model.pt"), "--corpus", name, "-o", str(output)])
        assert Mask.load(output) == Mask.load(each / f"mask_{name}.safetensors")
