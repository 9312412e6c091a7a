"""What all tasks have in common: a network, Adam, and random numbers that a resumed run draws again."""

from abc import ABC, abstractmethod
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from cifar100x.errors import UserError
from cifar100x.nets.conv import kernels_and_others
from cifar100x.nets.pixels import Pixels

Stage = Literal["train", "val"]


class Task(L.LightningModule, ABC):
    """A network with its optimiser.

    Args:
        net: what is trained.
        learning_rate: of Adam, with default betas.
        weight_decay: Adam's coupled decay of kernels, the gradient of weight_decay / 2 * ||w||^2.
        seed: starts the random numbers of dropout, anew each epoch, so that a resumed run draws the same.

    Raises:
        UserError: a negative learning rate or weight decay.
    """

    def __init__(self, net: nn.Module, *, learning_rate: float, weight_decay: float, seed: tuple[int, ...]):
        super().__init__()
        for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise UserError(f"{name} is {value}, expected at least 0")
        self.net = net
        self.pixels = Pixels()
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.seed = seed

    def on_train_epoch_start(self) -> None:
        """Draw this epoch's dropout from (seed, epoch), and otherwise on each further device of the same run."""
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

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over all parameters that are trained, decaying kernels only."""
        kernels, others = kernels_and_others(self.net)
        groups: list[dict[str, Any]] = [{"params": kernels, "weight_decay": self.weight_decay}, {"params": others}]
        return torch.optim.Adam(groups, lr=self.learning_rate, fused=True)

    def write_pictures(self, writer: SummaryWriter, epoch: int) -> None:
        """Show in TensorBoard, after each epoch, what numbers cannot say; nothing unless a task has some."""


def derived_seed(*path: int) -> int:
    """Mix integers such as (seed, fold, epoch) into one 32-bit seed; (1, 2) and (1, 2, 0) give different ones."""
    return int(np.random.SeedSequence([len(path), *path]).generate_state(1)[0])
