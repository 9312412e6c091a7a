"""Train one model on one fold, or the autoencoder: python -m cifar100x.train model=arch2 width=hyp3 fold=2."""

from typing import Any

from cifar100x.app.command import launch
from cifar100x.app.schema import Run
from cifar100x.errors import UsageError


def train(**config: Any) -> None:
    """Train, evaluate and record one run; a finished one is skipped, an unfinished one goes on from its checkpoint."""
    if config.get("launch"):
        raise UsageError("launch says how a sweep is spread: add -m, or leave it out for a single run")
    if config.get("race") is not None:
        raise UsageError("race is between the candidates of a sweep: add -m, or leave it out for a single run")

    from rich.console import Console

    from cifar100x.app.jobs import make_job
    from cifar100x.training import machine, run

    job = make_job(config)
    if machine.rank() > 0:  # a process that Lightning started, for one more device of the same run
        run.fit(job, job.loggers(), Console(quiet=True, markup=False))
    else:
        print(run.train(job, Console(markup=False)), flush=True)


def main() -> None:
    """Entry point of the command line."""
    launch(train, "train", Run, goes_on=": the same command goes on from the last checkpoint")


if __name__ == "__main__":
    main()
