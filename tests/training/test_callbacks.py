"""The progress bar as a terminal shows it, and the end of a training that diverges on one device."""

import io
import math
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from rich.console import Console

from cifar100x.errors import UserError
from cifar100x.training import run
from cifar100x.training.callbacks import FiniteLoss, LastCheckpoint, RunProgress
from tests.conftest import TINY


def test_the_bar_shows_fold_epoch_time_left_and_metrics(train_command, monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(run, "RunProgress", lambda title, shown, _: RunProgress(title, shown, terminal))
    assert train_command(*TINY)[0] == 0
    shown = screen.getvalue()
    for text in ("arch1-hyp1 fold 0", "epoch 1/2", "epoch 2/2", "accuracy 0.", "cross entropy 4."):
        assert text in shown
    assert "0:00:" in shown, "time left"


@pytest.mark.parametrize(
    ("here", "all_finite", "told"), [(1.0, False, "nan"), (math.inf, False, "inf"), (1.0, True, None)]
)
def test_all_devices_end_with_a_loss_that_is_no_number_on_one(here, all_finite, told):
    """Each looks at its own loss and asks the others: with one line, whoever has it."""
    asked = []
    trainer = SimpleNamespace(
        world_size=2,
        is_last_batch=False,
        current_epoch=0,
        strategy=SimpleNamespace(reduce_boolean_decision=lambda finite: asked.append(finite) or all_finite),
    )
    task = SimpleNamespace(device=torch.device("cpu"))
    outcome = pytest.raises(UserError, match=f"the loss is {told} at epoch 1, step 1") if told else nullcontext()
    callback = FiniteLoss()
    with outcome:
        callback.on_train_batch_end(trainer, task, {"loss": torch.tensor(here)}, None, 1)
    assert asked == [math.isfinite(here)]


@pytest.mark.parametrize(("at_once", "wrong", "seen"), [(1, 17, 51), (50, 17, 100), (50, 70, 120), (50, 119, 120)])
def test_a_gpu_is_not_waited_for(at_once, wrong, seen):
    """Losses are looked at some steps later, those of the last call not yet; the step is the right one all the same."""
    trainer = SimpleNamespace(world_size=1, is_last_batch=False, current_epoch=2)
    task = SimpleNamespace(device=torch.device("cuda"))
    losses = torch.ones(120)
    losses[wrong] = math.nan
    callback, found = FiniteLoss(), 0

    def train():
        nonlocal found
        for some in losses.split(at_once):
            found += len(some)
            trainer.is_last_batch = found == len(losses)
            callback.on_train_batch_end(trainer, task, {"loss": some if at_once > 1 else some[0]}, None, 0)

    with pytest.raises(UserError, match=rf"the loss is nan at epoch 3, step {wrong + 1}; the last finite one was 1:"):
        train()
    assert found == seen


@pytest.mark.parametrize(("device", "saved"), [("cuda", [1, 4, 6]), ("cpu", [1, 2, 3, 4, 5, 6])])
def test_checkpoints_take_a_small_share_of_the_time_on_a_gpu(device, saved, tmp_path, monkeypatch):
    """Epochs of 4 s and checkpoints of 1 s, one every ten seconds at most; that of the last epoch is always written."""
    now, found = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    asked = []
    strategy = SimpleNamespace(broadcast=lambda found: asked.append(found) or found)
    trainer = SimpleNamespace(max_epochs=6, current_epoch=0, strategy=strategy)

    def save(self, trainer, pl_module):
        found.append(trainer.current_epoch + 1)
        now[0] += 1.0

    monkeypatch.setattr(ModelCheckpoint, "on_train_epoch_end", save)
    callback = LastCheckpoint(tmp_path / "last.ckpt", keep_optimizer=False)
    for epoch in range(6):
        trainer.current_epoch = epoch
        now[0] += 4.0
        callback.on_train_epoch_end(trainer, SimpleNamespace(device=torch.device(device)))
    assert found == saved
    assert len(asked) == 6, "of several devices the first decides for all: they save together"
