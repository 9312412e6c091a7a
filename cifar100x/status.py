"""Where a study is: python -m cifar100x.status study=demo."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from cifar100x import cli
from cifar100x.errors import UserError
from cifar100x.runs import Study
from cifar100x.sweep.progress import planned_runs, progress_of, view


def status(config: DictConfig) -> None:
    """Print what is done, running, failed and waiting, the time left, and the command that goes on."""
    study = Study(Path(config.runs) / config.study)
    study.must_exist()
    runs = [progress_of(planned) for planned in planned_runs(study)]
    if not runs:
        raise UserError(f"{study.path} was not swept: python -m cifar100x.train -m study={config.study} ... plans one")
    console = Console()
    console.print(view(config.study, runs), soft_wrap=True)
    states = {run.state for run in runs}
    if states != {"done"}:
        when = "if it stops, go on" if "running" in states else "go on"
        console.print(f"{when} with: {study.plan['command']}", highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point of the command line."""
    cli.launch(status, "status")


if __name__ == "__main__":
    main()
