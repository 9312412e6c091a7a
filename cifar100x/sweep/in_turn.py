"""The plain way through a sweep: its jobs one after the other, in this process."""

import gc
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from rich.console import Console

from cifar100x.app.jobs import make_job
from cifar100x.disk.writing import appending
from cifar100x.errors import UserError, user_message
from cifar100x.runs.directory import RunHeldError
from cifar100x.stopping import is_interrupt
from cifar100x.sweep.plan import PlannedJob
from cifar100x.sweep.queues import Queue, Slots
from cifar100x.training.run import train


class InTurn(Queue):
    """One after the other, in this process."""

    @property
    def slots(self) -> Slots:
        """One."""
        return Slots(1)

    def run(self, jobs: Sequence[PlannedJob]) -> list[PlannedJob]:
        """Run them; a failure is told at once, and its traceback is in the log of the run."""
        left = []
        for job in jobs:
            gc.collect()  # Lightning's trainer and its data refer to each other, and hold a GPU's memory
            chosen = " ".join(job.overrides)
            try:
                print(train(make_job(job.config), Console(quiet=True, markup=False)), flush=True)
            except RunHeldError:
                print(f"left to another sweep: {chosen}", flush=True)
                left.append(job)
            except Exception as error:
                if is_interrupt(error):
                    raise
                message = user_message(error) or f"{type(error).__name__}: {error}"
                print(f"error: {chosen}: {message}", file=sys.stderr, flush=True)
                with suppress(UserError, OSError):  # where nothing can be written, the others are still to run
                    job.job.run.mark_failed(message)
                    with appending(job.job.run.log) as log:
                        log.write("".join(traceback.format_exception(error)).encode(errors="replace"))
        return left
