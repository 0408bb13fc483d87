"""recipes/study/ and parp report: a study of sentences and their classes."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import programs
import pytest
import yaml
from fairseq import checkpoint_utils
from fairseq_runs import finetune
from glue_tables import SIZES, write_bert, write_tables
from test_report import make_study
from test_text_task import config, sentences  # noqa: F401  (a fixture)

from parp_fairseq.cli import main as parp
from parp_fairseq.cli.report.logs import read_log
from parp_fairseq.cli.report.scores import read_score
from parp_fairseq.pruning import Mask

REPOSITORY = Path(__file__).parents[1]
STUDY = REPOSITORY / "recipes" / "study"
sys.path.insert(0, str(STUDY))
import classify  # noqa: E402


@pytest.fixture(scope="module")
def classified(sentences, tmp_path_factory):  # noqa: F811
    """A finetuned model with what classify.py says of its validation set, in two batch sizes."""
    folder = tmp_path_factory.mktemp("classified")
    cfg = config(sentences, folder, max_update=12, lr=[0.01])
    finetune(cfg)
    for size in (1, 5):
        run_classify(sentences, folder / "checkpoint_last.pt", folder / f"{size}.txt", size)
    return folder


def run_classify(data, model, output, size):
    arguments = ["classify.py", data, "--path", model, "--gen-subset", "valid"]
    arguments += ["--batch-size", size]
    with pytest.MonkeyPatch.context() as patch, output.open("w") as file:
        patch.setattr(sys, "argv", [str(one) for one in arguments])
        patch.setattr(sys, "stdout", file)
        classify.main()


def test_every_sentence_gets_its_class(classified, sentences):  # noqa: F811
    """The references are those of the data, and the batch size changes nothing."""
    from test_glue import examples

    texts = [(classified / f"{size}.txt").read_text() for size in (1, 5)]
    found = [dict(re.findall(r"^([TH]-\d+)\t(?:\S+\t)?(\w+)$", text, re.M)) for text in texts]
    assert found[0] == found[1]
    labels = examples(sentences, "label", "valid")
    assert {n: found[0][f"T-{n}"] for n in range(len(labels))} == dict(enumerate(labels))
    score = read_score(classified / "5.txt")
    assert score.utterances == len(score.errors) == len(labels) == 13
    wrong = sum(found[0][f"T-{n}"] != found[0][f"H-{n}"] for n in range(len(labels)))
    assert score.error_rate == pytest.approx(100 * wrong / len(labels))
    assert sum(one.word_edits for one in score.errors.values()) == wrong


def test_the_error_rate_is_that_of_the_stock_criterion(classified, sentences):  # noqa: F811
    """With fairseq's own batches."""
    path = str(classified / "checkpoint_last.pt")
    (model,), cfg, task = checkpoint_utils.load_model_ensemble_and_task([path])
    criterion, model = task.build_criterion(cfg.criterion), model.eval()
    batches = task.get_batch_iterator(task.load_dataset("valid"), max_sentences=4)
    right = sum(
        int(criterion(model, batch)[2]["ncorrect"])
        for batch in batches.next_epoch_itr(shuffle=False)
    )
    assert 0 < right < 13
    rate = read_score(classified / "5.txt").error_rate
    assert rate == pytest.approx(100 * (13 - right) / 13)


def test_a_report_of_classes(tmp_path):
    """The error rate has its name, and each sentence is drawn as a speaker would be."""
    study = make_study(tmp_path)
    for run in (study / "runs").iterdir():
        mask = Mask.load(run / "mask.safetensors")
        renamed = {n.replace("encoder.", "encoder.sentence_encoder."): mask[n] for n in mask}
        Mask(renamed).save(run / "mask.safetensors")
        wrong = 3 if run.name.startswith("dense") else 1
        for split in ("valid", "test"):
            lines = []
            for number in range(8):
                found = "0" if number < wrong else "1"
                lines += [
                    f"T-{number}\t1",
                    f"H-{number}\t-0.1\t{found}",
                    f"D-{number}\t-0.1\t{found}",
                ]
            lines.append(f"Generate {split} with 8 sentences: error rate: {100 * wrong / 8}")
            (run / f"{split}.txt").write_text("\n".join(lines) + "\n")
    plan = json.loads((study / "plan.json").read_text())
    (study / "plan.json").write_text(json.dumps({**plan, "labels": "label"}))
    assert parp(["report", str(study)]) == 0
    text = (study / "report" / "report.md").read_text()
    assert "## Error rate on test, %" in text
    assert "by a paired bootstrap over the 8 sentences" in text
    assert not re.search(r"WER|CER|speakers|audio|multiply", text)
    with (study / "report" / "runs.csv").open() as file:
        rates = {row["run"]: row["error_rate_test"] for row in csv.DictReader(file)}
    assert rates["dense-0-seed1"] == "37.5" and rates["parp-0.3-seed1"] == "12.5"
    with (study / "report" / "intervals.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["measure"], row["speakers"], row["difference"]) for row in rows} == {
        ("error_rate", "8", "-25.0000")
    }
    with (study / "report" / "layers.csv").open() as file:
        assert {row["part"] for row in csv.DictReader(file)} == {"0", "1", "k_proj", "fc1"}
    # Two of eight sentences differ, and a bootstrap draws from 0 to 5 of them in 95 of 100 cases.
    assert {(row["low"], row["high"]) for row in rows} == {("-62.5000", "0.0000")}


def test_the_log_of_a_classifier(tmp_path):
    log = tmp_path / "hydra_train.log"
    stats = {"num_updates": "20", "loss": "0.9", "nll_loss": "0.1", "accuracy": "60"}
    valid = {"valid_num_updates": "20", "valid_accuracy": "87.5"}
    lines = [("train_inner", stats), ("valid", valid)]
    log.write_text("".join(f"[2026][{at}][INFO] - {json.dumps(of)}\n" for at, of in lines))
    assert (read_log(log).loss, read_log(log).valid) == ({20: 0.9}, {20: 12.5})


def snakemake(folder: Path, study: Path, *options):
    line = ["-s", STUDY / "Snakefile", "--configfile", study, "-d", folder, *options]
    return programs.run("snakemake", *line)


def test_the_study_of_sst2_is_ready(tmp_path):
    pytest.importorskip("snakemake", reason="Snakemake needs Python 3.11")
    encoder = tmp_path / "minilm" / "encoder.pt"
    encoder.parent.mkdir()
    encoder.touch()
    given = ["--config", f"source={tmp_path}", f"encoder={encoder}"]
    done = snakemake(tmp_path, STUDY / "sst2.yaml", "-n", "-p", *given)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # Four methods at three sparsities and the dense one, five seeds; masks of OMP and IMP.
    for rule, count in {"prepare": 1, "train": 65, "mask": 30, "classify": 65}.items():
        assert re.search(rf"^{rule} +{count}$", said, re.M), rule
    assert "rule score" not in said
    (starts,) = set(re.findall(r"checkpoint\.finetune_from_model=\S+", said))
    assert str(encoder) in starts
    assert f"glue.py {tmp_path} {tmp_path / 'data'} --encoder {encoder} " in said
    assert "w2v_path" not in said


@pytest.mark.parametrize(
    "change, message",
    [
        ({"decoders": {"lm": "--decoder lexicon"}}, "decoders are given: expected none"),
        ({"recipe": "mini", "pairs": True}, "pairs is true: expected it for sentences only"),
    ],
)
def test_what_no_study_of_text_has_is_refused(change, message):
    from kinds import kind_of

    study = {"labels": "ltr", "pairs": False, "decoders": {}, "recipe": "sst2", **change}
    task = "parp" if study["recipe"] == "mini" else "parp_sentence_prediction"
    with pytest.raises(ValueError, match=message):
        kind_of(study, {"dense": {"task": {"_name": task}}})


def test_the_encoder_is_not_taken_for_a_finetuned_model():
    """All text trainings start from a file by an option that S3-Router-P has for another one."""
    pytest.importorskip("snakemake", reason="Snakemake needs Python 3.11")
    from test_study_plan import planned

    runs = planned(recipe="sst2", methods=["dense", "omp", "parp", "s3_router_p"], seeds=[1])
    built_on = {run.method: run.built_on and run.built_on.method for run in runs}
    assert built_on == {"dense": None, "omp": "dense", "parp": None, "s3_router_p": "dense"}


@pytest.mark.slow
def test_a_study_of_pairs_from_tables_to_a_report(tmp_path):
    pytest.importorskip("snakemake", reason="Snakemake needs Python 3.11")
    pytest.importorskip("transformers")
    encoder = tmp_path / "tiny encoder"
    bert = [sys.executable, REPOSITORY / "manifests" / "bert.py", write_bert(tmp_path / "bert")]
    subprocess.run([*bert, encoder], check=True)
    script = REPOSITORY / "manifests" / "glue.py"
    sizes = {option: SIZES[key] for option, key in (
        ("encoder_layers", "num_hidden_layers"), ("encoder_embed_dim", "hidden_size"),
        ("encoder_ffn_embed_dim", "intermediate_size"),
        ("encoder_attention_heads", "num_attention_heads"),
    )}  # fmt: skip
    study = {
        "recipe": "sst2",
        "encoder": str(encoder / "encoder.pt"),
        "data": "data",
        "prepare": f"python {script} {{source}} {{data}} --encoder {{encoder}} --valid 9",
        "source": str(write_tables(tmp_path / "tables", pairs=True)),
        "pairs": True,
        "methods": ["dense", "omp", "parp"],
        "sparsities": [0.5],
        "seeds": [1],
        "overrides": [
            "optimization.max_update=8",
            "lr_scheduler.warmup_updates=2",
            "task.prune_interval=2",
            f"task.max_positions={SIZES['max_position_embeddings']}",
            *(f"model.{option}={size}" for option, size in sizes.items()),
        ],
    }
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study))
    done = snakemake(tmp_path / "out", file, "-j", 2)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out" / "report" / "runs.csv").open() as rows:
        runs = {row["method"]: row for row in csv.DictReader(rows)}
    assert {method: int(row["trainings"]) for method, row in runs.items()} == {
        "dense": 1, "omp": 2, "parp": 1,
    }  # fmt: skip
    for row in runs.values():
        assert float(row["sparsity_measured"]) == float(row["sparsity"])
        assert (row["utterances_valid"], row["utterances_test"]) == ("9", "12")
    text = (tmp_path / "out" / "report" / "report.md").read_text()
    assert "All 3 runs are finished" in text and "12 sentences" in text
    again = snakemake(tmp_path / "out", file, "-n")
    assert "Nothing to be done" in again.stdout + again.stderr
