"""Studies in random sequences of training, dying, going on, damage, swaps and comparisons, against what must come out.

Processes really die: a fork leaves at a step of its training without a word. `make fuzz MINUTES=30` goes on for long.
"""

import io
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import cifar100x
from cifar100x.data.classes import CIFAR100
from cifar100x.errors import UserError
from cifar100x.runs import identity
from cifar100x.runs.directory import RunHeldError
from cifar100x.runs.record import CHECKPOINT
from cifar100x.runs.study import Folds, Study
from cifar100x.sweep.progress import PlannedRun, progress_of
from tests.reliability.test_fuzz import EXAMPLES, fuzzed
from tests.test_study import hand_made_result

ACCURACIES = {"a": 0.3, "b": 0.4}
RUNS = [(model, fold) for model in ACCURACIES for fold in (0, 1)]
NUM_STEPS = 4
ENDS = (ValueError, KeyboardInterrupt)
NUM_IMAGES = 20
FOLDS = Folds(list(np.arange(2 * NUM_IMAGES).reshape(2, NUM_IMAGES)), "fingerprint")
DAMAGED = ("config.yaml", "metrics.json", "predictions.npz", "history.csv", "classes.json", CHECKPOINT)


def config_of(model: str, fold: int) -> dict:
    chosen = {"task": "classification", "name": model, "model": {"name": model}, "fold": fold, "learning_rate": 1e-4}
    return identity.upgraded_config(chosen, "")


def checkpoint() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights", "of a network")
    return file.getvalue()


class Dies(BaseException):
    """A process that is killed."""


class Life(RuleBasedStateMachine):
    """What is known of two models on two folds: which are done, and which of those have a damaged file."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.study = Study(self.folder / "s")
        self.study.share_folds(FOLDS)
        self.done: set[tuple[str, int]] = set()
        self.damaged: dict[tuple[str, int], set[str]] = {}
        self.swapped = False

    def teardown(self):
        shutil.rmtree(self.folder)

    def train(self, model: str, fold: int, num_steps: int, last: type[BaseException] | None) -> bool:
        """Take so many steps of a training, then end by an exception, if there is one; return whether it was needed."""
        run = self.study.run(model, fold)
        metrics, history, predictions = hand_made_result(model, fold, ACCURACIES[model], FOLDS.indices[fold])

        def write_checkpoint():
            with run.replacing(CHECKPOINT, "wb") as file:
                file.write(checkpoint())

        steps = [lambda: run.begin({}), lambda: run.write_history(history), write_checkpoint,
                 lambda: (run.write_classes(CIFAR100), run.record(metrics, predictions))]  # fmt: skip
        with run.session(config_of(model, fold)) as unfinished:
            if unfinished:
                for step in steps[:num_steps]:
                    step()
                if last is Dies:
                    os._exit(9)
                if last:
                    raise last("of its own accord")
        return unfinished

    @precondition(lambda self: not self.swapped)
    @rule(run=st.sampled_from(RUNS), again=st.booleans())
    def is_trained(self, run, again):
        needed = run not in self.done or bool(self.damaged.get(run))
        assert self.train(*run, NUM_STEPS, None) == needed
        self.done.add(run)
        self.damaged.pop(run, None)
        if again:
            assert not self.train(*run, NUM_STEPS, None)

    @precondition(lambda self: not self.swapped)
    @rule(run=st.sampled_from(RUNS), step=st.integers(0, NUM_STEPS), how=st.sampled_from(ENDS))
    def is_stopped(self, run, step, how):
        if run not in self.done or self.damaged.get(run):
            with pytest.raises(how):
                self.train(*run, step, how)
            assert self.study.run(*run).status["state"] == "failed"
            self.forget(run)

    @precondition(lambda self: not self.swapped)
    @rule(run=st.sampled_from(RUNS), step=st.integers(0, NUM_STEPS))
    def dies(self, run, step):
        if (child := os.fork()) == 0:
            try:
                self.train(*run, step, Dies)
            finally:
                os._exit(0)
        died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        assert died == (run not in self.done or bool(self.damaged.get(run)))
        if died:
            assert not self.study.run(*run).is_held
            self.forget(run)

    def forget(self, run):
        self.done.discard(run)
        self.damaged.pop(run, None)

    @precondition(lambda self: not self.swapped)
    @rule(run=st.sampled_from(RUNS))
    def is_held_elsewhere(self, run):
        path = self.study.run(*run).path
        path.mkdir(parents=True, exist_ok=True)
        with FileLock(path / ".lock"), pytest.raises(RunHeldError):
            self.train(*run, NUM_STEPS, None)

    @precondition(lambda self: self.done)
    @rule(data=st.data(), name=st.sampled_from(DAMAGED), how=st.sampled_from(["gone", "cut", "other"]))
    def is_damaged(self, data, name, how):
        run = data.draw(st.sampled_from(sorted(self.done)))
        path = self.study.run(*self.place(run)).path / name
        if how == "gone":
            path.unlink(missing_ok=True)
        elif path.exists():
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2] if how == "cut" else content + b"!")
        self.damaged.setdefault(run, set()).add(name)

    def place(self, run):
        """Where a run's files lie now."""
        return ({"a": "b", "b": "a"}[run[0]], run[1]) if self.swapped else run

    @precondition(lambda self: all((self.study.path / model).exists() for model in ACCURACIES))
    @rule()
    def models_are_swapped(self):
        a, b, other = (self.study.path / name for name in ("a", "b", "other"))
        a.rename(other)
        b.rename(a)
        other.rename(b)
        self.swapped = not self.swapped

    @rule()
    def is_compared(self):
        """All that were begun are done, in their places and whole but for checkpoints: else one line and no verdict."""
        whole = not any(names - {CHECKPOINT} for names in self.damaged.values())
        begun = {model: found for model, found in ACCURACIES.items() if (self.study.path / model).exists()}
        if begun and self.done == {run for run in RUNS if run[0] in begun} and whole and not self.swapped:
            opened = cifar100x.open_study(self.study.path)
            assert opened.verdict["chosen"] == max(begun)
            assert [row["accuracy_mean"] for row in opened.tables["table1"]] == pytest.approx(list(begun.values()))
        else:
            with pytest.raises(UserError):
                _ = cifar100x.open_study(self.study.path).verdict

    @invariant()
    def is_told(self):
        """What a user who looks is told: never a traceback; and nothing half-written lies about."""
        for run in RUNS:
            found = self.study.run(*self.place(run))
            state = progress_of(PlannedRun(found, 1, 1.0)).state
            names = self.damaged.get(run, set()) & {"metrics.json", "history.csv"}
            if run in self.done:
                assert state == ("failed" if names else "done")
            else:
                assert state in ("waiting", "stopped", "failed")
        assert not list(self.study.path.rglob("*.partial"))


Life.TestCase.settings = settings(fuzzed, max_examples=max(10, EXAMPLES // 2), stateful_step_count=20)
TestLife = pytest.mark.usefixtures("no_patience")(Life.TestCase)


@pytest.fixture(scope="module")
def no_patience():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cifar100x.runs.directory.LOCK_SECONDS", 0)
        yield
