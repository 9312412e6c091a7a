"""Where a study is: python -m cifar100x.status study=demo."""

from cifar100x.app.command import launch
from cifar100x.errors import UserError


def status(*, study: str, runs: str) -> None:
    """Print what is done, running, failed and waiting, the time left, and the command that goes on."""
    from rich.console import Console

    from cifar100x.app.naming import study_named
    from cifar100x.sweep.progress import planned_runs, progress_of, view

    found = study_named(runs, study)
    found.must_exist()
    states = [progress_of(planned) for planned in planned_runs(found)]
    if not states:
        raise UserError(f"{found.path} was not swept: python -m cifar100x.train -m study={study} ... plans one")
    console = Console(markup=False)
    console.print(view(study, states), soft_wrap=True)
    names = {run.state for run in states}
    if names - {"done", "eliminated"}:
        when = "if it stops, go on" if "running" in names else "go on"
        console.print(f"{when} with: {found.plan['command']}", highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point of the command line."""
    launch(status, "status")


if __name__ == "__main__":
    main()
