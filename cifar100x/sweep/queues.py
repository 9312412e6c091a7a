"""What all ways to run the jobs of a sweep have in common. Processes that run jobs import this, so it is light."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cifar100x.errors import UsageError, UserError
from cifar100x.sweep.processes import JobProcess, ending

if TYPE_CHECKING:
    from cifar100x.sweep.plan import PlannedJob


LEFT = os.EX_TEMPFAIL
"""Exit status of a job that found its run held by another process."""
NO_CLUSTER = (
    "no Ray cluster answers at launch.address={}, expected auto or host:port: start one with ray start --head; if it "
    "wants a token, set RAY_AUTH_MODE=token here too"
)
NO_GPU = "launch=gpus, but there is no GPU: choose launch=cores, or none for one run after the other"


@dataclass(frozen=True)
class Slots:
    """How many jobs run at one time.

    Attributes:
        num_devices: GPUs, or shares of the cores.
        per_device: jobs on each.
        here: whether that is on this machine.
    """

    num_devices: int
    per_device: int = 1
    here: bool = True

    @property
    def num(self) -> int:
        """How many jobs run at a time."""
        return self.num_devices * self.per_device


def at_least(key: str, number: int | None, least: int) -> None:
    """Raise UsageError if a number of a config is too small; None is chosen later."""
    if number is not None and number < least:
        raise UsageError(f"{key} is {number}, expected {least} or more")


class Queue(ABC):
    """Runs jobs as slots come free."""

    @property
    @abstractmethod
    def slots(self) -> Slots:
        """Where jobs run, and how many at one time."""

    @abstractmethod
    def run(self, jobs: Sequence["PlannedJob"]) -> list["PlannedJob"]:
        """Run all jobs in this order; print the last words of each when it ends, and mark it failed if it did.

        Returns:
            Those that were left to the process that holds their run.
        """


class ProcessQueue(Queue):
    """Each job as a process of its own, which says what it has to say to the log of its run."""

    def run(self, jobs: Sequence["PlannedJob"]) -> list["PlannedJob"]:
        """Run them all."""
        processes = [
            JobProcess("cifar100x.sweep.child", [], str(Path.cwd()), str(job.job.run.log), json.dumps(job.config))
            for job in jobs
        ]
        left = []
        for index, status in self.statuses(processes, jobs):
            run = jobs[index].job.run
            words = (processes[index].last_words() if status >= 0 else "") or ending(status)
            if status == LEFT or (status and run.is_held):  # by a process that outlives its worker for a moment
                left.append(jobs[index])
                words = f"{run.path} is held by another process, and waited for: {words}"
            elif status:
                with suppress(UserError, OSError):  # where nothing can be written, the others are still to run
                    run.mark_failed(words)
                words = f"{run.path} failed: {words}"
            print(words, flush=True)
        return left

    @abstractmethod
    def statuses(self, processes: Sequence[JobProcess], jobs: Sequence["PlannedJob"]) -> Iterator[tuple[int, int]]:
        """Run processes in this order as slots come free; yield index and exit status of each when it ends."""
