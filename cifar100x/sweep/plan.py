"""The jobs of a sweep: made and checked before the first one starts, told to the study, the longest first."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifar100x.app.jobs import make_job
from cifar100x.errors import UserError, user_message
from cifar100x.runs.identity import flat
from cifar100x.runs.study import Study
from cifar100x.sweep.progress import PlannedRun
from cifar100x.sweep.schedule import longest_first
from cifar100x.training.needs import Needs
from cifar100x.training.run import Job, needs, operations

MOST_PROBLEMS = 3  # that are told at one time


@dataclass(frozen=True, eq=False)
class PlannedJob:
    """One job of a sweep.

    Attributes:
        overrides: all that was chosen for it, as on a command line.
        config: that these make; whoever runs it finds out anew what it leaves open.
        job: made from its config.
        needs: of its network.
    """

    overrides: Sequence[str]
    config: dict[str, Any]
    job: Job
    needs: Needs

    @property
    def flops(self) -> float:
        """Of the whole training."""
        return operations(self.job)

    @property
    def planned_run(self) -> PlannedRun:
        """What can be watched of it."""
        return PlannedRun(self.job.run, self.job.max_epochs, self.flops)


def plan(overrides: Sequence[Sequence[str]], configs: Sequence[dict[str, Any]], here: bool = True) -> list[PlannedJob]:
    """Make all jobs of a sweep, longest first.

    Args:
        overrides: of each job.
        configs: of each job.
        here: whether they are trained on this machine.

    Raises:
        UserError: some of them cannot be trained, or would write to the same place.
    """
    jobs: list[PlannedJob] = []
    problems: dict[str, None] = {}  # in order and each once: a missing encoder is missed by all its jobs
    for chosen, config in zip(overrides, configs, strict=True):
        try:
            if (devices := config["trainer"]["devices"]) != 1:
                raise UserError(
                    f"trainer.devices is {devices} in a sweep, which gives each job one device, since Lightning starts "
                    "further processes with the command of the whole sweep: train it alone, without -m"
                )
            job = make_job(config, here=here)
            job.run.refuse_other_config(job.config)
            jobs.append(PlannedJob(chosen, config, job, needs(job)))
        except Exception as error:
            message = user_message(error)
            if message is None:
                error.add_note(f"in planning the job {' '.join(chosen)}")
                raise
            problems[message] = None
    problems |= dict.fromkeys(_clashes(jobs))
    if not problems:  # else the baseline may be among those that cannot be trained
        problems |= dict.fromkeys(_absent_baselines(jobs))
    if problems:
        first, more = list(problems)[:MOST_PROBLEMS], len(problems) - MOST_PROBLEMS
        raise UserError("; ".join([*first, f"and {more} more"] if more > 0 else first))
    return [jobs[index] for index in longest_first([job.flops for job in jobs])]


def _clashes(jobs: Sequence[PlannedJob]) -> Iterator[str]:
    """What to say of jobs that would write to one place."""
    first: dict[Path, PlannedJob] = {}
    for job in jobs:
        if (other := first.setdefault(job.job.run.path, job)) is not job:
            one, two = (sorted(set(a.overrides) - set(b.overrides)) for a, b in ((other, job), (job, other)))
            what = f"{job.job.run.path} would be written by two jobs of this sweep"
            if not one and not two:
                yield f"{what}, which are the same: ask for it once"
                continue
            keys = sorted({override.split("=")[0].lstrip("+") for override in (*one, *two)})
            yield f"{what}, one with {' '.join(one)} and one with {' '.join(two)}: {_parted(keys, other, job)}"


def _parted(keys: Sequence[str], *jobs: PlannedJob) -> str:
    """How to give jobs that differ in some keys names of their own."""
    named = [flat(job.config) for job in jobs]
    told = [key if key in named[0] else f"{key}.name" for key in keys]  # of a choice, what it calls itself
    parts = ["${model.name}", *(f"{key.removesuffix('.name').split('.')[-1]}${{{key}}}" for key in told)]
    names = {"-".join(str(config.get(key, "/")) for key in told) for config in named}
    if len(names) < len(jobs) or not all(re.fullmatch(r"[\w.,+=@-]{1,60}", name, re.ASCII) for name in names):
        return "train them one after the other, each with a name=NAME of its own, or in a study=NAME of its own"
    return f"part them with 'name={'-'.join(parts)}'"


def _absent_baselines(jobs: Sequence[PlannedJob]) -> Iterator[str]:
    """What to say of a baseline that nobody trains: what a study is judged by is fixed by its first run."""
    judged = {job.job.study.path: job for job in jobs if job.job.folds and job.config.get("baseline")}
    for path, job in judged.items():
        runs = (*job.job.study.all_runs(), *(other.job.run for other in jobs if other.job.study.path == path))
        known, baseline = sorted({run.path.parent.name for run in runs}), job.config["baseline"]
        if baseline not in known:
            yield f"baseline is {baseline}, expected a candidate of this sweep or its study: {', '.join(known)}"


def tell_studies(jobs: Sequence[PlannedJob], command: str) -> None:
    """Write down what the studies of these jobs are going to hold, and the command that goes on with it."""
    by_study: dict[Path, list[PlannedRun]] = defaultdict(list)
    for job in jobs:
        by_study[job.job.study.path].append(job.planned_run)
    for job in jobs:
        if job.job.folds:
            job.job.study.share_folds(job.job.folds)
    for path, runs in by_study.items():
        Study(path).add_to_plan(command, {str(r.run.path.relative_to(path)): r.about for r in runs})
