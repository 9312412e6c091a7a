"""What all tasks have in common: a network, its recipe, and random numbers that a resumed run draws again."""

from abc import ABC, abstractmethod
from typing import Any, Literal, cast

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.tensorboard import SummaryWriter

from cifar100x.nets.pixels import Pixels
from cifar100x.training.recipe import Recipe
from cifar100x.training.steps import Counted, ManySteps

Stage = Literal["train", "val"]


class Task(L.LightningModule, ABC):
    """A network with the recipe that it is trained by.

    Args:
        net: what is trained.
        recipe: how.
        seed: starts the random numbers of dropout and augmentation, anew each epoch, so that a resumed run draws the
            same.
        pixels: what images go through first.

    Attributes:
        num_steps: of the whole training; who trains it says so.
        learning_rate: of the last step.
    """

    num_steps: int
    learning_rate: float

    def __init__(self, net: nn.Module, *, recipe: Recipe, seed: tuple[int, ...], pixels: Pixels | None = None):
        super().__init__()
        self.net = net
        self.pixels = pixels or Pixels()
        self.recipe = recipe
        self.seed = seed
        self.many_steps: ManySteps | None = None

    @abstractmethod
    def loss(self, batch: Any) -> tuple[Tensor, Counted]:
        """What is minimised, of a training batch, and what its metrics are counted from."""

    @abstractmethod
    def count(self, stage: Stage, *counted: Tensor) -> None:
        """Add images to the metrics of a stage."""

    def training_step(self, batch: Any) -> Tensor:
        """Count a batch and return its loss; or, of a chunk of many, train on each of them and return all losses."""
        if self.automatic_optimization:
            loss, counted = self.loss(batch)
        else:
            loss, counted = self._train_on(batch if isinstance(batch, tuple | list) else (batch,))
        self.count("train", *counted)
        return loss

    def _train_on(self, chunk: Any) -> tuple[Tensor, Counted]:
        optimizer = cast(Optimizer, self.optimizers(use_pl_optimizer=False))
        schedule = cast(LRScheduler | None, self.lr_schedulers())
        if self.many_steps is None:
            batch_size = self.trainer.datamodule.batch_size  # type: ignore[attr-defined]
            clip, interval = self.configure_gradient_clipping, self.recipe.interval
            self.many_steps = ManySteps(self.loss, optimizer, schedule, interval, clip, batch_size)
        found = self.many_steps(tuple(chunk))
        self.learning_rate = self.many_steps.learning_rate
        if schedule and self.recipe.interval == "epoch" and self.trainer.is_last_batch:
            schedule.step()
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()  # as Lightning does where it is asked to step: it skips a checkpoint without a step
        progress.increment_completed()
        return found

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Note the learning rate of the step: a schedule has gone on when the batch ends."""
        self.learning_rate = self.trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_end(self) -> None:
        """Let go of a graph, which holds the weights where they are."""
        self.many_steps = None

    def on_train_epoch_start(self) -> None:
        """Draw this epoch's random numbers from (seed, epoch), and other ones on each further device of the run."""
        rank = self.trainer.global_rank
        torch.manual_seed(derived_seed(*self.seed, self.current_epoch, *([rank] if rank else [])))

    def on_train_batch_end(self, *_: Any) -> None:
        """Publish the metrics after the last batch of an epoch that no validation follows."""
        if self.trainer.is_last_batch and not self.trainer.val_dataloaders:
            self.publish()

    def on_validation_epoch_end(self) -> None:
        """Publish the metrics of both stages; the validation is the end of an epoch, after its training batches."""
        self.publish()

    @abstractmethod
    def publish(self) -> None:
        """Log the metrics of an epoch and start them anew."""

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule, as the recipe has them."""
        optimizer = self.recipe.optimizer_of(self.net)
        if self.recipe.schedule is None:
            return optimizer
        schedule = self.recipe.schedule(optimizer, self.num_steps, self.trainer.max_epochs or 0)
        return [optimizer], [{"scheduler": schedule, "interval": self.recipe.interval}]

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Clip the gradient as the recipe has it; Lightning would not with a fused optimiser in bf16."""
        if self.recipe.gradient_clip_val is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.gradient_clip_val)

    def write_pictures(self, writer: SummaryWriter, epoch: int) -> None:
        """Show in TensorBoard, after each epoch, what numbers cannot say; nothing unless a task has some."""


def derived_seed(*path: int) -> int:
    """Mix integers such as (seed, fold, epoch) into one 32-bit seed; (1, 2) and (1, 2, 0) give different ones."""
    return int(np.random.SeedSequence([len(path), *path]).generate_state(1)[0])
