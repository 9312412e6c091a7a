"""What a run does, seen from the entry point."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import lightning as L
from hydra.utils import get_class
from omegaconf import DictConfig
from torch import nn

from cifar100x import system
from cifar100x.data.store import IMAGE_SHAPE
from cifar100x.errors import UserError
from cifar100x.needs import Needs, needs_of
from cifar100x.runs import RunDirectory
from cifar100x.tasks.task import Task


class Job(ABC):
    """One network to train on some images, and where its results go.

    Making a job checks everything that can be checked before training; `task` makes the network.

    Attributes:
        config: what was chosen, with what the job filled in.
        title: what the progress bar calls it.
        run: where its results go.
        data: training batches, and held-out ones for validation.
        num_images: training images an epoch.
        images_bytes: of images that are held in memory, on the device that trains.
        seed: of the initial weights.
        shown: the metrics that the progress bar shows.
    """

    config: DictConfig
    title: str
    run: RunDirectory
    data: L.LightningDataModule
    num_images: int
    images_bytes: int
    seed: tuple[int, ...]
    shown: Sequence[str]

    @abstractmethod
    def __init__(self, config: DictConfig): ...

    @staticmethod
    @abstractmethod
    def directory(config: DictConfig) -> RunDirectory:
        """Where the results of a config go."""

    @abstractmethod
    def net(self) -> nn.Module:
        """Make the network, with weights drawn from torch's random numbers."""

    def needs(self) -> Needs:
        """Find what training will take."""
        return needs_of(self.net, IMAGE_SHAPE, self.config.data.batch_size, self.config.trainer.precision)

    @abstractmethod
    def task(self) -> Task:
        """Make the network and all that trains it."""

    @abstractmethod
    def record(self, task: Task, trainer: L.Trainer, metrics: dict[str, Any]) -> None:
        """Evaluate the trained network and write the result, `metrics` among it."""

    @abstractmethod
    def summary(self) -> str:
        """One line on a finished run, without its name."""


def job_class(config: DictConfig) -> type[Job]:
    """The kind of job that a config asks for."""
    return get_class(config.model.job)


def make_job(config: DictConfig) -> Job:
    """Make the job that a config asks for, and fill in what `auto` stands for here.

    Raises:
        UserError: it cannot be trained; the message says why.
    """
    if config.trainer.max_epochs < 1:
        raise UserError(f"trainer.max_epochs is {config.trainer.max_epochs}, expected at least 1")
    device = system.resolve_device(config.trainer.accelerator)
    config.trainer.precision = system.resolve_precision(config.trainer.precision, device)
    config.trainer.devices = system.resolve_devices(config.trainer.devices, device)
    job = job_class(config)(config)
    check_shares(config.trainer.devices, job.num_images, config.data.batch_size)
    return job


def check_shares(num_devices: int, num_images: int, batch_size: int) -> None:
    """Raise UserError if a batch has no equal shares for all devices: the mean of their gradients would not be its."""
    for size in (batch_size, num_images % batch_size):
        if size % num_devices:
            raise UserError(
                f"trainer.devices is {num_devices}, but a batch of {size} images has no {num_devices} equal shares: "
                f"choose data.batch_size and trainer.devices so that {num_images} images come in such batches"
            )
