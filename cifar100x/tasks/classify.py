"""Train and judge a classifier: cross-entropy, Adam, accuracy and cross-entropy by epoch."""

from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from cifar100x.data.modules import EVAL_BATCH_SIZE, Batch
from cifar100x.nets.transfer import TransferNet
from cifar100x.tasks.task import Stage, Task


class Classifier(Task):
    """A network that maps images to logits, with its optimiser and its metrics.

    Logs `<stage>/accuracy` (a fraction) and `<stage>/cross_entropy` (nats) once an epoch. Those of the train stage
    are running means over the epoch, with the weights as they were at each step.

    Args:
        net: images (N, 3, 32, 32) in 0..1 -> logits (N, num_classes).
        learning_rate: of Adam, with default betas.
        weight_decay: Adam's coupled decay of kernels, the gradient of weight_decay / 2 * ||w||^2.
        seed: starts the random numbers of dropout, anew each epoch, so that a resumed run draws the same.
        num_classes: number of logits.

    Raises:
        UserError: a negative learning rate or weight decay.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        learning_rate: float,
        weight_decay: float,
        seed: tuple[int, ...],
        num_classes: int = 100,
    ):
        super().__init__(net, learning_rate=learning_rate, weight_decay=weight_decay, seed=seed)
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
        return self.net(images.float() / 255)

    def training_step(self, batch: Batch) -> Tensor:
        """Cross-entropy of a batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: Batch) -> None:
        """Count a batch of the held-out fold."""
        self._step(batch, "val")

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Logits of a batch, float32 on the CPU."""
        return self(batch[0]).float().cpu()

    def _step(self, batch: Batch, stage: Stage) -> Tensor:
        images, labels = batch
        logits = self(images)
        losses = F.cross_entropy(logits, labels, reduction="none")
        self.metrics[f"{stage}/accuracy"].update(logits.detach(), labels)
        self.metrics[f"{stage}/cross_entropy"].update(losses.detach())
        return losses.mean()

    def publish(self) -> None:
        """Log the metrics of an epoch and start them anew."""
        for name, metric in self.metrics.items():
            if metric.update_called:
                self.log(name, metric.compute())
                metric.reset()


class CodeClassifier(Classifier):
    """A classifier whose batches hold codes (N, num_units) in place of images, as `encode` makes them.

    Args:
        net: a network whose `head` maps codes to logits.
        **options: as for `Classifier`.
    """

    net: TransferNet

    def __init__(self, net: TransferNet, **options: Any):
        super().__init__(net, **options)

    def forward(self, codes: Tensor) -> Tensor:
        """Logits (N, num_classes) of codes."""
        return self.net.head(codes)


@torch.no_grad()
def encode(encoder: nn.Module, images: Tensor, device: torch.device, precision: str) -> Tensor:
    """Codes of images uint8 (N, 3, 32, 32), (N, num_units) on the device.

    They are those that a network in the same precision computes in its own forward pass, provided that the encoder is
    in evaluation mode.
    """
    encoder.to(device)
    batches = track(images.split(EVAL_BATCH_SIZE), "encoding", transient=True, disable=not Console().is_terminal)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        return torch.cat([encoder(batch.to(device).float() / 255) for batch in batches])
