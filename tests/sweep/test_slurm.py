"""An array on a pretended Slurm: its commands, as far as submitit uses them, run tasks on this machine."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from cifar100x.sweep.processes import JobProcess
from tests.conftest import TINY

pytestmark = pytest.mark.skipif(find_spec("submitit") is None, reason="the extra 'sweep' is not installed")

SBATCH = """#!/bin/bash
# Runs the tasks of an array in the background, as many at one time as it asks for
script=$1
cp "$script" "$SPOOL/script.sh"
array=$(sed -n 's/#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$script")
at_once=$(sed -n 's/#SBATCH --array=.*%\\([0-9]*\\)/\\1/p' "$script")
export SLURM_ARRAY_JOB_ID=77 SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
export SLURM_JOB_NODELIST=here SLURM_JOB_QOS=none
(seq 0 "$array" | xargs -P "$at_once" -I {} sh -c \\
    "SLURM_JOB_ID=10{} SLURM_ARRAY_TASK_ID={} bash $SPOOL/script.sh; echo '77_{}|COMPLETED|here' >> $SPOOL/ended") \\
    > "$SPOOL/output" 2>&1 &
echo "Submitted batch job 77"
"""
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do shift; [[ $1 == /* && $1 == *.* && $1 != *python* ]] && shift; done
exec "$@"
"""
SACCT = """#!/bin/bash
echo 'JobID|State|NodeList'
cat "$SPOOL/ended" 2> /dev/null
"""
JOB = """
import os, sys, time
print(os.environ["SLURM_ARRAY_TASK_ID"], "torch" in sys.modules, time.time())
time.sleep(0.3)
print(time.time())
sys.exit(3 if sys.argv[1] == "1" else 0)
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    commands = {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT, "scontrol": "#!/bin/sh\necho here\n"}
    for name, text in commands.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SPOOL", str(tmp_path))
    return tmp_path


def test_without_slurm_nothing_is_written(train_command, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    status, out, err = train_command(*TINY, "-m", "fold=0,1", "launch=slurm")
    told = "error: launch=slurm, but there is no srun here: call it on a login node of the cluster\n"
    assert (status, out, err) == (1, "", told)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("refusal", "option", "message"),
    [
        ("", "slurm_partitio=gpu", "partitio"),
        (
            "#!/bin/sh\necho 'invalid partition' >&2; exit 1\n",
            "slurm_partition=gpuu",
            "invalid partition",
        ),
    ],
)
def test_what_slurm_does_not_take(refusal, option, message, slurm, train_command):
    if refusal:
        (slurm / "sbatch").write_text(refusal)
    status, _, err = train_command(*TINY, "-m", "fold=0,1", "launch=slurm", f"+launch.options.{option}")
    assert status == 1
    assert err.splitlines()[-1].startswith("error: Slurm does not take these jobs ("), err
    assert message in err


def test_an_array(slurm, monkeypatch):
    from cifar100x.sweep import slurm_array

    monkeypatch.setattr(slurm_array, "POLL_SECONDS", 0.1)
    (slurm / "job.py").write_text(JOB)
    processes = [JobProcess("job", [str(job)], str(slurm), f"logs/{job}.txt") for job in range(3)]
    options = {"timeout_min": 30, "mem_gb": 2, "slurm_partition": "gpu"}
    statuses = dict(slurm_array.run_all(processes, slurm / "slurm", 2, options))
    assert statuses == {0: 0, 1: 3, 2: 0}
    script = (slurm / "script.sh").read_text()
    for line in ("--array=0-2%2", "--time=30", "--mem=2GB", "--partition=gpu"):
        assert f"#SBATCH {line}" in script
    said = [(slurm / "logs" / f"{job}.txt").read_text().split() for job in range(3)]
    assert [words[:2] for words in said] == [["0", "False"], ["1", "False"], ["2", "False"]]
    assert float(said[2][2]) >= min(float(words[3]) for words in said[:2]), "two at one time"


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
def test_a_login_node_needs_no_gpu(slurm, train_command, monkeypatch):
    """The sweep is planned and submitted where there is none."""
    from cifar100x.sweep import slurm_array

    submitted = []
    monkeypatch.setattr(slurm_array, "run_all", lambda processes, *_: iter(submitted.extend(processes) or ()))
    status, _, err = train_command(*TINY, "-m", "trainer=gpu", "launch=slurm", "study=s")
    assert status == 1
    assert "1 of 1 runs are not finished (arch1-hyp1 fold 0)" in err
    (process,) = submitted
    assert json.loads(process.input)["trainer"]["accelerator"] == "gpu"


def test_a_job_whose_time_is_up_is_submitted_again(tmp_path):
    from cifar100x.sweep.slurm_array import Requeued

    job = Requeued(JobProcess("job", [], str(tmp_path), "log.txt"))
    assert job.checkpoint().function is job


def test_a_process_that_waits_for_a_job_is_light():
    """What a task of Slurm or Ray imports before it starts a job: no torch."""
    code = "import cifar100x.sweep.slurm_array, sys; print(sorted({'torch', 'lightning', 'hydra'} & set(sys.modules)))"
    shell = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shell.stdout == "[]\n"
