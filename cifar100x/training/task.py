"""What all tasks have in common: a network, its recipe, and random numbers that a resumed run draws again."""

from abc import ABC, abstractmethod
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from cifar100x.nets.pixels import Pixels
from cifar100x.training.recipe import Recipe

Stage = Literal["train", "val"]


class Task(L.LightningModule, ABC):
    """A network with the recipe that it is trained by.

    Args:
        net: what is trained.
        recipe: how.
        seed: starts the random numbers of dropout and augmentation, anew each epoch, so that a resumed run draws the
            same.
        pixels: what images go through first.
    """

    def __init__(self, net: nn.Module, *, recipe: Recipe, seed: tuple[int, ...], pixels: Pixels | None = None):
        super().__init__()
        self.net = net
        self.pixels = pixels or Pixels()
        self.recipe = recipe
        self.seed = seed

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
        counts = int(self.trainer.estimated_stepping_batches), self.trainer.max_epochs or 0
        return [optimizer], [{"scheduler": self.recipe.schedule(optimizer, *counts), "interval": self.recipe.interval}]

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Clip the gradient as the recipe has it; Lightning would not with a fused optimiser in bf16."""
        if self.recipe.gradient_clip_val is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.gradient_clip_val)

    def write_pictures(self, writer: SummaryWriter, epoch: int) -> None:
        """Show in TensorBoard, after each epoch, what numbers cannot say; nothing unless a task has some."""


def derived_seed(*path: int) -> int:
    """Mix integers such as (seed, fold, epoch) into one 32-bit seed; (1, 2) and (1, 2, 0) give different ones."""
    return int(np.random.SeedSequence([len(path), *path]).generate_state(1)[0])
