"""Train and judge a classifier by its cross-entropy; accuracy and cross-entropy by epoch."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightning as L
import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from cifar100x.data.batches import Batch, KFoldDataModule
from cifar100x.data.classes import Classes
from cifar100x.data.store import EVAL_BATCH_SIZE
from cifar100x.errors import UserError
from cifar100x.nets.pixels import Pixels, check_logits
from cifar100x.nets.transfer import TransferNet
from cifar100x.runs.networks import PretrainedEncoder
from cifar100x.runs.result import Predictions
from cifar100x.training.learner import Learner, Outcome
from cifar100x.training.needs import Needs, needs_of
from cifar100x.training.steps import Counted
from cifar100x.training.task import Stage, Task


class Classifier(Task):
    """A network that maps images to logits, with its recipe and its metrics.

    Logs `<stage>/accuracy` (a fraction) and `<stage>/cross_entropy` (nats, of the labels as they are) once an epoch.
    Those of the train stage are running means over the epoch, of images as they were augmented and with the weights
    as they were at each step.

    Args:
        net: images (N, 3, 32, 32) as `pixels` make them -> logits (N, num_classes).
        num_classes: number of logits.
        **options: as for `Task`.
    """

    def __init__(self, net: nn.Module, *, num_classes: int, **options: Any):
        super().__init__(net, **options)
        # Sums stay on the device until the epoch ends: no step waits for them
        accuracy = MulticlassAccuracy(num_classes, average="micro", validate_args=False)
        cross_entropy = MeanMetric(nan_strategy="disable")  # of one value an image: weights would be ignored
        self.metrics = MetricCollection(
            {
                f"{stage}/{name}": metric.clone()
                for stage in ("train", "val")
                for name, metric in (("accuracy", accuracy), ("cross_entropy", cross_entropy))
            },
            compute_groups=False,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images uint8 (N, 3, 32, 32)."""
        return self.net(self.pixels(images))

    def loss(self, batch: Batch) -> tuple[Tensor, Counted]:
        """Cross-entropy of a batch, augmented and with smoothed labels if the recipe says so."""
        images, labels = batch
        counted = self._judged((self.recipe.augment(images) if self.recipe.augment else images, labels))
        logits, _, losses = counted
        smoothing = self.recipe.label_smoothing
        return F.cross_entropy(logits, labels, label_smoothing=smoothing) if smoothing else losses.mean(), counted

    def validation_step(self, batch: Batch) -> None:
        """Count a batch of the held-out fold, unless this device has no share of it."""
        if len(batch[0]):
            self.count("val", *self._judged(batch))

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Logits of a batch, float32 on the CPU."""
        return self(batch[0]).float().cpu()

    def _judged(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, labels and cross-entropies of a batch."""
        images, labels = batch
        logits = self(images)
        return logits, labels, F.cross_entropy(logits, labels, reduction="none")

    def count(self, stage: Stage, *counted: Tensor) -> None:
        """Add images by their logits, labels and cross-entropies."""
        logits, labels, losses = counted
        self.metrics[f"{stage}/accuracy"].update(logits.detach(), labels)
        self.metrics[f"{stage}/cross_entropy"].update(losses.detach())

    def publish(self) -> None:
        """Log the metrics of an epoch and start them anew."""
        for name, metric in self.metrics.items():
            if metric.update_called:
                self.log(name, metric.compute(), logger=False)
                metric.reset()


class CodeClassifier(Classifier):
    """A classifier whose batches hold codes (N, num_units) in place of images, as `encode` makes them.

    Args:
        net: a network whose `head` maps codes to logits.
        **options: as for `Classifier`.
    """

    net: TransferNet

    def forward(self, codes: Tensor) -> Tensor:
        """Logits (N, num_classes) of codes."""
        return self.net.head(codes)


@dataclass(frozen=True, kw_only=True)
class Classification(Learner):
    """A classifier, judged on the fold that is held out; on its own training images alone where none is.

    Attributes:
        classes: what the labels mean.
        draw_errors: the worst errors, given images uint8 (N, 3, 32, 32), labels (N,), logits (N, C) and C class names.
    """

    data: KFoldDataModule
    classes: Classes
    draw_errors: Callable[[np.ndarray, np.ndarray, np.ndarray, Sequence[str]], Figure]

    @property
    def stage(self) -> str:
        """The images that say most about it."""
        return "val" if len(self.data.held_out) else "train"

    @property
    def shown(self) -> Sequence[str]:
        """Accuracy and cross-entropy."""
        return f"{self.stage}/accuracy", f"{self.stage}/cross_entropy"

    @property
    def images_bytes(self) -> int:
        """All images of the split, as they are stored."""
        return self.data.split.images.nbytes

    def task(self, device: torch.device, precision: str, console: Console) -> Classifier:
        """Make the classifier.

        Raises:
            UserError: the network is none for these images.
        """
        net = self.make_net()
        self._refuse_misfit(net)
        return Classifier(net, pixels=self.pixels, **self._options)

    @property
    def pixels(self) -> Pixels:
        """What images go through before the network, with mean and deviation of its training images if it is asked."""
        if not self.recipe.standardize:
            return Pixels()
        return Pixels(*(torch.tensor(values, dtype=torch.float32) for values in self.data.channel_statistics()))

    def needs(self, precision: str) -> Needs:
        """Find what training will take.

        Raises:
            UserError: the network is none for these images.
        """
        try:
            needs = super().needs(precision)
        except Exception:
            self._refuse_misfit(self.make_net())
            raise
        if needs.output != (self.batch_size, len(self.classes)):
            self._refuse_misfit(self.make_net())
        return needs

    def _refuse_misfit(self, net: nn.Module) -> None:
        if problem := check_logits(net, len(self.classes)):
            raise UserError(f"{type(net).__name__} does not fit: {problem}")

    @property
    def _options(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe,
            "seed": self.seed,
            "num_classes": len(self.classes),
        }

    def evaluate(self, trainer: L.Trainer, task: Task) -> Outcome:
        """Judge it on the held-out fold, if there is one, and on the training images."""
        loaders = self.data.predict_dataloader()
        logits = [torch.cat(trainer.predict(task, loader)) for loader in loaders]  # type: ignore[arg-type]
        labels = torch.from_numpy(self.data.split.fine.astype(np.int64))
        held_out = self.data.held_out
        metrics = {"train": evaluate(logits[-1], labels[self.data.training])}
        if not len(held_out):
            return Outcome(metrics, final=_shown(metrics["train"]), classes=self.classes)
        metrics["val"] = evaluate(logits[0], labels[held_out])
        said = Predictions(held_out, labels[held_out].numpy(), logits[0].numpy())
        worst = self.draw_errors(self.data.split.images[held_out], said.label, said.logits, self.classes.names)
        figures = {"most confident errors": worst}
        return Outcome(metrics, said, final=_shown(metrics["val"]), figures=figures, classes=self.classes)

    def summary(self, metrics: dict[str, Any]) -> str:
        """Accuracy and cross-entropy."""
        found = metrics[self.stage]
        where = "" if self.stage == "val" else " of its own training images"
        return f"accuracy {found['accuracy']:.4f}, cross-entropy {found['cross_entropy']:.3f}{where}"


CODES: dict[tuple[str, ...], Tensor] = {}
"""The last that were made in this process, by what they depend on."""


@dataclass(frozen=True, kw_only=True)
class Transfer(Classification):
    """A classifier on a pre-trained encoder, retrained with it or frozen.

    Attributes:
        encoder: its weights.
    """

    encoder: PretrainedEncoder

    def needs(self, precision: str) -> Needs:
        """Find what training will take: steps of the head alone, on codes, where the encoder is frozen.

        Raises:
            UserError: the encoder is another than that of the network.
        """
        needs, net = super().needs(precision), self.make_net()
        self.encoder.load_into(net.encoder)
        if not net.frozen or self.recipe.augment:
            return needs
        head = needs_of(lambda: self.make_net().head, (net.encoder.num_units,), self.batch_size, "float32")
        return replace(needs, flops_per_image=head.flops_per_image)

    def task(self, device: torch.device, precision: str, console: Console) -> Classifier:
        """Make the classifier; with a frozen encoder, encode all images here and now and train on their codes."""
        net = self.make_net()
        self.encoder.load_into(net.encoder)
        if not net.frozen or self.recipe.augment:  # images that differ each epoch have other codes each epoch
            return Classifier(net, **self._options)
        self.data.inputs = self._codes(net.encoder, device, precision, console)
        return CodeClassifier(net, **self._options)

    def _codes(self, encoder: nn.Module, device: torch.device, precision: str, console: Console) -> Tensor:
        """Codes of all images, made once in a process for all runs of a sweep that stand on one encoder."""
        images = np.array(self.data.split.images)
        known = (self.encoder.fingerprint, hashlib.sha256(images.data).hexdigest(), str(device), precision)
        if known not in CODES:
            CODES.clear()  # of another encoder
            CODES[known] = encode(encoder, torch.from_numpy(images), device, precision, console)
        return CODES[known]


@torch.no_grad()
def encode(encoder: nn.Module, images: Tensor, device: torch.device, precision: str, console: Console) -> Tensor:
    """What an encoder, or a part of one, makes of images uint8 (N, 3, 32, 32), on the device: codes (N, num_units).

    They are those that a network in the same precision computes in its own forward pass, provided that the encoder is
    in evaluation mode. A bar is shown on the console if that is a terminal.
    """
    encoder.to(device)
    pixels = Pixels()
    shown = {"console": console, "transient": True, "disable": not console.is_terminal}
    batches = track(images.split(EVAL_BATCH_SIZE), "encoding", **shown)  # type: ignore[arg-type]
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        return torch.cat([encoder(pixels(batch.to(device))) for batch in batches])


def _shown(metrics: dict[str, float]) -> dict[str, float]:
    return {name: metrics[name] for name in ("accuracy", "cross_entropy")}


def evaluate(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy (a fraction), mean cross-entropy (nats) and count of logits (N, C) against labels (N,)."""
    return {
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "cross_entropy": F.cross_entropy(logits.double(), labels).item(),
        "count": len(labels),
    }
