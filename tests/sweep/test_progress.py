"""What the runs of a study are doing, from hand-made run directories and as a terminal shows it."""

import io
import json
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from cifar100x.runs.study import Study
from cifar100x.sweep.progress import (
    PlannedRun,
    planned_runs,
    progress_of,
    seconds_left,
    shown_live,
    summary,
    view,
)
from tests.conftest import TINY


def make_run(study, model, fold, state=None, epochs=0, seconds=1.0, planned=10, flops=100.0, overhead=0.0, error=None):
    """A run directory with so many epochs of so many seconds."""
    run = study.run(model, fold)
    run.path.mkdir(parents=True)
    if epochs:
        run.write_history([{"epoch": e + 1, "seconds": seconds} for e in range(epochs)])
    if state:
        status = {"state": state, "error": error, "seconds": epochs * seconds + overhead}
        (run.path / "status.json").write_text(json.dumps(status))
    return PlannedRun(run, planned, flops)


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path / "runs" / "s")


def test_states(study):
    runs = [
        make_run(study, "a", 0, "done", 10),
        make_run(study, "a", 1, "running", 3),
        make_run(study, "a", 2, "running", 4),
        make_run(study, "a", 3, "failed", 5, error="interrupted"),
        make_run(study, "a", 4, "failed", error="out of memory\nsecond line"),
        make_run(study, "b", 0),
    ]
    with FileLock(runs[1].run.path / ".lock"):
        found = [progress_of(run) for run in runs]
        states = [progress.state for progress in found]
    assert states == ["done", "running", "stopped", "stopped", "failed", "waiting"]
    assert [progress.epochs for progress in found] == [10, 3, 4, 5, 0, 0]
    text = io.StringIO()
    Console(file=text, width=100).print(view("s", found))
    assert "s: 1 done, 1 running, 1 failed, 2 stopped, 1 waiting; about" in text.getvalue()
    assert "stopped 4/10" in text.getvalue()


def test_the_table_moves_within_an_epoch(study):
    run = make_run(study, "a", 0, "running", 3, 2.0)
    run.run.tell_progress(3.25)
    with FileLock(run.run.path / ".lock"):
        progress = progress_of(run)
    text = io.StringIO()
    Console(file=text, width=100).print(view("s", [progress]))
    assert "3.2/10" in text.getvalue()
    assert seconds_left([progress]) == 6.75 * 2
    run.run.tell_progress(2.5)
    assert progress_of(run).part == 0, "of an epoch that is finished"


def test_a_run_tells_how_far_its_epoch_is(train_command, monkeypatch):
    monkeypatch.setattr("cifar100x.training.callbacks.TELL_SECONDS", 0.0)
    assert train_command(*TINY)[0] == 0
    directory = Study(Path("runs/default")).run("arch1-hyp1", 0)
    assert directory.progress == 2.0, "after the last batch of the second epoch"


def test_time_left_is_that_of_the_last_run_at_measured_speed(study):
    """One slot is busy: 7 epochs of 2 s, then an equal run, each with 5 s for all but training."""
    runs = [
        make_run(study, "a", 0, "done", 10, 2.0, overhead=5.0),
        make_run(study, "a", 1, "running", 3, 2.0),
        make_run(study, "a", 2),
    ]
    with FileLock(runs[1].run.path / ".lock"):
        assert seconds_left([progress_of(run) for run in runs]) == 7 * 2 + 5 + 10 * 2 + 5


def test_an_unmeasured_model_is_judged_by_its_operations(study):
    runs = [make_run(study, "a", 0, "done", 10, 1.0, flops=100.0), make_run(study, "b", 0, flops=350.0)]
    assert seconds_left([progress_of(run) for run in runs]) == pytest.approx(35)


def test_no_time_left_is_told_before_any_speed_is_known(study):
    runs = [progress_of(make_run(study, "a", fold)) for fold in range(2)]
    assert seconds_left(runs) is None
    assert summary(runs) == "2 waiting"


def test_many_folds_are_counted(study):
    runs = [progress_of(make_run(study, "a", fold, "done", 1)) for fold in range(12)]
    text = io.StringIO()
    Console(file=text).print(view("s", runs))
    assert [line.split() for line in text.getvalue().splitlines()[1:]][1] == ["a", "12"]


def test_live_in_a_terminal(train_command, command):
    """A sweep of the plain launcher, watched by a terminal while it trains."""
    assert train_command(*TINY, "-m", "fold=0,1")[0] == 0
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100)
    with shown_live("mine", planned_runs(Study(Path("runs/default"))), terminal):
        pass
    shown = screen.getvalue()
    assert "mine: 2 done" in shown
    assert "arch1-hyp1" in shown


def test_status_of_no_study(command, tmp_path):
    from cifar100x import status

    code, _, err = command(status.main, "study=none")
    assert (code, err) == (1, "error: there is no study runs/none; there is none\n")
    (tmp_path / "runs" / "single").mkdir(parents=True)
    code, _, err = command(status.main, "study=single")
    assert code == 1
    assert "runs/single was not swept" in err
