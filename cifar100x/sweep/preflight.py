"""Before the first job: what the sweep needs, against what is there."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich import filesize
from rich.console import Console
from rich.table import Table

from cifar100x.errors import UserError
from cifar100x.sweep.plan import PlannedJob
from cifar100x.sweep.queues import NO_GPU, Slots

OTHER_FILES = 6 << 20  # bytes of a run's predictions, curves and events, at most, with folds of 10,000 images
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Requirement:
    """One line of the table.

    Attributes:
        of: what is needed.
        why: what for.
        needed: bytes.
        there: bytes; None if nobody can tell.
        remedy: what to do if they are too few.
    """

    of: str
    why: str
    needed: float
    there: float | None
    remedy: str

    @property
    def met(self) -> bool:
        """Whether there is enough, or nobody can tell."""
        return self.there is None or self.needed <= self.there


def requirements(jobs: Sequence[PlannedJob], slots: Slots) -> list[Requirement]:
    """What the unfinished jobs of a sweep need of this machine.

    Jobs at one time are taken to be the largest ones. A checkpoint is written beside the one it replaces, so those
    that run hold two. Files that are there already are not counted again.
    """
    at_once = min(slots.num, len(jobs))
    largest = sorted((job.needs.checkpoint for job in jobs), reverse=True)[:at_once]
    written = sum(max(0, job.needs.weights - _size(job.job.run.checkpoint)) + OTHER_FILES for job in jobs)
    runs = jobs[0].job.study.path.parent
    memory = sorted((job.needs.memory + job.job.learner.images_bytes for job in jobs), reverse=True)
    of_process = psutil.Process().memory_info().rss  # of one that has imported what a job imports
    disk = Requirement(
        "disk", f"{len(jobs)} run{'s' if len(jobs) > 1 else ''} in {runs}", written + 2 * sum(largest), _free(runs),
        "free some or write elsewhere with runs=/path",
    )  # fmt: skip
    fewer = "run fewer at a time" if at_once > 1 else "choose a smaller data.batch_size or width"
    if not slots.here:
        return [disk]
    if jobs[0].job.device.type == "cpu":
        needed = sum(memory[:at_once]) + at_once * of_process
        return [disk, Requirement("memory", f"{at_once} at a time", needed, _free_memory(), fewer)]
    free = (free_gpu_memory() or [])[: slots.num_devices]
    on_one = min(slots.per_device, at_once)
    return [
        disk,
        Requirement("memory", f"{at_once} at a time", at_once * of_process, _free_memory(), fewer),
        Requirement("GPU memory", f"{on_one} on a GPU", sum(memory[:on_one]), min(free, default=None), fewer),
    ]


def check(jobs: Sequence[PlannedJob], slots: Slots, console: Console) -> None:
    """Print the table of needs.

    Raises:
        UserError: there is less than needed, or no GPU at all.
    """
    if not slots.num:
        raise UserError(NO_GPU)
    needs = requirements(jobs, slots)
    table = Table(box=None, pad_edge=False)
    for name in ("", "needed", "there", "for"):
        table.add_column(name, justify="right" if name in ("needed", "there") else "left")
    for name, what in present(jobs).items():
        table.add_row(name, "", "present", what)
    for need in needs:
        table.add_row(need.of, size(need.needed), "unknown" if need.there is None else size(need.there), need.why)
    console.print(table)
    if short := [need for need in needs if not need.met]:
        raise UserError(
            "; ".join(
                f"not enough {need.of} for {need.why}: {size(need.needed)} needed, {size(need.there or 0)} there: "
                f"{need.remedy}"
                for need in short
            )
        )


def present(jobs: Sequence[PlannedJob]) -> dict[str, str]:
    """What jobs have found when they were made: their images and their encoders."""
    found: dict[str, dict[str, None]] = {"data": {}, "encoder": {}}
    for job in jobs:
        config = job.job.config
        found["data"][f"{config['data']['name']}, {config['data']['fingerprint'][:12]}"] = None
        if encoder := config["model"].get("encoder"):
            found["encoder"][encoder] = None
    return {name: ", ".join(what) for name, what in found.items() if what}


def size(num_bytes: float) -> str:
    """Bytes as people say them."""
    return filesize.decimal(int(num_bytes))


def free_gpu_memory() -> list[float] | None:
    """Free bytes of each GPU that this process may use, as NVIDIA's driver reports them, without a context on any.

    They are in the order of CUDA_VISIBLE_DEVICES. None where nobody can tell: there is no driver, or parts of GPUs are
    named.
    """
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
        gpus = [(names, float(mebibytes) * (1 << 20)) for *names, mebibytes in (line.split(", ") for line in lines)]
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(index for (index, _), _ in gpus)
    free_of = {name: free for names, free in gpus for name in names}
    try:
        return [free_of[name.strip()] for name in visible.split(",")]
    except KeyError:
        return None


def _free(path: Path) -> float:
    there = next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.exists())
    return shutil.disk_usage(there).free


def _free_memory() -> float:
    """Bytes this process and its children can still have, of the machine or of its container."""
    free = float(psutil.virtual_memory().available)
    if CGROUP_LIMIT.exists() and (limit := CGROUP_LIMIT.read_text().strip()) != "max":
        used = dict(line.split() for line in CGROUP_LIMIT.with_name("memory.stat").read_text().splitlines())
        free = min(free, int(limit) - int(used["anon"]))  # the page cache gives way
    return free


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
