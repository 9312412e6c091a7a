"""A sweep from its first job to its last: plan, check, run, and say what became of it."""

import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console

from cifar100x.app.arguments import make
from cifar100x.errors import UsageError, UserError
from cifar100x.stopping import is_interrupt
from cifar100x.sweep import preflight
from cifar100x.sweep.in_turn import InTurn
from cifar100x.sweep.plan import PlannedJob, plan, tell_studies
from cifar100x.sweep.progress import REFRESH_SECONDS, failures, progress_of, shown_live, view
from cifar100x.sweep.queues import Queue
from cifar100x.sweep.racing import Race


def sweep(overrides: Sequence[Sequence[str]], configs: Sequence[dict[str, Any]]) -> None:
    """Train every job that is not finished, the longest first.

    With `race` they are trained fold by fold, without the candidates that will not come first. A job that fails stops
    no other. One that another sweep is training is left to that one; if it is not finished there, it is trained here
    after all.

    Args:
        overrides: of each job, as on a command line.
        configs: of each job.

    Raises:
        UserError: something is missing, before the first job starts; or some jobs failed, after the last.
    """
    console = Console(markup=False)
    queue = queue_of(configs)
    jobs = plan(overrides, configs, queue.slots.here)
    rounds = rounds_of(jobs, console)
    left = [job for job in jobs if not job.job.run.is_whole]
    if len(left) < len(jobs):
        console.print(f"{len(jobs) - len(left)} of {len(jobs)} runs are finished already")
    if left:
        preflight.check(left, queue.slots, console)
    command = shlex.join([*sys.orig_argv[:1], "-m", "cifar100x.train", *sys.argv[1:]])
    tell_studies(jobs, command)
    title = ", ".join(dict.fromkeys(config["study"] for config in configs))
    watched = [job.planned_run for job in jobs]
    try:
        with shown_live(title, watched, console):
            for jobs_of_round in rounds:
                finish([job for job in jobs_of_round if job in left], queue)
                left = [job for job in left if job not in jobs_of_round]
    except BaseException as error:
        if is_interrupt(error):
            console.print(f"go on with: {command}", highlight=False, soft_wrap=True)
        raise
    runs = [progress_of(planned) for planned in watched]
    console.print(view(title, runs), soft_wrap=True)
    if failed := failures(runs):
        raise UserError(f"{len(failed)} of {len(runs)} runs failed, named above; go on with: {command}")
    if left_over := [run.planned.name for run in runs if run.state not in ("done", "eliminated")]:
        raise UserError(
            f"{len(left_over)} of {len(runs)} runs are not finished ({left_over[0]}); go on with: {command}"
        )


def finish(jobs: Sequence[PlannedJob], queue: Queue) -> None:
    """Run jobs, and wait for those that another sweep is at, to run them after all if it does not finish them."""
    while jobs:
        elsewhere = queue.run(jobs)
        while any(job.job.run.is_held for job in elsewhere):
            time.sleep(REFRESH_SECONDS)
        jobs = [job for job in elsewhere if not job.job.run.is_done]


def queue_of(configs: Sequence[dict[str, Any]]) -> Queue:
    """Where the jobs of a sweep run: as `launch` says, or one after the other.

    Raises:
        UsageError: jobs of one sweep differ in it.
    """
    node = configs[0].get("launch")
    if any(config.get("launch") != node for config in configs):
        raise UsageError("launch has several values in one sweep: choose one way to spread it")
    return make(node, "launch") if node else InTurn()


def rounds_of(jobs: Sequence[PlannedJob], console: Console) -> Iterable[Sequence[PlannedJob]]:
    """The jobs that may run together, one round after the other: all at once, unless it is a race.

    Raises:
        UsageError: it is to be a race and cannot be.
    """
    levels = {job.config.get("race") for job in jobs}
    if len(levels) > 1:
        raise UsageError("race has several values in one sweep: choose one")
    level = levels.pop()
    return [jobs] if level is None else Race(jobs, level).rounds(console)
