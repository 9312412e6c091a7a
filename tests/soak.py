"""Eight runs on two pretended GPUs while jobs, Ray's workers and the sweep itself are killed: python -m tests.soak

The sweep is started again until the study is done. Then all eight must hold what undisturbed ones hold, bit for bit.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import torch

from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.record import CHECKPOINT

EVERY = {"job": 20.0, "worker": 50.0, "sweep": 90.0}
"""Seconds for which there is one of a kind until one is killed."""
RUNS = [f"{model}-modern/fold{fold}" for model in ("arch1-hyp1", "arch2-hyp1") for fold in range(4)]
SWEEP = (
    "data=synthetic", "data.train_per_class=20", "data.test_per_class=0", "folds.num=4", "trainer=cpu",
    "trainer.max_epochs=30", "width.multiplier=0.25", "recipe=modern", "-m", "model=arch1,arch2", "fold=0,1,2,3",
)  # fmt: skip


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """The sweep as a user starts it."""
    command = [sys.executable, "-m", "cifar100x.train", *SWEEP, *arguments]
    with (folder / "sweep.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})


def of_kind(kind: str, sweep: subprocess.Popen) -> Iterator[psutil.Process]:
    """Processes of a sweep that may be killed."""
    with suppress(psutil.NoSuchProcess):
        main = psutil.Process(sweep.pid)
        if kind == "sweep":
            yield main
            return
        for process in main.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "cifar100x.sweep.child" in process.cmdline():
                    yield process if kind == "job" else process.parent()


def disturbed(folder: Path, chance: random.Random) -> Counter[str]:
    """Sweep until all is done; return how many of each kind were killed."""
    killed: Counter[str] = Counter()
    due = {kind: time.monotonic() + seconds for kind, seconds in EVERY.items()}
    sweep = start(folder, "study=disturbed", "launch=gpus", "launch.gpus=2")
    while True:
        time.sleep(0.2)
        if sweep.poll() is not None:
            if sweep.returncode == 0:
                return killed
            killed["sweep started again"] += 1
            sweep = start(folder, "study=disturbed", "launch=gpus", "launch.gpus=2")
        for kind, seconds in EVERY.items():
            found = list(of_kind(kind, sweep))
            if found and time.monotonic() > due[kind]:
                with suppress(psutil.NoSuchProcess):
                    chance.choice(found).send_signal(signal.SIGKILL)
                    killed[kind] += 1
            if not found or time.monotonic() > due[kind]:  # a start takes long: what has just begun is left to it
                due[kind] = time.monotonic() + seconds


def same(one: RunDirectory, other: RunDirectory) -> bool:
    """Whether two runs hold the same predictions and weights, bit for bit."""
    first, second = (torch.load(run.verified(CHECKPOINT), weights_only=True)["state_dict"] for run in (one, other))
    return np.array_equal(one.predictions.logits, other.predictions.logits) and all(
        torch.equal(first[name], second[name]) for name in first.keys() | second.keys()
    )


def main() -> None:
    """Soak, compare, tell."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1000)
    with tempfile.TemporaryDirectory() as name:
        folder, began = Path(name), time.monotonic()
        killed = disturbed(folder, random.Random(seed))
        print(f"seed {seed}: done after {time.monotonic() - began:.0f} s; killed: {dict(killed)}", flush=True)
        if start(folder, "study=undisturbed").wait():
            sys.exit((folder / "sweep.log").read_text()[-2000:])
        runs = [[RunDirectory(folder / "runs" / study / run) for study in ("disturbed", "undisturbed")] for run in RUNS]
        identical = sum(same(*pair) for pair in runs)
        print(f"{identical} of {len(RUNS)} runs are bit-identical to undisturbed ones")
        sys.exit(identical != len(RUNS))


if __name__ == "__main__":
    main()
