"""A sweep from its first job to its last: plan, check, launch, and say what became of it."""

import shlex
import sys
import time
import traceback
from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig
from rich.console import Console

from cifar100x.errors import UserError, is_interrupt, user_message
from cifar100x.sweep import preflight
from cifar100x.sweep.plan import PlannedJob, plan, tell_studies
from cifar100x.sweep.progress import REFRESH_SECONDS, failures, progress_of, shown_live, view


def sweep(overrides: Sequence[Sequence[str]], configs: Sequence[DictConfig], launcher: Launcher) -> None:
    """Train every job that is not finished, the longest first.

    A job that fails stops no other. One that another sweep is training is left to that one; if it is not finished
    there, it is trained here after all.

    Args:
        overrides: of each job, as on a command line.
        configs: of each job.
        launcher: runs them.

    Raises:
        UserError: something is missing, before the first job starts; or some jobs failed, after the last.
    """
    console = Console()
    jobs = plan(overrides, configs)
    left = [job for job in jobs if not is_done(job)]
    if len(left) < len(jobs):
        console.print(f"{len(jobs) - len(left)} of {len(jobs)} runs are finished already")
    if left:
        preflight.check(left, getattr(launcher, "slots", preflight.Slots(1)), console)
    command = shlex.join([*sys.orig_argv[:1], "-m", "cifar100x.train", *sys.argv[1:]])
    tell_studies(jobs, command)
    title = ", ".join(dict.fromkeys(config.study for config in configs))
    watched = [job.planned_run for job in jobs]
    try:
        with shown_live(title, watched, console):
            while left:
                launched = launcher.launch([job.overrides for job in left], initial_job_idx=0)
                left = [job for job, ended in zip(left, launched, strict=True) if is_left_to_another(job, ended)]
                while any(job.job.run.is_held for job in left):
                    time.sleep(REFRESH_SECONDS)
    except BaseException as error:
        if is_interrupt(error):
            console.print(f"go on with: {command}", highlight=False, soft_wrap=True)
        raise
    runs = [progress_of(planned) for planned in watched]
    console.print(view(title, runs), soft_wrap=True)
    if failed := failures(runs):
        raise UserError(f"{len(failed)} of {len(runs)} runs failed, named above; go on with: {command}")


def is_done(job: PlannedJob) -> bool:
    """Whether there is nothing left to do."""
    return job.job.run.status.get("state") == "done"


def is_left_to_another(job: PlannedJob, ended: JobReturn) -> bool:
    """Whether another sweep is at a job that ended here unfinished; if none is, note why it failed."""
    run = job.job.run
    if is_done(job) or run.is_held:
        return run.is_held
    error = ended._return_value if ended.status == JobStatus.FAILED else None
    run.mark_failed(user_message(error) or str(error) or type(error).__name__ if error else "it left no result")
    if isinstance(error, Exception) and error.__traceback__:  # it ran in this process, and has no log of its own
        with run.log.open("a") as log:
            traceback.print_exception(error, file=log)
    return False
