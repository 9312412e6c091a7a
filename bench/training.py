"""Training speed against a textbook loop on the same network, machine and minute.

    python -m bench.training [key=value ...]

The textbook way is Lightning with a DataLoader over PIL images, ToTensor, float32, plain Adam and metrics logged every
step. Each way runs in a process of its own, in turn, so that neither inherits the other's memory or threads, and a
machine that slows down slows both. Arguments are those of cifar100x.train, such as model=arch2 width=hyp3.
"""

import statistics
import subprocess
import sys
import time
from typing import Any

import hydra
import lightning as L
import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchmetrics.functional.classification import multiclass_accuracy
from torchvision.transforms.functional import to_tensor

from cifar100x.app.configs import CONF, plain
from cifar100x.app.recipes import recipe_of
from cifar100x.data.batches import KFoldDataModule
from cifar100x.data.store import Split
from cifar100x.data.synthetic import draw
from cifar100x.training import machine
from cifar100x.training.classify import Classifier

BATCH_SIZE = 50
ROUNDS = 3
WARM_UP_STEPS, SECONDS = 3, 15.0


class Clock(L.Callback):
    """Times whole steps after a warm-up and stops the training when it has seen enough."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """Start a step."""
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """End a step; the time between steps, where batches are made, belongs to the next."""
        if pl_module.device.type != "cpu":
            torch.accelerator.synchronize()
        now = time.perf_counter()
        self.seconds.append(now - getattr(self, "ended", self.started))
        self.ended = now
        trainer.should_stop = sum(self.seconds[WARM_UP_STEPS:]) > SECONDS


class TextbookData(Dataset):
    """One PIL image at a time, as the tutorials have it."""

    def __init__(self, split: Split):
        self.images = [Image.fromarray(image.transpose(1, 2, 0)) for image in split.images]
        self.labels = split.fine

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return to_tensor(self.images[i]), int(self.labels[i])


class TextbookModule(L.LightningModule):
    """The network in float32, trained and logged as the tutorials have it."""

    def __init__(self, net: torch.nn.Module):
        super().__init__()
        self.net = net.to(memory_format=torch.contiguous_format)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Loss of a batch, logged with the accuracy."""
        images, labels = batch
        logits = self.net(images)
        loss = F.cross_entropy(logits, labels)
        self.log("train/cross_entropy", loss, prog_bar=True)
        self.log("train/accuracy", multiclass_accuracy(logits, labels, num_classes=100), prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam with its defaults."""
        return torch.optim.Adam(self.parameters(), lr=1e-4)


def textbook(config: DictConfig, split: Split, **trainer: Any) -> None:
    """Train the textbook way."""
    loader = DataLoader(TextbookData(split), batch_size=BATCH_SIZE, shuffle=True)
    L.Trainer(precision="32-true", **trainer).fit(TextbookModule(instantiate(config.model.net)), loader)


def cifar100x(config: DictConfig, split: Split, **trainer: Any) -> None:
    """Train as a run of this package does."""
    machine.keep_pages()
    device = machine.resolve_device("auto")
    folds = np.array_split(np.arange(len(split.fine)), 5)
    data = KFoldDataModule(split, folds, fold=0, batch_size=BATCH_SIZE, reshuffle=True, seed=(0, 0))
    task = Classifier(instantiate(config.model.net), recipe=recipe_of(plain(config)), seed=(0,), num_classes=100)
    task.num_steps = 10**6  # of a schedule, which are never reached
    precision = machine.PRECISIONS[machine.resolve_precision(config.trainer.precision, device)]
    L.Trainer(precision=precision, limit_val_batches=0, benchmark=True, **trainer).fit(task, data)


WAYS = {"textbook": textbook, "cifar100x": cifar100x}


def images_per_second(way: str, overrides: list[str]) -> float:
    """Median images per second of one way, in this process."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("train", ["data.num_classes=100", *overrides])
    clock = Clock()
    WAYS[way](
        config,
        draw(50, seed=0),
        max_epochs=-1,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return BATCH_SIZE / statistics.median(clock.seconds[WARM_UP_STEPS:])


def main() -> None:
    """Measure both ways in turn and print medians and the ratio."""
    if sys.argv[1:2] == ["--way"]:
        print(images_per_second(sys.argv[2], sys.argv[3:]))
        return
    overrides = sys.argv[1:]
    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way, measured in speeds.items():
            command = [sys.executable, "-m", "bench.training", "--way", way, *overrides]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured.append(float(output.splitlines()[-1]))
    device = machine.device_name(machine.resolve_device("auto"))
    what = " ".join(overrides) or "arch1-hyp1"
    print(f"{what} on {device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for way, measured in speeds.items():
        low, high = min(measured), max(measured)
        print(f"  {way:10} {statistics.median(measured):8.1f} images/s  (of {ROUNDS}: {low:.1f} to {high:.1f})")
    ratios = [ours / theirs for ours, theirs in zip(speeds["cifar100x"], speeds["textbook"], strict=True)]
    print(
        f"  ratio      {statistics.median(ratios):8.2f}           (of {ROUNDS}: {min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
