"""A sweep from outside: its order, its table of needs, what it does about failures, and that it is continued."""

import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser

from cifar100x.app.sweeps import combined
from cifar100x.disk.checking import sha256_of
from cifar100x.runs import record
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.study import Study
from cifar100x.stopping import SIGNALS
from cifar100x.sweep import child, in_turn, preflight
from cifar100x.sweep.queues import LEFT, ProcessQueue, Slots
from tests.conftest import TINY, TINY_PRETRAINING, in_background, signalled

SWEEP = ("-m", "model=arch1,arch2", "fold=0,1", "trainer.max_epochs=1", "study=s")
RUNS = [Path("runs/s", model, f"fold{fold}") for model in ("arch1-hyp1", "arch2-hyp1") for fold in (0, 1)]


def trained(out: str) -> list[str]:
    """The runs that a sweep printed a result of, in order."""
    return [line.split(":")[0] for line in out.splitlines() if "cross-entropy" in line]


def test_longest_first_and_what_is_there(train_command):
    status, out, err = train_command(*TINY, *SWEEP)
    assert (status, err) == (0, "")
    assert trained(out) == ["arch2-hyp1 fold 0", "arch2-hyp1 fold 1", "arch1-hyp1 fold 0", "arch1-hyp1 fold 1"]
    needed = {line.split()[0]: line for line in out.splitlines()[:4]}
    assert "present" in needed["data"]
    assert "4 runs in runs" in needed["disk"]
    assert "1 at a time" in needed["memory"]
    assert "s: 4 done" in out


def test_only_what_is_missing_is_trained(train_command, monkeypatch):
    """And checkpoints, which may be large, are read once to see that they are whole."""
    one_model = [*TINY, "-m", "fold=0,1", "trainer.max_epochs=1", "study=s"]
    assert train_command(*one_model)[0] == 0
    shutil.rmtree(RUNS[1])
    status, out, _ = train_command(*one_model)
    assert status == 0
    assert "1 of 2 runs are finished already" in out
    assert trained(out) == ["arch1-hyp1 fold 1"]
    read = []
    monkeypatch.setattr(record, "sha256_of", lambda path: read.append(path) or sha256_of(path))
    status, out, _ = train_command(*one_model)
    assert (status, trained(out)) == (0, [])
    assert sorted(path for path in read if path.suffix == ".ckpt") == [RunDirectory(r).checkpoint for r in RUNS[:2]]


def test_a_failed_run_stops_no_other_and_is_named_with_its_log(train_command, command):
    from cifar100x import status as status_of

    (RUNS[2] / "predictions.npz").mkdir(parents=True)  # where a file is to be written
    status, out, err = train_command(*TINY, *SWEEP)
    assert status == 1
    assert trained(out) == ["arch2-hyp1 fold 1", "arch1-hyp1 fold 0", "arch1-hyp1 fold 1"]
    assert "s: 3 done, 1 failed" in out
    log = RUNS[2] / "log.txt"
    error = RunDirectory(RUNS[2]).status["error"].splitlines()[0]
    assert f"arch2-hyp1 fold 0 failed: {error}  log: {log}" in out
    assert "error: 1 of 4 runs failed, named above; go on with: " in err
    assert "Traceback" in log.read_text()
    assert "Traceback" not in err

    status, out, _ = command(status_of.main, "study=s")
    assert status == 0
    assert "s: 3 done, 1 failed" in out
    assert f"log: {log}" in out
    again = shlex.split(out[out.index("go on with: ") :].splitlines()[0].removeprefix("go on with: "))
    (RUNS[2] / "predictions.npz").rmdir()
    status, out, _ = train_command(*again[again.index("cifar100x.train") + 1 :])
    assert (status, trained(out)) == (0, ["arch2-hyp1 fold 0"])
    assert "s: 4 done" in command(status_of.main, "study=s")[1]


def test_a_run_whose_folder_cannot_be_used_stops_no_other(train_command):
    Path("runs/default").mkdir(parents=True)
    Path("runs/default/arch1-hyp1").touch()
    status, out, err = train_command(*TINY, "-m", "model=arch1,arch2", "fold=0,1", "trainer.max_epochs=1")
    assert status == 1
    assert len([line for line in err.splitlines() if "runs/default/arch1-hyp1" in line]) >= 2
    assert out.count("arch2-hyp1 fold") == 2
    assert "default: 2 done" in out


def test_a_job_whose_log_cannot_be_made_stops_no_other(tmp_path, monkeypatch, capsys):
    """In a queue of processes; where an interpreter ends so, a job of Ray's does."""
    monkeypatch.chdir(tmp_path)
    Path("runs").touch()
    jobs = [SimpleNamespace(job=SimpleNamespace(run=RunDirectory(Path("runs/s/a/fold0"))), config={})]

    class Refusing(ProcessQueue):
        slots = Slots(1)

        def statuses(self, processes, jobs):
            yield 0, os.EX_OSERR

    assert Refusing().run(jobs) == []
    assert capsys.readouterr().out == f"{Path('runs/s/a/fold0')} failed: exit status {os.EX_OSERR}\n"


def test_null_is_a_value_in_a_sweep_too(train_command):
    nothing = ("recipe.averaging=null", "race=null", "launch=null", "candidate=null", "experiment=null", "name=null")
    status, out, err = train_command(*TINY, "-m", *nothing, "fold=0,1", "trainer.max_epochs=1")
    assert (status, err) == (0, "")
    assert "default: 2 done" in out
    assert train_command(*TINY, "launch=null", "study=one", "trainer.max_epochs=1")[0] == 0


def test_an_encoder_of_another_width_is_missed_before_anything_is_trained(train_command):
    assert train_command(*TINY_PRETRAINING, "trainer.max_epochs=1")[0] == 0
    wider = [argument for argument in TINY if "width" not in argument] + ["width.multiplier=0.0625"]
    status, out, err = train_command(*wider, "-m", "candidate=arch1-hyp1,t-arch2", "fold=0,1")
    assert (status, out) == (1, "")
    assert "does not fit this encoder: code.weight is (64, 512) there, expected (64, 1024)" in err
    assert not list(Path("runs").rglob("fold0"))


def test_jobs_that_cannot_run_are_refused_before_the_first(train_command):
    for overrides, message in (
        (["fold=0,7"], "fold is 7, expected 0..1"),
        (["model=arch1,transfer"], "there is no pre-training in runs/default/autoencoder: make it with"),
        (["reading.dropout=0,2"], "dropout is 2, expected at least 0 and below 1"),
        (["learning_rate=0.001,0.002"], "runs/default/arch1-hyp1/fold0 would be written by two jobs of this sweep, one "
         "with learning_rate=0.001 and one with learning_rate=0.002: part them with "
         "'name=${model.name}-learning_rate${learning_rate}'"),
        (["reading=reported,keep80", "name=x"], "part them with 'name=${model.name}-reading${reading.name}'"),
        (["width.filters=[1,1,1,1],[2,2,2,2]"], "train them one after the other, each with a name=NAME of its own"),
        (["fold=0,0"], "which are the same: ask for it once"),
        (["+trainer.limit_train_batches=0"], "trainer.limit_train_batches is 0, which leaves no batch, expected at le"),
    ):  # fmt: skip
        status, out, err = train_command(*TINY, "-m", *overrides)
        assert (status, out) == (1, "")
        assert message in err
        assert len(err.splitlines()) == 1
        assert not Path("runs").exists(), "a refused sweep leaves nothing"


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU here")
def test_gpus_that_are_not_there_are_missed_before_anything_is_written(train_command):
    status, _, err = train_command(*TINY, "-m", "fold=0,1", "launch=gpus")
    assert (status, err.count("\n")) == (1, 1)
    assert "there is no GPU: choose launch=cores" in err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "value", ["'my bilder ü/x'", "'a#b'", '"it\'s"', "'1e3'", "'a&b;c!d`e'", r"a\ b", "[1,'ü']", "3"]
)
def test_a_value_of_a_sweep_is_read_as_it_was_typed(value):
    parser = OverridesParser.create()
    (typed,) = parser.parse_overrides([f"name=choice({value})"])
    ((spelt,),) = combined([typed])
    assert parser.parse_override(spelt).value() == parser.parse_override(f"name={value}").value()


def test_another_configuration_is_refused_before_the_first(train_command):
    assert train_command(*TINY, "fold=1", "seed=1")[0] == 0
    status, out, err = train_command(*TINY, "-m", "fold=0,1")
    assert (status, out) == (1, "")
    assert "runs/default/arch1-hyp1/fold1 holds a run of another configuration, differing in seed" in err
    assert not Path("runs/default/arch1-hyp1/fold0/status.json").exists()


@pytest.mark.parametrize("what", ["disk", "memory"])
def test_too_little_is_refused_before_the_first(what, train_command, monkeypatch):
    there = "_free" if what == "disk" else "_free_memory"
    monkeypatch.setattr(preflight, there, lambda *_: 1e6)
    status, out, err = train_command(*TINY, *SWEEP)
    assert status == 1
    assert f"not enough {what} for" in err
    assert "1.0 MB there" in err
    assert trained(out) == []
    assert not list(Path("runs").rglob("status.json"))


def test_gpu_memory_is_asked_of_the_driver(monkeypatch, tmp_path):
    """A driver's tool that says what the real one does: number, name and MiB, a line for each GPU."""
    tool = tmp_path / "nvidia-smi"
    lines = "0, GPU-aa, 81000\\n1, GPU-bb, 40000\\n2, GPU-cc, 10\\n"
    tool.write_text(f"#!/bin/sh\ntest \"$1\" = --query-gpu=index,uuid,memory.free && printf '{lines}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert preflight.free_gpu_memory() == [81000 * 2**20, 40000 * 2**20, 10 * 2**20]
    for visible, free in (("1,0", [40000, 81000]), ("GPU-cc", [10]), ("MIG-dd", None)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert preflight.free_gpu_memory() == (free and [mebibytes * 2**20 for mebibytes in free])
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert preflight.free_gpu_memory() is None


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        (("launch=cores", "launch.cores_per_job=4096"), "launch.cores_per_job is 4096, expected at most the"),
        (("launch=cores", "launch.cores=0"), "launch.cores is 0, expected 1 or more"),
        (("launch=gpus", "launch.jobs_per_gpu=0"), "launch.jobs_per_gpu is 0, expected 1 or more"),
        (("launch=gpus", "launch.gpus=-1"), "launch.gpus is -1, expected 0 or more"),
        (("launch=slurm", "launch.jobs=0"), "launch.jobs is 0, expected 1 or more"),
    ],
)
def test_numbers_of_slots_that_cannot_be(launch, message, train_command):
    status, out, err = train_command(*TINY, *SWEEP, *launch)
    assert (status, out) == (2, "")
    assert message in err


def holding(run):
    """A process that holds a run until it is killed."""
    run.mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from filelock import FileLock\n"
         "with FileLock(sys.argv[1]): print('held', flush=True); time.sleep(600)", run / ".lock"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    return holder


def test_a_run_that_another_sweep_trains_is_left_to_it_and_taken_over_if_it_dies(train_command, tmp_path, cache):
    """Two runs are held elsewhere; one holder dies while others are trained here, one while the sweep waits for it."""
    early, late = holding(RUNS[2]), holding(RUNS[3])
    with in_background([*TINY, *SWEEP], cache) as sweep:
        while "left to another sweep: " not in (line := sweep.stdout.readline()) and line:
            pass
        early.kill()
        while sum(RunDirectory(run).status.get("state") == "done" for run in RUNS) < 2 and sweep.poll() is None:
            time.sleep(0.05)
        assert sweep.poll() is None, "it waits"
        assert not any((run / "status.json").exists() for run in RUNS[2:])
        late.kill()
        out, err = sweep.communicate()
    assert (sweep.returncode, err) == (0, "")
    assert trained(out)[-2:] == ["arch2-hyp1 fold 0", "arch2-hyp1 fold 1"]


def test_a_job_in_a_process_leaves_a_held_run_to_its_holder(finished, train_command, monkeypatch, capsys):
    run = RunDirectory(Path("runs/default/arch1-hyp1/fold0"))
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(run.config)))
    with FileLock(run.path / ".lock"), pytest.raises(SystemExit) as end:
        child.main()
    assert end.value.code == LEFT
    assert f"left to another sweep: another process is at work in {run.path}" in capsys.readouterr().out


def test_a_killed_sweep_is_continued_with_equal_results(train_command, cache):
    long = [*TINY, "-m", "fold=0,1", "trainer.max_epochs=8"]
    killed, undisturbed = (RunDirectory(Path("runs", study, "arch1-hyp1/fold0")) for study in ("killed", "undisturbed"))
    with in_background([*long, "study=killed"], cache) as sweep:
        while not killed.checkpoint.exists() and sweep.poll() is None:
            time.sleep(0.005)
        sweep.send_signal(signal.SIGKILL)
    assert killed.status["state"] == "running", "it could not say anything"
    status, out, _ = train_command(*long, "study=killed")
    assert (status, len(trained(out))) == (0, 2)
    assert train_command(*long[:-3], "fold=0", "trainer.max_epochs=8", "study=undisturbed")[0] == 0
    np.testing.assert_array_equal(killed.predictions.logits, undisturbed.predictions.logits)


def test_ctrl_c_says_how_to_go_on(train_command):
    with signalled(signal.SIGINT):
        status, out, err = train_command(*TINY, "-m", "fold=0", "study=s")
    assert status == 130
    assert f"go on with: {sys.executable} -m cifar100x.train data=synthetic" in out, "as it was typed"
    assert err == "error: interrupted: the same command goes on from the last checkpoint\n"


def test_ctrl_c_that_a_library_made_another_error_of_ends_the_sweep(train_command, monkeypatch):
    def interrupted(*_):
        try:
            raise KeyboardInterrupt
        finally:  # as torch does while it imports what it compiles with
            raise AttributeError("module 'torch._dynamo' has no attribute 'exc'")

    monkeypatch.setattr(in_turn, "train", interrupted)
    status, out, err = train_command(*TINY, "-m", "fold=0,1", "study=s")
    assert (status, err) == (130, "error: interrupted: the same command goes on from the last checkpoint\n")
    assert "failed" not in out


def test_the_plan_keeps_what_other_sweeps_asked_for(tmp_path):
    study = Study(tmp_path / "s")
    about = {"epochs": 2, "flops": 1.0}
    study.add_to_plan("first", {"arch1-hyp1/fold0": about, "arch2-hyp1/fold0": about})
    study.add_to_plan("second", {"arch1-hyp1/fold1": about, "arch1-hyp1/fold0": about | {"epochs": 3}})
    assert study.plan["command"] == "second"
    assert {name: about["epochs"] for name, about in study.plan["runs"].items()} == {
        "arch1-hyp1/fold0": 3, "arch2-hyp1/fold0": 2, "arch1-hyp1/fold1": 2,
    }  # fmt: skip


def test_a_lock_that_is_only_probed_stops_nobody(finished, train_command):
    run = RunDirectory(Path("runs/default/arch1-hyp1/fold0"))
    assert not run.is_held
    with FileLock(run.path / ".lock"):
        assert run.is_held
    assert not run.is_held


OWN = """
name: own
net:
  _target_: cifar100x.nets.conv.ConvNet
  filters: [1, 2]
  dense: [8]
  convs_per_block: 1
  dropout: 0.0
  batch_norm: fixed
  num_classes: ${data.num_classes}
"""


def test_a_folder_of_configs_reaches_every_run_of_a_sweep(train_command):
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/own.yaml").write_text(OWN)
    plain = [argument for argument in TINY if not argument.startswith("width")]
    sweep = ["--config-dir", "mine", "-m", "model=own", "fold=0,1", "trainer.max_epochs=1"]
    status, out, err = train_command(*plain, *sweep)
    assert (status, err) == (0, "")
    assert trained(out) == ["own fold 0", "own fold 1"]


def test_a_value_that_only_the_swept_models_have(train_command):
    """Where the default model has no such key, which Hydra would give it to first."""
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/thin.yaml").write_text("""name: thin
net:
  _target_: cifar100x.nets.resnet.ResNet
  depth: 20
  width: 2
  num_classes: ${data.num_classes}
""")
    sweep = ["--config-dir", "mine", "-m", "trainer.max_epochs=1", "model.net.depth=8"]
    plain = [argument for argument in TINY if not argument.startswith("width")]
    status, out, err = train_command(*plain, *sweep, "model=resnet20,thin", "model.net.width=2")
    assert (status, err) == (0, "")
    assert sorted(trained(out)) == ["resnet20 fold 0", "thin fold 0"]
    depths = [
        RunDirectory(Path("runs/default", m, "fold0")).config["model"]["net"]["depth"] for m in ("resnet20", "thin")
    ]
    assert depths == [8, 8]
    status, _, err = train_command(*plain, *sweep, "model=thin,arch1")
    message = (
        "model.net.depth: no such key with data=synthetic trainer=cpu model=arch1; did you mean 'model.net.dropout'?"
    )
    assert (status, err) == (2, f"error: {message}\n")


def test_a_job_is_given_its_config_and_composes_nothing(finished, monkeypatch, capsys):
    """What a queue of processes starts: its config comes in, the result goes out."""
    run = RunDirectory(Path("runs/default/arch1-hyp1/fold0"))
    config, logits = run.config, run.predictions.logits
    run.path.rename("first")
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(config)))
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        child.main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert capsys.readouterr().out.startswith("arch1-hyp1 fold 0: accuracy")
    np.testing.assert_allclose(run.predictions.logits, logits, rtol=1e-3, atol=1e-5)
