"""What is learnt, seen by who trains it: a network, its images, and how it is judged."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import lightning as L
import torch
from matplotlib.figure import Figure
from rich.console import Console

from cifar100x.data.batches import KFoldDataModule, UnlabelledDataModule
from cifar100x.data.classes import Classes
from cifar100x.data.store import IMAGE_SHAPE
from cifar100x.runs.result import Predictions
from cifar100x.training.needs import Needs, needs_of
from cifar100x.training.recipe import Recipe
from cifar100x.training.task import Task


@dataclass(frozen=True)
class Outcome:
    """What a trained network is worth.

    Attributes:
        metrics: for metrics.json.
        predictions: of a classifier on its held-out fold.
        pictures: PNG of what an autoencoder makes of some images.
        final: metrics that TensorBoard shows beside what was chosen.
        figures: that it shows, by name.
        classes: what the labels mean, of a classifier.
    """

    metrics: dict[str, Any]
    predictions: Predictions | None = None
    pictures: bytes | None = None
    final: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    classes: Classes | None = None


@dataclass(frozen=True, kw_only=True)
class Learner(ABC):
    """One network to train.

    Attributes:
        make_net: partial of its constructor; weights are drawn from torch's random numbers.
        data: training batches, and held-out ones for validation.
        seed: of the initial weights, and with the epoch of dropout and augmentation.
        recipe: how it is trained.
    """

    make_net: Callable[[], Any]
    data: KFoldDataModule | UnlabelledDataModule
    seed: tuple[int, ...]
    recipe: Recipe

    @property
    @abstractmethod
    def shown(self) -> Sequence[str]:
        """The metrics that a progress bar shows."""

    @property
    @abstractmethod
    def images_bytes(self) -> int:
        """Bytes of images that are held in memory, on the device that trains."""

    @property
    def batch_size(self) -> int:
        """Images a training step."""
        return self.data.batch_size

    @property
    def num_images(self) -> int:
        """Training images an epoch."""
        return len(self.data.training)

    def needs(self, precision: str) -> Needs:
        """Find what training will take."""
        needs = needs_of(self.make_net, IMAGE_SHAPE, self.batch_size, precision, self.recipe.optimizer)
        if self.recipe.averaging is None:
            return needs
        return replace(needs, memory=needs.memory + needs.weights, checkpoint=needs.checkpoint + needs.weights)

    @abstractmethod
    def task(self, device: torch.device, precision: str, console: Console) -> Task:
        """Make the network and all that trains it there; a bar may be shown on the console."""

    @abstractmethod
    def evaluate(self, trainer: L.Trainer, task: Task) -> Outcome:
        """Judge the trained network."""

    @abstractmethod
    def summary(self, metrics: dict[str, Any]) -> str:
        """One line on a finished run, without its name."""
