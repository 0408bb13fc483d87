"""A tiny corpus and a tiny encoder that the tests share."""

import logging
import os
from importlib.util import find_spec

import pytest
import torch
from composing import remember_configs
from fairseq_runs import write_corpus, write_encoder

import parp_fairseq.tasks.parp

if find_spec("transformers") is not None:
    import parp_fairseq.huggingface  # noqa: F401  (hides a broken torchaudio from transformers)

remember_configs()

# Here and in the processes that tests start. The networks are tiny, and more threads only wait.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_configure(config):
    """All tests but those marked gpu train on a CPU, on a machine with a GPU too."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items):
    """The file that takes longest is first, so that at the end no process waits for another."""
    items.sort(key=lambda item: item.path.name != "test_study.py")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """A random wav2vec 2.0 encoder with two layers."""
    return write_encoder(tmp_path_factory.mktemp("encoder") / "encoder.pt")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Manifests: 20 utterances in ``train``, 13 in ``valid``."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, "train", 20, seed=0)
    return write_corpus(folder, "valid", 13, seed=1)


@pytest.fixture(autouse=True)
def quiet_fairseq():
    logging.getLogger("fairseq").setLevel(logging.WARNING)
