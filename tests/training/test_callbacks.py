"""The progress bar as a terminal shows it."""

import io

from rich.console import Console

from cifar100x.training import run
from cifar100x.training.callbacks import RunProgress
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
