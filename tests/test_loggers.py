"""Loggers, callbacks and options of Lightning's trainer that a user brings along, from outside."""

import inspect
import sys
from pathlib import Path

import lightning as L
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cifar100x.app.schema import Trainer
from cifar100x.runs.directory import RunDirectory
from tests.conftest import TINY
from tests.test_study import read_csv

MINE = '''
from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import CSVLogger


class Curious(L.Callback):
    """Notes what it sees, in the folder of the run."""

    def __init__(self, path: str):
        self.path = path

    def on_train_epoch_end(self, trainer, pl_module):
        with open(self.path, "a") as file:
            file.write(f"{trainer.current_epoch} {float(trainer.callback_metrics['val/accuracy']):.4f}\\n")


class OneRun(CSVLogger):
    """As loggers do that keep one run a process until they are told to finish."""

    current = None

    def __init__(self, title: str, **options):
        super().__init__(**options)
        if OneRun.current is None:
            OneRun.current = title
        assert OneRun.current == title, f"{title} would be logged to {OneRun.current}"
        self.experiment.finish = self.finish

    def finish(self):
        OneRun.current = None


class Failing(L.Callback):
    def __init__(self, title: str):
        self.title = title

    def on_train_epoch_end(self, trainer, pl_module):
        if self.title.endswith("fold 0"):
            raise RuntimeError("the first fold fails")


class Stopping(L.Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


class Forgetful(L.Callback):
    def state_dict(self):
        return {"seen": Path("x")}


class Greedy(L.pytorch.callbacks.ModelCheckpoint):
    pass
'''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of the user's, in which they work."""
    (tmp_path / "mylightning.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mylightning", None)


def test_two_loggers_and_a_callback(train_command):
    Path("conf/callbacks").mkdir(parents=True)
    Path("conf/callbacks/curious.yaml").write_text(
        "curious: {_target_: mylightning.Curious, path: '{folder}/seen.txt'}\n"
    )
    own = ["--config-dir", "conf", "logger=[tensorboard,csv]", "callbacks=curious"]
    status, _, err = train_command(*TINY, *own, "-m", "fold=0,1")
    assert (status, err) == (0, "")
    for fold in (0, 1):
        run = RunDirectory(Path(f"runs/default/arch1-hyp1/fold{fold}"))
        rows = run.history
        seen = [line.split() for line in (run.path / "seen.txt").read_text().splitlines()]
        assert seen == [[str(row["epoch"] - 1), f"{row['val_accuracy']:.4f}"] for row in rows]
        names, *logged = read_csv(run.path / "csv/metrics.csv")
        accuracies = [
            (int(row["step"]), float(row["val/accuracy"])) for line in logged
            if (row := dict(zip(names, line, strict=True)))["val/accuracy"]
        ]  # fmt: skip
        assert accuracies == [(row["epoch"], pytest.approx(row["val_accuracy"])) for row in rows]
        assert float(dict(zip(names, logged[-1], strict=True))["final/accuracy"]) == run.metrics["val"]["accuracy"]
        scalars = EventAccumulator(str(run.path)).Reload().Scalars("val/accuracy")
        assert [(e.step, e.value) for e in scalars] == [(s, pytest.approx(v)) for s, v in accuracies]
        assert (run.path / "csv/hparams.yaml").exists()


def test_every_run_of_a_sweep_is_one_run_of_a_logger(train_command):
    """Grouped by what is told about it; and one that keeps a run a process is told to finish it."""
    logger = "logger.own={_target_: mylightning.OneRun, title: '{run}', save_dir: '{study}', name: '{candidate}'}"
    status, _, err = train_command(*TINY, f"+{logger}", "-m", "fold=0,1", "study=s")
    assert (status, err) == (0, "")
    assert sorted(path.name for path in Path("s/arch1-hyp1").iterdir()) == ["version_0", "version_1"]
    failing = "+callbacks.x={_target_: mylightning.Failing, title: '{run}'}"
    status, _, err = train_command(*TINY, f"+{logger}", failing, "-m", "fold=0,1", "study=t")
    assert status == 1
    assert "error: 1 of 2 runs failed" in err
    assert RunDirectory(Path("runs/t/arch1-hyp1/fold1")).is_done, "it was not logged to the run that failed"


def test_csv_keeps_what_it_held_before_a_run_goes_on(train_command):
    """Stopped after the first epoch, and evaluated anew once it is done."""
    arguments = (*TINY, "logger=[csv]")
    path = Path("runs/default/arch1-hyp1/fold0/csv/metrics.csv")
    assert train_command(*arguments, "+callbacks.x._target_=mylightning.Stopping", "study=stopped")[0] == 1
    Path("runs/default/arch1-hyp1").mkdir(parents=True)
    Path("runs/stopped/arch1-hyp1/fold0").rename("runs/default/arch1-hyp1/fold0")
    config = Path("runs/default/arch1-hyp1/fold0/config.yaml")
    kept = yaml.safe_load(config.read_text()) | {"callbacks": None, "study": "default"}
    config.write_text(yaml.safe_dump(kept))
    for _ in range(2):
        assert train_command(*arguments)[0] == 0
        names, *rows = read_csv(path)
        steps = [row[names.index("step")] for row in rows]
        assert steps == ["1", "2", "2"], "two epochs, and the final metrics"
        Path("runs/default/arch1-hyp1/fold0/predictions.npz").unlink()


def test_csv_takes_back_what_no_checkpoint_knows(trained_and_killed, train_command):
    arguments = [*TINY, "logger=[csv,tensorboard]", "trainer.max_epochs=3"]
    trained_and_killed(*arguments)
    names, *rows = read_csv(Path("runs/default/arch1-hyp1/fold0/csv/metrics.csv"))
    assert [row[names.index("step")] for row in rows] == ["1", "2"], "the second epoch was logged"
    assert train_command(*arguments)[0] == 0
    names, *rows = read_csv(Path("runs/default/arch1-hyp1/fold0/csv/metrics.csv"))
    assert [row[names.index("step")] for row in rows] == ["1", "2", "3", "3"], "three epochs, and the final metrics"


def test_none_at_all(train_command):
    assert train_command(*TINY, "logger=[]")[0] == 0
    assert not list(Path("runs").rglob("events*"))
    assert RunDirectory(Path("runs/default/arch1-hyp1/fold0")).is_done


def test_an_option_of_the_trainer_changes_a_run_and_belongs_to_it(train_command):
    assert train_command(*TINY, "+trainer.limit_train_batches=1", "+trainer.profiler=simple")[0] == 0
    run = RunDirectory(Path("runs/default/arch1-hyp1/fold0"))
    metrics = run.metrics
    assert (metrics["steps"], run.config["data"]["batch_size"], metrics["epochs"]) == (2, 50, 2)
    assert metrics["images_per_second"] * metrics["train_seconds"] == pytest.approx(2 * 50)
    assert "run_training_batch" in (run.path / "fit-profile.txt").read_text()
    status, _, err = train_command(*TINY)
    assert status == 1
    assert "differing in trainer.limit_train_batches (1 there, None now)" in err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("limit_train_batches=7.5", "Lightning's trainer takes no such option: You have passed invalid value 7.5 for"),
        ("accumulate_grad_batches=0", "trainer.accumulate_grad_batches is 0, expected 1..1000000"),
    ],
)
def test_options_that_cannot_be(option, message, train_command):
    status, out, err = train_command(*TINY, f"+trainer.{option}")
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert message in err


def test_a_state_that_could_not_be_loaded_again(train_command):
    status, _, err = train_command(*TINY, "+callbacks.x._target_=mylightning.Forgetful")
    assert status == 1
    assert "the state_dict of the callback Forgetful holds something else than tensors, numbers" in err
    assert not RunDirectory(Path("runs/default/arch1-hyp1/fold0")).checkpoint.exists()


def test_a_run_that_a_callback_stops_is_not_done(train_command):
    status, _, err = train_command(*TINY, "+callbacks.x._target_=mylightning.Stopping")
    assert status == 1
    assert "a callback stopped the training after epoch 1 of 2: it goes on without that callback" in err
    assert not RunDirectory(Path("runs/default/arch1-hyp1/fold0")).is_done


def test_every_argument_of_lightning_s_trainer_is_known():
    """A new one must be looked at: whether a run may be given it."""
    assert set(inspect.signature(L.Trainer).parameters) == Trainer.__annotations__.keys() - {"steps_at_once"}  # ours


CALLBACKS = "lightning.pytorch.callbacks"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("+trainer.logger=true", "trainer.logger cannot be chosen: name loggers with logger=[NAME]"),
        ("+trainer.enable_checkpointing=true", "trainer.enable_checkpointing cannot be chosen: a run keeps its files"),
        ("+trainer.strategy=ddp", "trainer.strategy cannot be chosen: it follows from trainer.accelerator and"),
        ("+trainer.max_time=00:01:00", "trainer.max_time cannot be chosen: a run trains trainer.max_epochs epochs"),
        (
            "+trainer.gradient_clip_val=1",
            "trainer.gradient_clip_val cannot be chosen: that is recipe.gradient_clip_val",
        ),
        ("+trainer.overfit_batches=1", "cannot be chosen: trainer.limit_train_batches=1 data.reshuffle=false overfits"),
        (
            f"+callbacks.x={{_target_: {CALLBACKS}.StochasticWeightAveraging, swa_lrs: 0.1}}",
            "cannot be chosen: it averages after the checkpoint is written; recipe.averaging takes WeightAveraging",
        ),
        (
            f"+callbacks.x._target_={CALLBACKS}.Timer",
            "Timer cannot be chosen: a run trains trainer.max",
        ),
        ("+trainer.profilr=simple", "trainer.profilr: no such key; did you mean 'trainer.profiler'?"),
        ("+callbacks.x._target_=mylightning.Greedy", "callbacks.x: Greedy cannot be chosen: a run keeps its own check"),
        (
            f"+callbacks.x={{_target_: {CALLBACKS}.EarlyStopping, monitor: x}}",
            "the held-out fold would choose the epoch",
        ),
        ("+callbacks.x._target_=collections.Counter", "callbacks.x: Counter is no Callback of Lightning's"),
        ("+logger.x={_target_: mylightning.OneRun, title: '{model}'}", "expected none in braces but {folder}, {study}"),
        ("logger=[tensorbord]", "logger=tensorbord: no such choice; did you mean 'tensorboard'?"),
    ],
)
def test_what_would_break_a_run_is_refused_by_name(argument, message, train_command):
    status, out, err = train_command(*TINY, argument)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not Path("runs").exists()
