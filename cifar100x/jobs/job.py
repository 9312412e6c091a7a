"""What a run does, seen from the entry point."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import lightning as L

from cifar100x.runs import RunDirectory
from cifar100x.tasks.task import Task


class Job(ABC):
    """One network to train on some images, and where its results go.

    Making a job checks everything that can be checked before training; `task` makes the network.

    Attributes:
        title: what the progress bar calls it.
        run: where its results go.
        data: training batches, and held-out ones for validation.
        num_images: training images an epoch.
        seed: of the initial weights.
        shown: the metrics that the progress bar shows.
    """

    title: str
    run: RunDirectory
    data: L.LightningDataModule
    num_images: int
    seed: tuple[int, ...]
    shown: Sequence[str]

    @abstractmethod
    def task(self) -> Task:
        """Make the network, with weights drawn from torch's random numbers."""

    @abstractmethod
    def record(self, task: Task, trainer: L.Trainer, metrics: dict[str, Any]) -> None:
        """Evaluate the trained network and write the result, `metrics` among it."""

    @abstractmethod
    def summary(self) -> str:
        """One line on a finished run, without its name."""
