"""Sweeps over pretended GPUs and over cores: Ray hands out slots that need not exist."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest

from cifar100x.errors import UsageError
from cifar100x.runs.directory import RunDirectory
from cifar100x.sweep.processes import JobProcess, ending
from cifar100x.sweep.ray_queue import RayQueue
from cifar100x.training import machine
from tests.conftest import TINY, in_background
from tests.sweep.test_mps import pretended_mps

# Not imported here: Ray looks at its environment when it is, and the launcher has a say in that
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="the extra 'sweep' is not installed")

SLOT = """
import json, os, pathlib, sys, time
import psutil
slot = {"torch": "torch" in sys.modules, "start": time.time(), "mask": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "threads": os.environ["OMP_NUM_THREADS"], "pid": os.getpid(), "mps": os.environ.get("CUDA_MPS_PIPE_DIRECTORY")}
ray = {p.pid for p in psutil.process_iter(["cmdline"]) if "ray" in " ".join(p.info["cmdline"] or [])}
slot["listening"] = [c.laddr.ip for c in psutil.net_connections() if c.status == "LISTEN" and c.pid in ray]
pathlib.Path(f"here{sys.argv[1]}").touch()
while len(list(pathlib.Path().glob("here*"))) < int(sys.argv[2]) and time.time() < slot["start"] + 60:
    time.sleep(0.01)  # until all slots are taken, as they must be
print(json.dumps(slot | {"end": time.time()}))
sys.exit(3 if sys.argv[1] == "2" else 0)
"""


def run_jobs(queue, folder, num_jobs, num_slots):
    """What the jobs of a queue saw, and their exit statuses, in order of jobs."""
    (folder / "slot.py").write_text(SLOT)
    processes = [
        JobProcess("slot", [str(job), str(num_slots)], str(folder), f"logs/{job}.txt") for job in range(num_jobs)
    ]
    statuses = dict(queue.statuses(processes, []))
    return [json.loads(process.last_words()) for process in processes], [statuses[job] for job in range(num_jobs)]


def most_at_once(jobs):
    events = sorted((job[edge], step) for job in jobs for edge, step in (("start", 1), ("end", -1)))
    return max(np.cumsum([step for _, step in events]))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1", "nonsense", "host:port"])
def test_an_address_where_nobody_listens(address, train_command):
    status, _, err = train_command(*TINY, "-m", "fold=0,1", "launch=gpus", f"launch.address={address}")
    assert (status, len(err.splitlines())) == (1, 1), err
    assert f"no Ray cluster answers at launch.address={address}, expected auto or host:port" in err


@pytest.mark.parametrize(
    ("options", "visible", "message"),
    [
        ({"gpus": 4}, "3,5", "launch.gpus is 4, but CUDA_VISIBLE_DEVICES names 2"),
        ({"gpus": 1}, "", "launch.gpus is 1, but CUDA_VISIBLE_DEVICES names 0"),
        ({"gpus": 1, "address": "auto"}, None, "launch.gpus is 1, but the cluster at auto has what it has"),
        (
            {"gpus": 0, "cores": 2, "address": "auto"},
            None,
            "launch.cores is 2, but the cluster at auto",
        ),
        ({"mps": True, "address": "auto"}, None, "launch.mps is true, but the service of the nodes at auto is theirs"),
    ],
)
def test_devices_that_there_cannot_be(options, visible, message, monkeypatch):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UsageError, match=message):
        RayQueue(**options)


def test_more_gpus_than_there_are(monkeypatch):
    """Where there is none they are pretended; Ray would believe any number, and jobs on the others train on the CPU."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "num_gpus", lambda: 2)
    assert RayQueue(gpus=2).slots.num == 2
    with pytest.raises(UsageError, match=r"launch.gpus is 3, expected at most the 2 GPUs there are"):
        RayQueue(gpus=3)


def test_placement_on_pretended_gpus(tmp_path, monkeypatch):
    """Two GPUs of two jobs each: never a third on one, both used, the mask there before torch, a failure no matter.

    A cluster that the environment names is not asked for. All jobs find the service that lets them run side by side,
    which is gone afterwards.
    """
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    told = pretended_mps(tmp_path, monkeypatch)
    jobs, statuses = run_jobs(RayQueue(gpus=2, jobs_per_gpu=2, mps=True), tmp_path, 6, 4)
    (place,) = {job["mps"] for job in jobs}
    assert told.read_text().splitlines() == [f"-d in {place}", f"quit in {place} masked"]
    assert statuses == [0, 0, 3, 0, 0, 0]
    by_mask = {mask: [job for job in jobs if job["mask"] == mask] for mask in {job["mask"] for job in jobs}}
    assert set(by_mask) == {"0", "1"}
    assert all(most_at_once(of) <= 2 for of in by_mask.values())
    assert most_at_once(jobs) == 4, "all slots are used"
    assert not any(job["torch"] for job in jobs)
    assert len({job["pid"] for job in jobs}) == 6, "each in a fresh process"
    assert jobs[0]["listening"]
    assert {ip.removeprefix("::ffff:") for job in jobs for ip in job["listening"]} == {"127.0.0.1"}
    assert max(job["start"] for job in jobs[:4]) < min(job["start"] for job in jobs[4:]), "in their order"


def test_cores_are_divided(tmp_path):
    jobs, statuses = run_jobs(RayQueue(gpus=0, cores=4, cores_per_job=2), tmp_path, 4, 2)
    assert statuses == [0, 0, 3, 0]
    assert most_at_once(jobs) == 2
    assert {job["threads"] for job in jobs} == {"2"}


def test_a_killed_job_stops_no_other_and_is_continued(train_command, cache):
    """On two pretended GPUs; the second call trains one run after the other. `make soak` compares bits."""
    sweep = ["-m", "fold=0,1", "trainer.max_epochs=20", "study=s"]
    victim = RunDirectory(Path("runs/s/arch1-hyp1/fold0"))
    with in_background([*TINY, *sweep, "launch=gpus", "launch.gpus=2"], cache) as driver:
        while not victim.checkpoint.exists() and driver.poll() is None:
            time.sleep(0.01)
        (job,) = [p for p in psutil.Process(driver.pid).children(recursive=True) if is_job(p, victim)]
        job.kill()
        out, err = driver.communicate()
    assert driver.returncode == 1
    assert "error: 1 of 2 runs failed, named above; go on with: " in err
    assert f"{victim.path} failed: killed by SIGKILL" in out, "at once"
    assert f"arch1-hyp1 fold 0 failed: killed by SIGKILL, perhaps for want of memory  log: {victim.log}" in out
    assert out.count("cross-entropy") == 1
    assert victim.status["state"] == "failed"
    status, out, _ = train_command(*TINY, *sweep)
    assert status == 0
    assert "1 of 2 runs are finished already" in out
    assert out.count("cross-entropy") == 1


def is_job(process, run) -> bool:
    """Whether a process is the job of a run and not Ray's worker that waits for it."""
    has_log = any(Path(file.path).resolve() == run.log.resolve() for file in process.open_files())
    return has_log and "cifar100x.sweep.child" in process.cmdline()


DRIVER = """
import sys
from cifar100x.sweep.processes import JobProcess
from cifar100x.sweep.ray_queue import RayQueue
jobs = [JobProcess("sleeper", [], sys.argv[1], f"logs/{job}.txt") for job in range(3)]
for _ in RayQueue(gpus=2).statuses(jobs, []):
    pass
"""
SLEEPER = "import time\nprint('here', flush=True)\ntime.sleep(600)"


def test_ctrl_c_reaches_every_job_and_leaves_no_process_behind(tmp_path):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, tmp_path], stderr=subprocess.PIPE, text=True)
    logs = [tmp_path / "logs" / f"{job}.txt" for job in range(3)]
    while not all(log.exists() and "here" in log.read_text() for log in logs[:2]) and driver.poll() is None:
        time.sleep(0.01)
    family = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate()
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert len(family) > 4, "Ray's own, its workers and the jobs"
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert all("KeyboardInterrupt" in log.read_text() for log in logs[:2])
    assert not logs[2].exists(), "what was waiting never starts"


@pytest.mark.skipif(machine.num_gpus() > 0, reason="there is a GPU")
def test_no_gpu_no_sweep_over_gpus(tmp_path):
    with pytest.raises(ValueError, match="there is no GPU: choose launch=cores"):
        run_jobs(RayQueue(), tmp_path, 1, 1)


def test_a_job_ends_with_its_parent(tmp_path):
    """A parent that is killed cannot say goodbye."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    child = os.fork()
    if child == 0:
        JobProcess("sleeper", [], str(tmp_path), "log.txt").run()
    log = tmp_path / "log.txt"
    while not (log.exists() and "here" in log.read_text()):
        time.sleep(0.01)
    (job,) = psutil.Process(child).children()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not psutil.wait_procs([job], timeout=10)[1]
    assert "KeyboardInterrupt" in log.read_text()


def test_exit_statuses_in_words():
    assert ending(3) == "exit status 3"
    assert ending(-signal.SIGSEGV) == "killed by SIGSEGV"
    assert ending(-signal.SIGKILL) == "killed by SIGKILL, perhaps for want of memory"


def test_a_node_takes_a_store_once(tmp_path, monkeypatch):
    """Into the cache that its own environment names, beside its place first."""
    from cifar100x.sweep.ray_jobs import receive_store

    monkeypatch.setenv("CIFAR100X_CACHE", str(tmp_path / "node"))
    for content in (b"first", b"second"):
        receive_store(None, "cifar100-abc", {"manifest.json": content})
    store = tmp_path / "node" / "cifar100-abc"
    assert (store / "manifest.json").read_bytes() == b"first"
    assert sorted(p.name for p in store.parent.iterdir()) == ["cifar100-abc", "cifar100-abc.building"]
