"""Jobs as an array on Slurm, through submitit."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

from cifar100x.errors import UserError
from cifar100x.sweep.processes import JobProcess
from cifar100x.sweep.queues import ProcessQueue, Slots, at_least

if TYPE_CHECKING:
    from cifar100x.sweep.plan import PlannedJob

POLL_SECONDS = 10
NO_SLURM = "launch=slurm, but there is no srun here: call it on a login node of the cluster"


class SlurmArray(ProcessQueue):
    """As an array on Slurm, from a folder that all its nodes see.

    Args:
        jobs: how many run at one time.
        options: of submitit's executor, by its names, as `slurm_partition` or `timeout_min`.

    Raises:
        UsageError: no job is to run.
        UserError: there is no Slurm here.
    """

    def __init__(self, *, jobs: int, options: dict[str, Any]):
        at_least("launch.jobs", jobs, 1)
        if shutil.which("srun") is None:
            raise UserError(NO_SLURM)
        self.jobs, self.options = jobs, options

    @property
    def slots(self) -> Slots:
        """On other machines."""
        return Slots(self.jobs, here=False)

    def statuses(self, processes: Sequence[JobProcess], jobs: Sequence["PlannedJob"]) -> Iterator[tuple[int, int]]:
        """Submit them."""
        yield from run_all(processes, jobs[0].job.study.path / "slurm", self.jobs, self.options)


@dataclass(frozen=True)
class Requeued:
    """A job that goes on in a new allocation when the time of its own is up, or when it is preempted."""

    process: JobProcess

    def __call__(self) -> int:
        """Run it; give its exit status."""
        return self.process.run()

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit is to submit next: the same, since a run goes on from its checkpoint by itself."""
        return submitit.helpers.DelayedSubmission(self)


def run_all(
    processes: Sequence[JobProcess], folder: Path, num_at_once: int, options: dict[str, Any]
) -> Iterator[tuple[int, int]]:
    """Submit jobs as one array, which Slurm starts in this order; yield index and exit status of each when it ends.

    If the caller is interrupted, the array is cancelled.

    Args:
        processes: the jobs.
        folder: for submitit's own files and Slurm's logs; all nodes must see it.
        num_at_once: how many run at one time.
        options: of the executor.

    Raises:
        UserError: Slurm does not take them.
    """
    try:
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=1000)
        executor.update_parameters(slurm_array_parallelism=num_at_once, **options)
        with executor.batch():
            # Under this name Lightning takes no part in what Slurm does: submitit queues again
            jobs = [executor.submit(Requeued(p.with_environment(SLURM_JOB_NAME="interactive"))) for p in processes]
    except (FailedJobError, FailedSubmissionError, NameError, TypeError) as error:  # of sbatch, or of submitit's names
        reason = " ".join(str(error).split())
        raise UserError(f"Slurm does not take these jobs ({reason}): see launch.options") from error
    index_of = {job.job_id: index for index, job in enumerate(jobs)}
    try:
        for job in submitit.helpers.as_completed(jobs, poll_frequency=POLL_SECONDS):
            yield index_of.pop(job.job_id), _status(job)
    finally:
        for job in jobs:
            if job.job_id in index_of:
                job.cancel()


def _status(job: submitit.Job) -> int:
    try:
        return job.result()
    except (FailedJobError, UncompletedJobError):
        return -9  # it was killed, or its node died
