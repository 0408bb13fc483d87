"""manifests/: every file at its top is a command that runs from any folder, installed or not."""

import subprocess
import sys
from pathlib import Path

import pytest
from corpora import MANIFESTS, contents

from parp_fairseq.cli.manifests import manifests_folder

BIN = Path(sys.executable).parent
COMMANDS = sorted(path.name for path in MANIFESTS.glob("*.py"))


def installed_folder() -> Path:
    done = subprocess.run([BIN / "parp", "manifests"], capture_output=True, text=True, check=True)
    return Path(done.stdout.rstrip("\n"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_help_with_an_example_from_any_folder(command: str, tmp_path: Path) -> None:
    script = [sys.executable, MANIFESTS / command, "--help"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  python manifests/{command} " in done.stdout


def test_an_installation_has_every_file() -> None:
    installed = installed_folder()
    assert installed == manifests_folder() != MANIFESTS
    ours, theirs = ({k: v for k, v in contents(folder).items() if "__pycache__" not in k}
                    for folder in (MANIFESTS, installed))  # fmt: skip
    assert theirs == ours


def test_an_installation_writes_the_mini_corpus(tmp_path: Path) -> None:
    folder = installed_folder()
    command = [sys.executable, folder / "mini.py", folder / "mini", "data"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    root, first = (tmp_path / "data" / "test.tsv").read_text().splitlines()[:2]
    assert (Path(root) / first.partition("\t")[0]).is_relative_to(folder)


def test_the_study_of_an_installation_finds_script_and_encoder(tmp_path: Path) -> None:
    pytest.importorskip("snakemake", reason="Snakemake needs Python 3.11")
    study = installed_folder().parent / "recipes" / "study"
    source = tmp_path / "recordings"
    source.mkdir()
    fewer = tmp_path / "fewer.yaml"
    fewer.write_text("sparsities: [0.5]\nseeds: [1]\n")
    line = [BIN / "snakemake", "-s", study / "Snakefile", "-d", tmp_path, "-n", "-p"]
    line += ["--configfile", study / "fsdd.yaml", fewer, "--config", f"source={source}"]
    done = subprocess.run([*map(str, line)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"python {installed_folder() / 'fsdd.py'} {source}" in done.stdout + done.stderr
    assert str(installed_folder() / "mini" / "encoder.pt") in done.stdout + done.stderr
