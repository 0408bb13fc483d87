"""Package parp_fairseq. recipes/ and manifests/ are installed inside the package."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def folders_of(top, *patterns):
    """Package name -> folder, for each folder below `top` with files that match a pattern."""
    files = (path for pattern in patterns for path in (HERE / top).rglob(pattern))
    folders = {path.parent.relative_to(HERE).as_posix() for path in files}
    return {"parp_fairseq." + folder.replace("/", "."): folder for folder in sorted(folders)}


RECIPES = folders_of("recipes", "*.yaml")
# The mini corpus and its encoder are installed too.
MANIFESTS = folders_of("manifests", "*.py", "*.ogg", "*.pt")

setup(
    name="parp_fairseq",
    version=re.search(r'__version__ = "(.+)"', (HERE / "parp_fairseq/__init__.py").read_text())[1],
    description="PARP: sparse subnetworks of speech encoders, found while finetuning",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10,<3.13",
    packages=[*find_packages(include=["parp_fairseq", "parp_fairseq.*"]), *RECIPES, *MANIFESTS],
    package_dir={**RECIPES, **MANIFESTS},
    package_data={
        **{package: ["*.yaml", "Snakefile"] for package in RECIPES},
        **{package: ["*.ogg", "*.pt", "*.tsv", "*.txt", "*.md"] for package in MANIFESTS},
    },
    install_requires=[
        # README.md, "Which fairseq", says why there are two.
        "fairseq==0.12.2; python_version < '3.11'",
        "ve-fairseq==0.12.3; python_version >= '3.11'",
        "torch>=2.6",
        "soundfile>=0.13",
        "editdistance>=0.6",
        "sentencepiece>=0.1.97",
        "safetensors>=0.4.4",
        "tabulate>=0.9",
        "tqdm>=4.60",
    ],
    extras_require={
        # tokenizers for manifests/bert.py and manifests/glue.py.
        "data": ["regex>=2023.8.8", "soxr>=0.3", "tokenizers>=0.20"],
        # k-means of manifests/unlabelled.py --targets; it brings scipy along.
        "pretrain": ["scikit-learn>=1.3", "soxr>=0.3"],
        # espeakng-loader brings espeak-ng along, which is under the GPL, as phonemizer is.
        "phones": ["espeakng-loader>=0.2", "phonemizer>=3.4"],
        # common.tensorboard_logdir and common.wandb_project of fairseq.
        "logging": ["tensorboard>=2.9", "wandb>=0.16"],
        # accelerate for the Trainer, under which ParpCallback prunes.
        "hf": ["accelerate>=1.15", "transformers>=5.24"],
        "lm": ["flashlight-text>=0.0.7,<0.1"],
        "plot": ["matplotlib>=3.8.1"],
        "study": [
            "matplotlib>=3.8.1",
            "scipy>=1.15",
            "snakemake>=9.19,<10; python_version >= '3.11'",
            "snakemake-executor-plugin-slurm>=2,<3; python_version >= '3.11'",
        ],
        "test": ["hypothesis>=6", "jiwer>=3", "pytest>=7", "pytest-xdist>=3.5", "ruff>=0.13"],
    },
    entry_points={"console_scripts": ["parp=parp_fairseq.cli:main"]},
)
