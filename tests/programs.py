"""The programs of fairseq and Snakemake, in processes that need not import them again.

Importing torch and fairseq takes several times as long as a training of the tests. A process that
has imported them once is forked for each run. Arguments, environment, output and exit status are as
from a shell. Tests of how a process starts or ends use subprocess.
"""

import logging
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
# Not the plugin: fairseq imports a user dir once in a process.
FORKS.set_forkserver_preload(["fairseq.trainer", "snakemake.cli"])


def run(program, *args, cwd=None) -> subprocess.CompletedProcess:
    """As ``subprocess.run([sys.executable, "-m", program, *args])``, or of a program in a file."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, name) for name in ("stdout", "stderr")]
        command = [str(program), *map(str, args)]
        process = FORKS.Process(
            target=_main, args=(command, cwd or Path.cwd(), dict(os.environ), outputs)
        )
        process.start()
        process.join()
        texts = [output.read_text() if output.exists() else "" for output in outputs]
    return subprocess.CompletedProcess(command, process.exitcode, *texts)


def _main(command, cwd, environment, outputs) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, path in zip((1, 2), outputs):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    program = command[0]
    if program == "snakemake":  # fairseq has set up logging for the whole process
        logging.root.handlers.clear()
    sys.argv = command
    try:
        if Path(program).suffix == ".py":
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except Exception:
        sys.excepthook(*sys.exc_info())
        raise SystemExit(1) from None
