"""Stopping: one line, the status that shells expect, and nothing left behind; with real processes and signals."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cifar100x.runs.directory import RunDirectory
from cifar100x.training import machine
from tests.conftest import TINY, in_background

RUN = RunDirectory(Path("runs/default/arch1-hyp1/fold0"))
LONG = (*TINY, "trainer.max_epochs=5000", "data.batch_size=10")
GOES_ON = ": the same command goes on from the last checkpoint\n"
SAID = {
    signal.SIGTERM: f"error: stopped by SIGTERM{GOES_ON}",
    signal.SIGHUP: f"error: stopped by SIGHUP{GOES_ON}",
    signal.SIGINT: f"error: interrupted{GOES_ON}",
}


def test_while_it_trains(cache, tmp_path, monkeypatch):
    """In an environment of srun's or torchrun's, too, whose ranks are none of ours."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.setenv(name, "1")
    run = RunDirectory(tmp_path / RUN.path)
    monkeypatch.chdir(tmp_path)
    with in_background(LONG, cache) as process:
        while not run.checkpoint.exists() and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate()
    assert (process.returncode, err) == (128 + signal.SIGHUP, SAID[signal.SIGHUP])
    assert (run.status["state"], run.status["error"]) == ("failed", "interrupted")
    assert not run.is_held


@pytest.mark.parametrize("number", SAID)
def test_while_it_imports(number, cache, tmp_path):
    command = [sys.executable, "-m", "cifar100x.train", *LONG]
    environment = os.environ | {"CIFAR100X_CACHE": str(cache)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    time.sleep(1.0)  # Python itself has started, and torch is not there yet
    process.send_signal(number)
    assert process.communicate()[1] == SAID[number]
    repeated = -signal.SIGINT  # as Python may do with any interrupt as it ends: 130 to a shell
    assert process.returncode in (128 + number, repeated)


def test_while_a_library_is_imported_that_swallows_it(train_command):
    """As some do with whatever is raised: the request is heeded before anything is trained."""

    def swallow():
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGHUP)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "keep_pages", swallow)
        assert train_command(*LONG) == (128 + signal.SIGHUP, "", SAID[signal.SIGHUP])
    assert (RUN.status["state"], RUN.status["error"]) == ("failed", "interrupted")
    assert train_command(*TINY, "study=next")[0] == 0, "the next command in a process is another"


def test_a_second_ctrl_c_that_follows_at_once(cache, tmp_path):
    run = RunDirectory(tmp_path / RUN.path)
    command = [sys.executable, "-m", "cifar100x.train", *LONG]
    environment = os.environ | {"CIFAR100X_CACHE": str(cache)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    while not run.checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    while process.poll() is None:
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
    assert (process.communicate()[1], process.returncode) == (SAID[signal.SIGINT], 130)


def test_nobody_reads_on(tmp_path, cache):
    run = subprocess.run(
        f"{sys.executable} -m cifar100x.train --help | true; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode in (0, 141)
    assert run.stderr == ""


def test_a_locale_without_our_characters():
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    program = "from cifar100x.app.command import one_line_errors\nwith one_line_errors(): print('95% \\u2013 or so')"
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "95% \\u2013 or so\n")


def test_with_several_ranks(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    with in_background([*LONG, *two], cache) as process:
        while not RUN.checkpoint.exists() and process.poll() is None:
            time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, SAID[signal.SIGTERM])
    assert family
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert not RUN.is_held


STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('here', flush=True)\ntime.sleep(600)"
)
PARENT = """
import sys
from cifar100x.sweep import processes
processes.STOP_SECONDS = 0.5
processes.JobProcess("stubborn", [], sys.argv[1], "log.txt").run()
"""


def test_a_job_that_does_not_answer_is_killed(tmp_path):
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path], stderr=subprocess.DEVNULL)
    log = tmp_path / "log.txt"
    while not (log.exists() and "here" in log.read_text()):
        time.sleep(0.01)
    (job,) = psutil.Process(parent.pid).children()
    parent.send_signal(signal.SIGINT)
    parent.wait(timeout=20)
    assert not psutil.wait_procs([job], timeout=5)[1]
