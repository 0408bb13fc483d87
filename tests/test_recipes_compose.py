"""recipes/: every recipe with every method gives the values that it promises, on any Hydra."""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Optional

import hydra
import programs
import pytest
import yaml
from fairseq.criterions.ctc import CtcCriterionConfig
from fairseq.dataclass.initialize import hydra_init
from fairseq.optim.adam import FairseqAdamConfig
from fairseq.optim.lr_scheduler.tri_stage_lr_scheduler import TriStageLRScheduleConfig
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from parp_fairseq.models.parp_hubert_ctc import ParpHubertCtcConfig
from parp_fairseq.models.parp_wav2vec_ctc import ParpWav2VecCtcConfig
from parp_fairseq.tasks.options import ParpConfig

try:
    from hydra import compose, initialize_config_dir
except ImportError:  # Hydra 1.0
    from hydra.experimental import compose, initialize_config_dir

RECIPES = Path(__file__).parents[1] / "recipes"

# The hyperparameters of the paper's authors.
AUTHORS = """
                     updates     lr  mask_prob channel layerdrop max_tokens freq  epochs
librispeech_10m_base   12000   5e-5       0.75   0.512      0.05    3200000    2      50
librispeech_1h_base    15000   5e-5       0.75   0.256      0.05    3200000    2      50
librispeech_10h_base   20000   5e-5       0.65   0.256      0.05    3200000    2       5
librispeech_10m_large  12000   5e-5       0.75   0.512       0.1     600000    5      10
librispeech_1h_large   15000   5e-5       0.75   0.256       0.1     600000    5       5
librispeech_10h_large  12000   1e-4       0.65   0.256       0.1     600000    5       1
commonvoice_xlsr53     12000   1e-4       0.75   0.256       0.1    1280000    5       5
"""
ROWS = {line.split()[0]: [float(v) for v in line.split()[1:]] for line in AUTHORS.split("\n")[2:-1]}
# Encoders that the authors did not use have the values of a wav2vec 2.0 of the same size.
OTHERS = {
    "librispeech_10m_hubert_base": "librispeech_10m_base",
    "librispeech_10m_hubert_large": "librispeech_10m_large",
    "librispeech_10m_data2vec_base": "librispeech_10m_base",
}
ROWS |= {name: ROWS[same] for name, same in OTHERS.items()}
TINY = {"fsdd", "mini"}
ALL = sorted({*ROWS, *TINY})
TEXT = {"sentence_prediction": 2, "sst2": None}  # recipe -> its separator_token
EACH_KIND = {"commonvoice_xlsr53", "fsdd"}
NORMALIZED = {"commonvoice_xlsr53", "librispeech_10m_data2vec_base", *TINY}
NORMALIZED |= {name for name in ROWS if "large" in name}
OWN_OF_MODEL = {"mask_prob", "mask_channel_prob", "layerdrop"}  # compared in the authors' table

TASK_DEFAULTS = {
    "sparsity": 0.5,
    "initial_sparsity": None,
    "sparsity_ramp": "linear",
    "ramp_updates": None,
    "prune_interval": 50,
    "adjust": True,
    "mask_file": None,
    "prune_criterion": "magnitude",
    "prune_rule": "parp",
    "prune_pattern": "global",
    "prune_scope": "transformer",
    "prune_bias": True,
    "mask_per_corpus": False,
    "learn_mask": False,
    "score_init": "rank",
    "trainable": None,
}
LAYERWISE = {"prune_pattern": "layerwise"}
LEARNED = {"learn_mask": True, "prune_pattern": "layerwise", "prune_bias": False}
MASK_WANTED = "??? (give task.mask_file=FILE)"
METHODS: dict[str, dict[str, Any]] = {
    "dense": {"sparsity": 0.0},
    "rp": {"prune_criterion": "random", "adjust": False},
    "mpi": {"adjust": False},
    "omp": {"adjust": False, "mask_file": MASK_WANTED},
    "imp": {"adjust": False, "mask_file": MASK_WANTED},
    "parp": {},
    "parp_p": {"initial_sparsity": 0.1},
    "s3_router": {**LEARNED, "sparsity": 0.1},
    "s3_router_p": {**LEARNED, "score_init": "magnitude"},
    "bitfit": {"sparsity": 0.0, "trainable": "bias"},
    "wanda": {"prune_criterion": "wanda", **LAYERWISE},
    "taylor": {"prune_criterion": "taylor", **LAYERWISE},
    "snip": {"prune_criterion": "taylor", "adjust": False, **LAYERWISE},
    "movement": {
        **LAYERWISE,
        "prune_criterion": "movement",
        "initial_sparsity": 0.0,
        "sparsity_ramp": "cubic",
    },
    "fisher": {"prune_criterion": "fisher", **LAYERWISE},
    "rigl": {"prune_rule": "rigl", **LAYERWISE},
}
# What presets set outside of the task.
FINETUNED_WANTED = "??? (give checkpoint.finetune_from_model=FILE)"
CHECKPOINT = {"s3_router_p": {"finetune_from_model": FINETUNED_WANTED}}


@pytest.fixture(autouse=True)
def _fresh_hydra() -> Iterator[None]:
    """Neither Hydra's state nor the schemas that hydra_init stores are seen by other tests."""
    Plugins.instance()  # stores the schemas of Hydra's own sweeper and launcher, once in a process
    store = ConfigStore.instance()
    before = deepcopy(store.repo)
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()
    store.repo = before


def config_dir(folder: Path) -> AbstractContextManager[None]:
    if hydra.__version__.startswith("1.0."):
        return initialize_config_dir(config_dir=str(folder))
    # As fairseq, which gives none; and Hydra remembers it for the tests that come after.
    return initialize_config_dir(config_dir=str(folder), version_base="1.1")


@cache
def composed(recipe: str, *overrides: str) -> dict[str, Any]:
    """The config that fairseq-hydra-train composes, as plain dicts, to be read only."""
    hydra_init(recipe)
    with config_dir(RECIPES):
        cfg = compose(recipe, list(overrides))
    return OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)


def expected_task(recipe: str, method: Optional[str]) -> dict[str, Any]:
    epochs = int(ROWS[recipe][7]) if recipe in ROWS else None
    phonemes = recipe == "commonvoice_xlsr53"
    return {
        "_name": "parp",
        "data": "???",
        "labels": "phn" if phonemes else "ltr",
        "normalize": recipe in NORMALIZED,
        **TASK_DEFAULTS,
        "prune_interval_epochs": epochs,
        "method": method,
        **METHODS.get(method, {}),
    }


def test_recipes_and_methods_are_those_of_the_tables() -> None:
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {*ALL, *TEXT}
    assert {path.stem for path in (RECIPES / "method").glob("*.yaml")} == set(METHODS)


@pytest.mark.parametrize("recipe", ALL)
def test_task_options_with_every_method(recipe: str) -> None:
    plain = composed(recipe)
    assert plain["task"] == expected_task(recipe, None)
    # Composing takes half a second; a preset sets the same options whatever the recipe.
    for method in METHODS if recipe == "fsdd" else ["s3_router_p"]:
        cfg = composed(recipe, f"+method={method}")
        assert cfg["task"] == expected_task(recipe, method), method
        checkpoint = {**plain["checkpoint"], **CHECKPOINT.get(method, {})}
        assert {**cfg, "task": None} == {**plain, "task": None, "checkpoint": checkpoint}, method


# Updates for which the authors froze the encoder of dense, OMP and IMP: 10,000 of these.
FROZEN_UPDATES = 10_000
PROTOCOLS = {"matched": 0, "as_published": FROZEN_UPDATES, "as_published_parp": 0}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_changes_what_is_frozen_and_nothing_else(protocol: str) -> None:
    for recipe, method in (("librispeech_10m_base", "imp"), ("commonvoice_xlsr53", "parp_p"),
                           ("fsdd", "dense")):  # fmt: skip
        plain = composed(recipe, f"+method={method}")
        cfg = composed(recipe, f"+method={method}", f"+protocol={protocol}")
        share = cfg["model"]["freeze_share"]
        assert round(share * 12_000) == PROTOCOLS[protocol]
        assert {**cfg, "model": {**cfg["model"], "freeze_share": None}} == plain, method


def test_protocols_are_those_of_the_table() -> None:
    assert {path.stem for path in (RECIPES / "protocol").glob("*.yaml")} == set(PROTOCOLS)


@pytest.mark.parametrize("share, updates", [(0.6667, 15_000), (0.5, 20_000)])
def test_the_shares_that_the_preset_names_are_the_authors_updates(
    share: float, updates: int
) -> None:
    text = (RECIPES / "protocol" / "as_published.yaml").read_text()
    assert f"model.freeze_share={share}" in text
    assert round(share * updates) == FROZEN_UPDATES


@pytest.mark.parametrize("recipe", ROWS)
def test_numbers_of_the_authors(recipe: str) -> None:
    cfg = composed(recipe)
    found = [
        cfg["optimization"]["max_update"],
        *cfg["optimization"]["lr"],
        cfg["model"]["mask_prob"],
        cfg["model"]["mask_channel_prob"],
        cfg["model"]["layerdrop"],
        cfg["dataset"]["max_tokens"],
        *cfg["optimization"]["update_freq"],
        cfg["task"]["prune_interval_epochs"],
    ]
    assert found == ROWS[recipe]
    valid_subset = cfg["dataset"]["valid_subset"]
    assert valid_subset == ("dev_other" if recipe.startswith("librispeech") else "valid")


@pytest.mark.parametrize("recipe, same", OTHERS.items())
def test_a_recipe_of_another_encoder_differs_in_what_the_encoder_needs(
    recipe: str, same: str
) -> None:
    ours, reference = (dict(leaves(composed(name))) for name in (recipe, same))
    different = {key for key in ours | reference if ours.get(key) != reference.get(key)}
    assert different == {"model._name" if "hubert" in recipe else "task.normalize"}


@pytest.mark.parametrize("recipe", ALL)
def test_what_all_recipes_share(recipe: str) -> None:
    cfg = composed(recipe)
    mask_length, mask_channel_length = (5, 16) if recipe in TINY else (10, 64)
    dropout = 0.1 if recipe in TINY else 0.0
    assert {k: v for k, v in cfg["model"].items() if k not in OWN_OF_MODEL} == {
        "_name": "parp_hubert_ctc" if "hubert" in recipe else "parp_wav2vec_ctc",
        "w2v_path": "???",
        "apply_mask": True,
        "mask_length": mask_length,
        "mask_channel_length": mask_channel_length,
        "activation_dropout": 0.1,
        "attention_dropout": 0.0,
        "dropout": dropout,
        "dropout_input": 0.0,
        "final_dropout": dropout,
        "feature_grad_mult": 0.0,
        "freeze_finetune_updates": 0,
        "freeze_share": None,
    }
    assert cfg["optimizer"] == {"_name": "adam", "adam_betas": "(0.9,0.98)", "adam_eps": 1e-8}
    assert cfg["lr_scheduler"] == {
        "_name": "tri_stage",
        "phase_ratio": [0.1, 0.4, 0.5],
        "final_lr_scale": 0.05,
    }
    phonemes = recipe == "commonvoice_xlsr53"
    post_process = "none" if phonemes else "letter"
    ctc = {"_name": "ctc", "zero_infinity": True, "post_process": post_process}
    assert cfg["criterion"] == ctc
    assert cfg["checkpoint"]["best_checkpoint_metric"] == ("uer" if phonemes else "wer")
    assert cfg["common"]["user_dir"] == "parp_fairseq"
    half = ("fp16", "bf16", "memory_efficient_fp16", "memory_efficient_bf16", "amp")
    assert not any(cfg["common"][name] for name in half)


@pytest.mark.parametrize("recipe", ALL)
def test_only_paths_are_missing(recipe: str) -> None:
    found = sorted(key for key, value in leaves(composed(recipe)) if str(value).startswith("???"))
    assert found == ["model.w2v_path", "task.data"]
    found = [k for k, v in leaves(composed(recipe, "+method=omp")) if str(v).startswith("???")]
    assert sorted(found) == ["model.w2v_path", "task.data", "task.mask_file"]


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything in a config that is no dict."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


OVERRIDES = {
    "data": "/data",
    "labels": "wrd",
    "normalize": False,
    "sparsity": 0.9,
    "initial_sparsity": 0.2,
    "sparsity_ramp": "cubic",
    "ramp_updates": 7,
    "prune_interval": 3,
    "prune_interval_epochs": 2,
    "adjust": True,
    "mask_file": "/mask.safetensors",
    "prune_criterion": "random",
    "prune_rule": "rigl",
    "prune_pattern": "2:4",
    "prune_scope": "all",
    "prune_bias": False,
    "learn_mask": True,
    "score_init": "random",
    "trainable": "bias",
    "mask_per_corpus": True,
}


@pytest.mark.parametrize("recipe", sorted(EACH_KIND))
@pytest.mark.parametrize("method", [None, "omp", "parp_p"])
def test_the_command_line_wins(recipe: str, method: Optional[str]) -> None:
    chosen = [f"+method={method}"] if method else []
    given = [f"task.{key}={value}" for key, value in OVERRIDES.items()]
    cfg = composed(recipe, "model.mask_prob=0.1", "optimization.lr=[0.1]", *given, *chosen)
    assert cfg["task"] == {"_name": "parp", "method": method, **OVERRIDES}
    assert cfg["model"]["mask_prob"] == 0.1
    assert cfg["optimization"]["lr"] == [0.1]


@pytest.mark.parametrize("recipe", TEXT)
def test_recipes_for_text_have_the_options_of_pruning(recipe: str) -> None:
    for method in (None, "omp", "parp_p"):
        task = composed(recipe, *([f"+method={method}"] if method else []))["task"]
        interval = {"prune_interval": task["prune_interval"], "prune_interval_epochs": None}
        expected = {**TASK_DEFAULTS, **interval, **METHODS.get(method, {}), "method": method}
        del expected["mask_per_corpus"]  # of corpora of speech
        assert {name: task[name] for name in expected} == expected
        assert task["separator_token"] == TEXT[recipe]
        assert task["data"] == "???"
    # A bare ??? would be null in fairseq, and the training would start from random weights.
    origin = composed(recipe)["checkpoint"]["finetune_from_model"]
    assert origin == "??? (give checkpoint.finetune_from_model=ENCODER)"


@pytest.mark.parametrize("recipe", [*ALL, *TEXT])
def test_no_group_overrules_its_recipe(recipe: str) -> None:
    """Hydra 1.0 knows no way to merge a recipe after the groups of its defaults list."""
    own = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())
    first, *groups = own.pop("defaults")
    assert first == "_self_"
    chosen = [(group, name) for choice in groups for group, name in choice.items()]
    taken = dict.fromkeys(key for key, _ in leaves(own))
    for group, name in chosen:
        values = yaml.safe_load((RECIPES / group / f"{name}.yaml").read_text())
        assert not taken.keys() & dict(leaves(values)).keys(), f"{group}/{name}"


@pytest.mark.parametrize("recipe", ALL)
def test_fairseq_knows_every_option(recipe: str) -> None:
    known = {
        "task": ParpConfig,
        "model": ParpHubertCtcConfig if "hubert" in recipe else ParpWav2VecCtcConfig,
        "criterion": CtcCriterionConfig,
        "optimizer": FairseqAdamConfig,
        "lr_scheduler": TriStageLRScheduleConfig,
    }
    cfg = composed(recipe)
    for section, options in known.items():
        assert set(cfg[section]) <= {field.name for field in fields(options)}, section


@pytest.mark.parametrize("folder", [pytest.param("relative", marks=pytest.mark.slow), "elsewhere"])
def test_the_real_program_from_any_folder(folder: str, tmp_path: Path) -> None:
    copied = tmp_path / "installed" / "recipes"
    shutil.copytree(RECIPES, copied)
    done = programs.run(
        "fairseq_cli.hydra_train", "--cfg", "job",
        "--config-dir", "recipes" if folder == "relative" else copied,
        "--config-name", "librispeech_10m_large", "+method=parp_p", "task.sparsity=0.3",
        cwd=copied.parent if folder == "relative" else tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    task = expected_task("librispeech_10m_large", "parp_p")
    printed = done.stdout[done.stdout.index("_name: null") :]
    assert yaml.safe_load(printed)["task"] == {**task, "sparsity": 0.3}
