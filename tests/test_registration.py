"""`import parp_fairseq` registers task and model, before or after fairseq, and never imports it."""

import subprocess
import sys

import pytest
from fairseq_runs import finetune, training_config


def python(*lines: str) -> str:
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


LOAD = (
    "from fairseq.checkpoint_utils import load_model_ensemble_and_task",
    "[model], cfg, task = load_model_ensemble_and_task(['{path}'])",
    "print(type(model).__name__, type(task).__name__)",
)
USER_MODULE = (
    "from argparse import Namespace",
    "from fairseq.utils import import_user_module",
    "import_user_module(Namespace(user_dir='parp_fairseq'))",
)


@pytest.mark.parametrize(
    "first",
    [
        "import parp_fairseq",
        pytest.param("import fairseq, parp_fairseq", marks=pytest.mark.slow),
    ],
)
def test_one_import_is_enough_to_load_a_checkpoint(corpus, encoder, tmp_path, first):
    finetune(training_config(corpus, encoder, tmp_path, max_update=1))
    path = tmp_path / "checkpoint_last.pt"
    load = [line.replace("{path}", str(path)) for line in LOAD]
    assert "ParpWav2VecCtc ParpTask" in python(first, *load, *USER_MODULE)


def test_neither_the_package_nor_its_pruning_imports_fairseq():
    printed = python(
        "import importlib.util, sys",
        "import parp_fairseq",
        "print('torch' in sys.modules)",
        "importlib.util.find_spec('fairseq')",
        "import parp_fairseq.pruning",
        "print('fairseq' in sys.modules)",
    )
    assert printed.split() == ["False", "False"]
