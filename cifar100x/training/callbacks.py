"""What a run tells while it trains: history and TensorBoard, a progress bar, checkpoints that survive a crash."""

import io
import math
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cifar100x.errors import UserError
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.networks import load_checkpoint
from cifar100x.runs.record import CHECKPOINT
from cifar100x.stopping import heed_requests, stop_in_good_order
from cifar100x.training.loggers import CSV, TensorBoard
from cifar100x.training.task import Task

TELL_SECONDS = 2.0  # after which it is told how far an epoch is
LOSSES_AT_ONCE = 50  # that wait, on a GPU, before they are looked at
SAVING_SHARE = 0.1  # of the time, at most, goes into the checkpoints of a run on a GPU


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint as every file of a run is written, whatever the file system."""

    def __init__(self, run: RunDirectory):
        super().__init__()
        self.run = run

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save atomically; UserError for a state of a callback that could not be loaded again."""
        for name, state in checkpoint.get("callbacks", {}).items():
            _refuse_unreadable(name, state)
        with self.run.replacing(CHECKPOINT, "wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Load it as all others of ours are loaded, nothing in it is called; the run's session has found it whole."""
        return load_checkpoint(self.run.checkpoint)


def _refuse_unreadable(callback: str, state: Any) -> None:
    content = io.BytesIO()
    torch.save(state, content)
    content.seek(0)
    try:
        torch.load(content, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"the state_dict of the callback {callback} holds something else than tensors, numbers, texts, lists and "
            "dicts, and a checkpoint with it could not be loaded again: keep only those in it"
        ) from error


class LastCheckpoint(ModelCheckpoint):
    """Keeps the state after the last epoch; after the very last, the weights alone unless the optimiser is wanted too.

    A checkpoint without optimiser state can still be resumed from: there is nothing left to train. Of a run that
    averages weights the last one holds the averaged ones alone, so that they are what a resumed run evaluates. On a
    GPU, where an epoch may take less time than its checkpoint, some are left out, so that most of the time is trained.
    """

    def __init__(self, path: Path, keep_optimizer: bool):
        super().__init__(
            dirpath=path.parent, filename=path.stem, enable_version_counter=False, save_on_train_epoch_end=True
        )
        self.keep_optimizer = keep_optimizer
        self.saved_at, self.saving_seconds = -math.inf, 0.0

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the state, if it is time; that after the last epoch always."""
        started = time.perf_counter()
        is_last = trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
        is_time = trainer.strategy.broadcast(started - self.saved_at > self.saving_seconds / SAVING_SHARE)
        if is_last or is_time or pl_module.device.type == "cpu":
            super().on_train_epoch_end(trainer, pl_module)
            self.saved_at = time.perf_counter()
            self.saving_seconds = self.saved_at - started

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave out of the final checkpoint what only further training would need."""
        if trainer.current_epoch + 1 >= (trainer.max_epochs or 0):
            for name in ("current_model_state", "averaging_state"):
                checkpoint.pop(name, None)
            if not self.keep_optimizer:
                checkpoint["optimizer_states"] = []


class OwnSignals(Callback):
    """Takes signals back from Lightning, whose handler waits for the other processes of a run, which may be gone."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning has set its own by now."""
        stop_in_good_order()
        heed_requests()  # that were made while all was imported


class FiniteLoss(Callback):
    """Ends a training whose loss is no number any more, at that step: no later one mends it.

    On a GPU the losses are looked at some steps at a time, and those of the last call not yet, so that the device
    always has work to do. Of several devices all end together, whichever of them has it.
    """

    def __init__(self) -> None:
        self.losses: list[torch.Tensor] = []
        self.num_seen = 0  # steps of this epoch
        self.last: float | None = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the losses of one step or of many, if it is time."""
        self.losses.append(outputs["loss"].detach().reshape(-1))
        at_once = pl_module.device.type == "cpu" or trainer.is_last_batch
        if at_once:
            self._look(trainer, len(self.losses))
        elif sum(map(len, self.losses[:-1])) >= LOSSES_AT_ONCE:
            self._look(trainer, len(self.losses) - 1)
        if trainer.is_last_batch:
            self.num_seen = 0

    def _look(self, trainer: L.Trainer, num_calls: int) -> None:
        found = torch.cat(self.losses[:num_calls]).tolist()
        self.losses = self.losses[num_calls:]
        finite = all(map(math.isfinite, found))
        if trainer.world_size > 1 and not trainer.strategy.reduce_boolean_decision(finite) and finite:
            found[-1] = math.nan  # on another device
        for loss in found:
            self.num_seen += 1
            if not math.isfinite(loss):
                before = (
                    "there was no finite one before"
                    if self.last is None
                    else f"the last finite one was {self.last:.4g}"
                )
                raise UserError(
                    f"the loss is {loss} at epoch {trainer.current_epoch + 1}, step {self.num_seen}; {before}: choose "
                    "a lower learning_rate, trainer.precision=float32 or recipe.gradient_clip_val, in another "
                    "study=NAME"
                )
            self.last = loss


class History(Callback):
    """Writes one row an epoch to history.csv and the same numbers to all loggers.

    Seconds are those of training alone, without validation; the learning rate is that of the epoch's last step. The
    checkpoint holds the rows up to its own epoch, so that a resumed run has these and no others, even if the file is
    lost.

    Args:
        run: where they go.
        config: of the run, flat, for loggers.
        num_images: training images an epoch.
    """

    def __init__(self, run: RunDirectory, config: dict[str, Any], num_images: int):
        self.run, self.config, self.num_images = run, config, num_images
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the rows of an earlier session."""
        self.rows = state["rows"]
        self.run.write_history(self.rows)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take up the curves of an earlier session, as far as its checkpoint knows them."""
        if not self.rows:  # checkpoints of earlier versions hold none
            self.rows = [row for row in self.run.history if row["epoch"] <= trainer.current_epoch]
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoard | CSV):
                logger.resume(trainer.current_epoch)
            logger.log_hyperparams(self.config)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.started = self.told = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell how far the epoch is; stop the clock after its last batch, when the device has done all it was given."""
        if time.perf_counter() - self.told > TELL_SECONDS:
            self.told = time.perf_counter()
            self.run.tell_progress(trainer.current_epoch + (batch_idx + 1) / trainer.num_training_batches)
        if trainer.is_last_batch:
            if pl_module.device.type != "cpu":
                torch.accelerator.synchronize()
            self.seconds = time.perf_counter() - self.started

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's row."""
        assert isinstance(pl_module, Task)
        told = {name: float(value) for name, value in trainer.callback_metrics.items()}
        epoch = trainer.current_epoch + 1
        row = {
            "epoch": epoch,
            **{name.replace("/", "_"): told[name] for name in sorted(told)},
            "learning_rate": pl_module.learning_rate,
            "seconds": self.seconds,
        }
        self.rows.append(row)
        self.run.write_history(self.rows)
        told |= {"learning_rate": pl_module.learning_rate, "images_per_second": self.num_images / self.seconds}
        for logger in trainer.loggers:
            logger.log_metrics(told, epoch)
            if isinstance(logger, TensorBoardLogger):
                pl_module.write_pictures(logger.experiment, epoch)
            logger.save()


class RunProgress(Callback):
    """One bar for the whole run: its name, epoch, time left, and what tells best how good the network is by now.

    Nothing is drawn where the output is not a terminal.

    Args:
        title: name of the run.
        shown: names of the metrics that are shown.
        console: where.
    """

    def __init__(self, title: str, shown: Sequence[str], console: Console):
        self.progress = Progress(
            TextColumn("{task.description}"),
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.title, self.shown = title, shown

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the bar, from the epoch that the run resumes at."""
        batches, epochs = int(trainer.num_training_batches), trainer.max_epochs or 0
        self.progress.start()
        self.task = self.progress.add_task(
            self.title, total=batches * epochs, completed=batches * trainer.current_epoch, epoch="", metrics=""
        )

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the epoch."""
        self.progress.update(self.task, epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}", refresh=True)

    def on_train_batch_end(self, *_: Any) -> None:
        """Move on by one batch."""
        self.progress.advance(self.task)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show how good the network is by now."""
        seen = trainer.callback_metrics
        text = ", ".join(f"{name.removeprefix('val/').replace('_', ' ')} {seen[name]:.3f}" for name in self.shown)
        self.progress.update(self.task, metrics=text, refresh=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove the bar."""
        self.progress.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Remove the bar after an error too."""
        self.progress.stop()
