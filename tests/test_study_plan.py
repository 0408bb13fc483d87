"""recipes/study/: what a study file may say, checked without running Snakemake."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("snakemake", reason="Snakemake needs Python 3.11")

RECIPES = Path(__file__).parents[1] / "recipes"
sys.path.insert(0, str(RECIPES / "study"))
from composed import compose, read_presets  # noqa: E402
from overrides import (  # noqa: E402
    check_options_by_method,
    code_digest,
    parse,
    require_free,
    value_of,
    with_own_methods,
)
from plan import evaluations, mask_options, plan  # noqa: E402
from quoting import fill, hydra_option  # noqa: E402

STUDY = {
    "recipe": "mini",
    "encoder": "encoder.pt",
    "data": "data",
    "methods": ["dense", "rp", "mpi", "omp", "imp", "parp", "parp_p"],
    "sparsities": [0.3, 0.5],
    "seeds": [1, 2],
    "labels": "ltr",
    "overrides": [],
    "gpus": 0,
}
PRESETS = read_presets(RECIPES)


def planned(recipes=RECIPES, version="1", **change):
    study = {**STUDY, **change}
    overrides = parse(study["overrides"])
    presets = with_own_methods(read_presets(recipes), study.get("presets", {}), study["methods"])
    require_free(overrides, presets, study["methods"])
    options_by_method = study.get("options_by_method", {})
    check_options_by_method(options_by_method, presets, study["methods"])
    configs = compose(recipes, study["recipe"], overrides, presets, options_by_method)
    return plan(study, configs, version)


def test_each_split_is_scored_with_each_decoder_and_the_main_one_is_last():
    study = {"splits": ["valid", "test"], "decoders": {"lm": "--decoder lexicon"}}
    assert evaluations(study) == ["valid+lm", "valid", "test+lm", "test"]
    assert evaluations({**study, "decoders": {}}) == ["valid", "test"]


def names(**change):
    return {run.name for run in planned(**change)}


@pytest.mark.parametrize(
    "override, decides",
    [
        ("common.seed=7", "`seeds`"),
        ("++common.seed=7", "`seeds`"),
        ("task.seed=7", "`seeds`"),
        ("+task.sparsity=0.3", "`sparsities`"),
        ("task.adjust=true", "`methods`"),
        ("task.mask_file=/masks/one.safetensors", "`methods`"),
        ("task.prune_criterion=random", "`methods`"),
        ("task.initial_sparsity=0.1", "`methods`"),
        ("~task.sparsity", "`sparsities`"),
        ("~task", "`sparsities`"),
        ("task={sparsity: 0.3}", "`sparsities`"),
        ("common={seed: 7}", "`seeds`"),
        ("+method=rp", "`methods`"),
        ("method=rp", "`methods`"),
        ("task._name=audio_finetuning", "`methods`"),
        ("task.labels=phn", "`labels`"),
        ("task.data=/other", "`data`"),
        ("model.w2v_path=/other.pt", "`encoder`"),
        ("distributed_training.distributed_world_size=2", "`gpus`"),
        ("hydra.run.dir=/elsewhere", "the study"),
        ("hydra/job_logging=disabled", "the study"),
        ("checkpoint.save_dir=/elsewhere", "the study"),
        ("checkpoint={save_dir: /elsewhere}", "the study"),
        ("common.log_format=simple", "the study"),
    ],
)
def test_overrides_of_what_the_study_decides_are_refused_by_name(override, decides):
    with pytest.raises(ValueError) as refused:
        planned(overrides=["optimization.max_update=3", override])
    assert f"{override!r} changes" in str(refused.value)
    assert decides in str(refused.value)


@pytest.mark.parametrize(
    "override, message",
    [
        ("optimization.max_update=3,5", "has several values"),
        ("optimization.max_update", "optimization.max_update"),
        ("task.prune_scope=re:(", "task.prune_scope=re:("),
    ],
)
def test_overrides_that_hydra_does_not_read_are_refused(override, message):
    with pytest.raises(ValueError, match="overrides: ") as refused:
        planned(overrides=[override])
    assert message in str(refused.value)


def test_other_overrides_are_free():
    free = ["optimization.lr=[0.1]", "++dataset.num_workers=0", "task.prune_interval=7"]
    assert planned(overrides=[*free, "model.freeze_finetune_updates=5"])
    # Where all runs are PARP-P, where it starts is a setting like others.
    assert planned(methods=["parp_p"], overrides=["task.initial_sparsity=0.2"])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sparsities": [0.05, 0.5]}, "parp_p at sparsity 0.05 cannot be trained"),
        (
            {"methods": ["mpi"], "overrides": ["task.prune_pattern='2:4'"]},
            "mpi at sparsity 0.3 cannot be trained: prune_pattern 2:4 prunes a share of 0.5",
        ),
        (
            {"sparsities": [0.5], "overrides": ["task.prune_pattern='2:4'"]},
            "parp_p at sparsity 0.5 cannot be trained: prune_pattern 2:4",
        ),
        ({"overrides": ["task.ramp_updates=99999"]}, "ramp_updates is 99999"),
        ({"recipe": "librispeach"}, "recipe is 'librispeach': expected one of commonvoice_xlsr53"),
        ({"imp_rounds": [0.1, 0.3]}, "imp_rounds is .*: expected all of sparsities, also .0.5."),
        (
            {"sparsities_by_method": {"s3_router": [0.1]}},
            "sparsities_by_method has s3_router, which is not one of methods",
        ),
    ],
)
def test_what_cannot_run_is_refused_when_it_is_planned(change, message):
    with pytest.raises(ValueError, match=message):
        planned(**change)


@pytest.mark.parametrize("numerator, denominator", [(2, 3), (1, 3), (1, 7), (3, 4), (12345, 99991)])
def test_any_sparsity_survives_names_and_options(numerator, denominator):
    sparsity = numerator / denominator
    overrides = [f"task.prune_pattern='{denominator - numerator}:{denominator}'"]
    (run,) = planned(methods=["mpi"], sparsities=[sparsity], seeds=[1], overrides=overrides)
    _, named, *_ = run.name.split("-")
    (option,) = [o for o in run.options if o.startswith("task.sparsity=")]
    assert float(named) == float(option.split("=")[1]) == sparsity
    assert parse([option])[0].value() == sparsity


def test_a_run_is_known_by_all_that_decides_its_weights(tmp_path):
    """And by nothing else: a comment in a recipe, or another method's preset, changes nothing."""
    recipes = tmp_path / "recipes"
    subprocess.run(["cp", "-r", RECIPES, recipes], check=True)

    def edited(file: str, old: str, new: str) -> set:
        path = recipes / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        try:
            return names(recipes=recipes)
        finally:
            path.write_text(text)

    before = names()
    assert names(recipes=recipes) == before
    assert edited("mini.yaml", "task:", "# a comment\ntask:") == before
    assert not edited("finetuning/ctc.yaml", "adam_eps: 1e-08", "adam_eps: 1e-07") & before
    assert not names(version="2") & before
    changed = before - edited(
        "method/parp_p.yaml", "initial_sparsity: 0.1", "initial_sparsity: 0.2"
    )
    assert changed == {name for name in before if name.startswith("parp_p")}
    changed = before - edited(
        "method/dense.yaml", "sparsity: 0.0", "sparsity: 0.0\n  min_sample_size: 9"
    )
    # OMP and IMP build on the dense model.
    assert changed == {name for name in before if name.split("-")[0] in ("dense", "omp", "imp")}


def test_masks_cover_what_the_trainings_prune():
    overrides = parse(["task.prune_scope='re:layers\\.1'", "task.prune_bias=false"])
    task = compose(RECIPES, "mini", overrides, PRESETS, {})["omp"]["task"]
    assert mask_options(task) == ["--scope=re:layers\\.1", "--pattern=global", "--no-bias"]
    assert value_of(overrides, "task.prune_bias", True) is False


PATHS = [
    "/data/two words",
    "/data/lr=0.1",
    "/data/a,b",
    "/data/st(1)",
    "/data/it's",
    '/data/"quoted"',
    "/data/[a]#:;&|*?!~ü",
    "/data/back\\slash",
    "/data/ends with\\",
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_reach_hydra_as_they_are(path):
    assert parse([hydra_option("task.data", Path(path))])[0].value() == path


@pytest.mark.parametrize("character", ["{", "}", "$", "\n"])
def test_paths_that_would_change_are_refused(character):
    with pytest.raises(ValueError, match=r"task.data is .*: expected a path without"):
        hydra_option("task.data", Path(f"/data/a{character}b"))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("template", ["{data}", '"{data}"', "'{data}'", '"{data}/x"', "a\\ {data}"])
def test_paths_reach_the_shell_as_they_are(path, template):
    (word,) = shlex.split(fill(template, {"data": path}))
    assert word == template.strip("\"'").replace("\\", "").replace("{data}", path)


def test_the_rest_of_the_command_stays():
    command = "python {repository}/x.py {source} {data} && echo ${HOME} '{other}'"
    filled = fill(command, {"repository": "/r", "source": "/a b", "data": "/d"})
    assert filled == "python /r/x.py '/a b' /d && echo ${HOME} '{other}'"


def test_learned_masks_and_bitfit_are_planned():
    runs = planned(methods=["dense", "s3_router", "s3_router_p", "bitfit"], seeds=[1])
    found = {(run.method, run.sparsity): run for run in runs}
    assert set(found) == {("dense", 0.0), ("bitfit", 0.0)} | {
        (method, sparsity) for method in ("s3_router", "s3_router_p") for sparsity in (0.3, 0.5)
    }
    dense = found["dense", 0.0]
    assert found["s3_router_p", 0.3].weights_from == dense
    assert found["s3_router_p", 0.3].chain == [dense, found["s3_router_p", 0.3]]
    assert found["s3_router", 0.3].chain == [found["s3_router", 0.3]]
    assert found["bitfit", 0.0].options == ["+method=bitfit", "common.seed=1"]
    assert "task.sparsity=0.3" in found["s3_router", 0.3].options


def test_a_method_may_have_sparsities_of_its_own():
    runs = planned(
        methods=["dense", "mpi", "imp", "s3_router"],
        sparsities_by_method={"s3_router": [0.05], "imp": [0.2, 0.4]},
        seeds=[1],
    )
    assert [(run.method, run.sparsity) for run in runs] == [
        ("dense", 0.0), ("mpi", 0.3), ("mpi", 0.5), ("imp", 0.2), ("imp", 0.4), ("s3_router", 0.05)
    ]  # fmt: skip
    assert [run.sparsity for run in runs[4].chain] == [0.0, 0.2, 0.4]


def test_a_method_may_have_options_of_its_own():
    usual, other = (
        {(run.method, run.sparsity): run for run in planned(seeds=[1], **change)}
        for change in (
            {},
            {"options_by_method": {"imp": {"optimization.lr": [0.001]}, "parp": {"task.x": 5}}},
        )
    )
    changed = {run.method for cell, run in other.items() if run.name != usual[cell].name}
    assert changed == {"imp", "parp"}
    assert "++optimization.lr=[0.001]" in other["imp", 0.5].options
    assert other["imp", 0.3].built_on == usual["dense", 0.0]
    values = {one.key_or_group: one.value() for one in parse(other["parp", 0.5].options)}
    assert values["task.x"] == 5 and values["task.sparsity"] == 0.5


def test_the_two_protocols_differ_in_what_they_freeze_and_in_what_was_chosen():
    files = [RECIPES / "study" / f"protocols_{name}.yaml" for name in ("matched", "published")]
    matched, published = studies = [yaml.safe_load(file.read_text()) for file in files]
    decided = {"overrides", "options_by_method"}
    assert {key for key in matched if matched[key] != published[key]} == decided
    of_protocol = {"model.freeze_share", "optimization.lr", "task.prune_interval"}
    settings = []
    for study in studies:
        overrides, options = parse(study["overrides"]), study["options_by_method"]
        configs = compose(RECIPES, study["recipe"], overrides, PRESETS, options)
        settings.append({method: options_of(configs[method]) for method in STUDY["methods"]})
        runs = planned(**study)
        assert len({run.name for scored in runs for run in scored.chain}) == 3 * (1 + 6 * 4)
    for method, of_matched in settings[0].items():
        of_published = settings[1][method]
        unlike = {key for key in of_matched if of_matched[key] != of_published[key]}
        assert unlike <= of_protocol and "model.freeze_share" in unlike
        assert of_matched["model.freeze_share"] == 0.15
        assert of_published["model.freeze_share"] == (0 if method.startswith("parp") else 0.8333)


@pytest.mark.parametrize("name, rate, runs", [("one_rate", 0.004, 9), ("sentences", 0.001, 4)])
def test_one_rate_is_that_of_all_methods(name, rate, runs):
    study = yaml.safe_load((RECIPES / "study" / f"protocols_{name}.yaml").read_text())
    overrides = parse(study["overrides"])
    configs = compose(RECIPES, study["recipe"], overrides, PRESETS, {})
    for method in study["methods"]:
        of_method = options_of(configs[method])
        assert of_method["optimization.lr"] == [rate]
        assert of_method["model.freeze_share"] == 0.15
    assert len(planned(**study)) == runs


def options_of(config):
    return {
        f"{group}.{option}": value
        for group, options in config.items()
        for option, value in options.items()
    }


@pytest.mark.parametrize(
    "options, message",
    [
        ({"snip": {"task.x": 1}}, "options_by_method has snip, which is not one of methods"),
        ({"imp": {"task.sparsity": 0.1}}, "'imp' sets task.sparsity, which the study decides"),
        ({"parp": {"task.adjust": False}}, "'parp' sets task.adjust, which the study decides"),
        ({"rp": {"hydra.run": "x"}}, "'rp' sets hydra.run, which the study decides"),
    ],
)
def test_options_of_a_method_that_the_study_decides_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        planned(options_by_method=options)


MINE = {"mine": {"task.prune_rule": "mine", "task.adjust": True}}


def test_a_method_of_ones_own_is_planned():
    runs = planned(methods=["dense", "mine"], seeds=[1], presets=MINE)
    assert [(run.method, run.sparsity) for run in runs] == [
        ("dense", 0.0), ("mine", 0.3), ("mine", 0.5),
    ]  # fmt: skip
    options = runs[1].options
    values = {one.key_or_group: one.value() for one in parse(options)}
    assert values == {
        "task.prune_rule": "mine", "task.adjust": True, "common.seed": 1, "task.sparsity": 0.3,
    }  # fmt: skip
    other = {"mine": {"task.prune_rule": "other", "task.adjust": True}}
    assert runs[1].name != planned(methods=["mine"], seeds=[1], presets=other)[0].name


@pytest.mark.parametrize(
    "change, message",
    [
        ({"methods": ["magic"]}, "methods: 'magic' is not one of bitfit, .*, or of `presets`"),
        ({"presets": {"parp": {"task.adjust": True}}}, "presets: 'parp' is the name of a method"),
        ({"presets": {"mine": {"task.sparsity": 0.1}}}, "'mine' sets task.sparsity, which the"),
        ({"presets": {"mine": {"checkpoint.save_dir": "x"}}}, "'mine' sets checkpoint.save_dir"),
        (
            {"presets": MINE, "overrides": ["task.prune_rule=parp"]},
            "changes task.prune_rule, which `methods`",
        ),
    ],
)
def test_methods_of_ones_own_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        planned(**change)


def test_other_code_in_the_user_dir_is_another_run(tmp_path):
    (tmp_path / "__init__.py").write_text("a = 1")
    overrides = parse([f"common.user_dir={tmp_path}"])
    before = code_digest(overrides)
    (tmp_path / "__init__.py").write_text("a = 2")
    assert before != code_digest(overrides) != 0
    assert code_digest(parse(["common.user_dir=parp_fairseq"])) == 0


def test_a_pattern_can_be_chosen_unless_a_method_fixes_it():
    override = "task.prune_pattern=layerwise"
    assert planned(methods=["parp"], overrides=[override])
    with pytest.raises(ValueError, match=r"changes task\.prune_pattern, which `methods`"):
        planned(methods=["parp", "s3_router"], overrides=[override])
