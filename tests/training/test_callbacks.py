"""The progress bar as a terminal shows it, and the end of a training that diverges on one device."""

import io
import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from cifar100x.errors import UserError
from cifar100x.training import run
from cifar100x.training.callbacks import FiniteLoss, RunProgress
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
