"""Where a study is: what every run of it is doing, and how long it will take, read from the files of the runs."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cifar100x.errors import UserError, printable
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.study import Study
from cifar100x.sweep.schedule import longest_first, makespan

STATES = ("done", "running", "failed", "stopped", "waiting", "eliminated")
"""Of a run. A stopped one was interrupted or killed and will go on from its checkpoint; an eliminated one will not."""
STYLES = dict(zip(STATES, ("green", "cyan", "bold red", "yellow", "dim", "dim"), strict=True))
REFRESH_SECONDS = 1.0
MOST_FOLDS = 10  # that the table has columns for


@dataclass(frozen=True)
class PlannedRun:
    """A run that a sweep was asked for.

    Attributes:
        run: its directory.
        epochs: how many it trains.
        flops: of all its training.
    """

    run: RunDirectory
    epochs: int
    flops: float

    @property
    def about(self) -> dict[str, Any]:
        """What a study's plan holds of it."""
        return {"epochs": self.epochs, "flops": self.flops}

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.run.path.parent.name if self.fold else self.run.path.name

    @property
    def fold(self) -> str:
        """Number of the fold; empty where there is none."""
        name = self.run.path.name
        return name.removeprefix("fold") if name.startswith("fold") else ""

    @property
    def name(self) -> str:
        """Model and fold."""
        return f"{self.model} fold {self.fold}" if self.fold else self.model


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        planned: the run.
        state: one of `STATES`.
        epochs: how many are finished.
        part: of the next one that is done, while it runs.
        seconds: what training them took.
        overhead: seconds of a finished run for all but training; None while it is not finished.
        accuracy: of the held-out fold, a fraction; None while there is none.
        error: why it failed.
    """

    planned: PlannedRun
    state: str
    epochs: int
    part: float
    seconds: float
    overhead: float | None
    accuracy: float | None
    error: str | None


def planned_runs(study: Study) -> list[PlannedRun]:
    """The runs that sweeps of a study were asked for.

    Runs that were started one by one are not among them.
    """
    runs = study.plan.get("runs", {})
    return [
        PlannedRun(RunDirectory(study.path / name), about["epochs"], about["flops"]) for name, about in runs.items()
    ]


def progress_of(planned: PlannedRun) -> Progress:
    """Read how far a run is; one whose files cannot be believed has failed."""
    try:
        return _progress_of(planned)
    except (UserError, OSError) as error:  # as where a file system is away for a while
        return Progress(planned, "failed", 0, 0.0, 0.0, None, None, str(error))


def _progress_of(planned: PlannedRun) -> Progress:
    run = planned.run
    status, history = run.status, run.history
    state = run.state or "waiting"
    seconds = sum(row.get("seconds", 0.0) for row in history)
    overhead = accuracy = None
    if state == "done":
        overhead = max(0.0, status["seconds"] - seconds) if "seconds" in status else None
        accuracy = run.metrics.get("val", {}).get("accuracy")
    part = max(0.0, min(run.progress - len(history), 1.0)) if state == "running" else 0.0
    error = status.get("error") if state == "failed" else None
    return Progress(planned, state, len(history), part, seconds, overhead, accuracy, error)


def seconds_left(runs: Sequence[Progress]) -> float | None:
    """Seconds until the last run ends, at the speed measured so far; None before any was measured.

    A model's speed is that of its own runs, or else follows from its operations and the speed of other models. The
    runs are spread over as many slots as are busy now.
    """
    per_epoch = defaultdict(list)  # seconds by model
    per_flop = []
    for run in runs:
        if run.epochs:
            per_epoch[run.planned.model].append(run.seconds / run.epochs)
            per_flop.append(run.seconds / run.epochs * run.planned.epochs / run.planned.flops)
    if not per_flop:
        return None
    overhead = median([run.overhead for run in runs if run.overhead is not None] or [0.0])

    def left(run: Progress) -> float:
        planned = run.planned
        epoch = median(per_epoch[planned.model] or [median(per_flop) * planned.flops / planned.epochs])
        return epoch * (planned.epochs - run.epochs - run.part) + overhead

    running = [left(run) for run in runs if run.state == "running"]
    others = [left(run) for run in runs if run.state in ("waiting", "stopped")]
    costs = running + [others[job] for job in longest_first(others)]
    return makespan(costs, max(1, len(running)))


def summary(runs: Sequence[Progress]) -> str:
    """One line: how many runs are in which state, and the time left."""
    counts = Counter(run.state for run in runs)
    text = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    left = seconds_left(runs)
    return f"{text}; about {duration(left)} left" if left else text


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def view(title: str, runs: Sequence[Progress]) -> RenderableType:
    """A line of counts, a table of models and folds, and what failed."""
    models = sorted({run.planned.model for run in runs})
    folds = sorted({run.planned.fold for run in runs}, key=lambda fold: (len(fold), fold))
    table = Table(box=None, pad_edge=False)
    table.add_column("model")
    if len(folds) <= MOST_FOLDS:
        for fold in folds:
            table.add_column(f"fold {fold}" if fold else "", justify="right")
        cells = {(run.planned.model, run.planned.fold): _cell(run) for run in runs}
        for model in models:
            table.add_row(model, *(cells.get((model, fold), "") for fold in folds))
    else:
        for state in STATES:
            table.add_column(state, justify="right", style=STYLES[state])
        for model in models:
            counts = Counter(run.state for run in runs if run.planned.model == model)
            table.add_row(model, *(str(counts[state] or "") for state in STATES))
    failed = [Text(line, style=STYLES["failed"]) for line in failures(runs)]
    return Group(Text(f"{title}: {summary(runs)}", style="bold"), table, *failed)


def _cell(run: Progress) -> Text:
    epochs = f"{run.epochs}/{run.planned.epochs}"
    texts = {
        "done": "done" if run.accuracy is None else f"{run.accuracy:.1%}",
        "running": f"{run.epochs + run.part:.1f}/{run.planned.epochs}" if run.part else epochs,
        "stopped": f"stopped {epochs}",
        "failed": "failed",
        "waiting": "·",
        "eliminated": "–",
    }
    return Text(texts[run.state], style=STYLES[run.state])


def failures(runs: Sequence[Progress]) -> list[str]:
    """One line for each failed run: its first error and its log."""
    return [
        f"{run.planned.name} failed: {printable((run.error or 'no reason given').splitlines()[0])}  "
        f"log: {run.planned.run.log}"
        for run in runs
        if run.state == "failed"
    ]


class Watch:
    """The progress of some runs, read again when asked; finished ones are read once."""

    def __init__(self, runs: Sequence[PlannedRun]):
        self.runs = runs
        self.done: dict[int, Progress] = {}

    def look(self) -> list[Progress]:
        """Read how far the runs are."""
        found = [self.done.get(index) or progress_of(planned) for index, planned in enumerate(self.runs)]
        self.done |= {index: progress for index, progress in enumerate(found) if progress.state == "done"}
        return found


@contextmanager
def shown_live(title: str, runs: Sequence[PlannedRun], console: Console) -> Iterator[None]:
    """Show the progress of some runs until the block ends, if the console is a terminal."""
    if not console.is_terminal:
        yield
        return
    watch, ended = Watch(runs), threading.Event()
    with Live(view(title, watch.look()), console=console, auto_refresh=False, transient=True) as live:

        def refresh() -> None:
            while not ended.wait(REFRESH_SECONDS):
                live.update(view(title, watch.look()), refresh=True)

        thread = threading.Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
