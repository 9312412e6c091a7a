"""Every command on a study that somebody handed over, watched: what it opens, starts and connects to."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from PIL import Image

from cifar100x.runs.study import Study
from tests.conftest import unseal

WATCHED = """
import json, os, sys
allowed, commands = json.loads(sys.argv[1]), json.loads(sys.argv[2])
found, statuses = set(), []
CONNECTED = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.system")

def inside(path):
    path = os.path.realpath(os.fsdecode(path))
    return any(path == root or path.startswith(root + os.sep) for root in allowed)

def watch(event, args):
    if event == "open" and isinstance(args[0], str | bytes) and not inside(args[0]):
        found.add(f"open {os.fsdecode(args[0])}")
    elif event in CONNECTED:
        found.add(f"{event} {args[0]}")
    elif event == "import" and args[1] and not inside(args[1]):
        found.add(f"import {args[1]}")

from importlib import import_module
sys.addaudithook(watch)
for name, *arguments in commands:
    sys.argv = [name, *arguments]
    try:
        import_module(f"cifar100x.{name}").main()
    except SystemExit as error:
        statuses.append(error.code or 0)
    else:
        statuses.append(0)
print("found", json.dumps([statuses, sorted(found)]))
"""
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64", "/opt")
KNOWN = {f"subprocess.Popen {name}" for name in ("git", "fc-list", "/sbin/ldconfig", "/bin/sh", "lscpu")}
"""Which commit of the code this is, which fonts and libraries and what processor there are."""


HERE = (
    ["status", "study=default", "runs=../ours/runs"],
    ["predict", "../ours/runs/default/arch1-hyp1", "photo.png"],
)
THEIRS = (
    ["compare", "study=default", "runs=../theirs/runs"],
    ["final", "study=default", "runs=../theirs/runs"],
    ["predict", "../theirs/runs/default/arch1-hyp1", "photo.png"],
    ["export", "../theirs/runs/default/arch2-hyp1/fold0", "stolen"],
)


def test_nothing_outside_is_touched(compared_study, cache, tmp_path):
    """A study as it was left, and one whose configs name what would read, copy and call."""
    for name in ("ours", "theirs"):
        shutil.copytree(compared_study / "runs", tmp_path / name / "runs")
    for run in Study(tmp_path / "theirs/runs/default").all_runs():
        unseal(run)
        config = yaml.safe_load((run.path / "config.yaml").read_text())
        config["model"]["net"] = {"_target_": "torch.hub.load", "repo_or_dir": str(tmp_path), "source": "local"}
        config["data"] |= {"_target_": "shutil.copy", "src": "/etc/passwd", "dst": str(tmp_path / "stolen")}
        config |= {"cache": str(tmp_path / "elsewhere")}
        (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    here = tmp_path / "here"
    here.mkdir()
    Image.new("RGB", (8, 8)).save(here / "photo.png")
    (here / "torch.py").write_text("raise SystemExit('imported')")
    roots = [tmp_path, cache, Path(__file__).parents[2], sys.prefix, sys.base_prefix, *SYSTEM]
    allowed = json.dumps([os.path.realpath(root) for root in roots])
    environment = os.environ | {"CIFAR100X_CACHE": str(cache), "MPLCONFIGDIR": str(here), "TMPDIR": str(here)}
    shell = [sys.executable, "-c", WATCHED, allowed, json.dumps([*HERE, *THEIRS])]
    done = subprocess.run(shell, cwd=here, env=environment, capture_output=True, text=True)
    statuses, found = json.loads(done.stdout[done.stdout.rindex("found ") + 6 :])
    assert set(found) <= KNOWN
    assert statuses == [0, 0, 0, 1, 1, 1], done.stderr
    assert not (tmp_path / "stolen").exists()
    assert not (here / "stolen").exists()
    assert not (tmp_path / "elsewhere").exists()
