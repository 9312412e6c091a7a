"""Train and judge a classifier: cross-entropy, Adam, accuracy and cross-entropy by epoch."""

from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from cifar100x.data.modules import Batch
from cifar100x.errors import UserError
from cifar100x.nets.conv import kernels_and_others

Stage = Literal["train", "val"]


class Classifier(L.LightningModule):
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
        super().__init__()
        for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise UserError(f"{name} is {value}, expected at least 0")
        self.net = net
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.seed = seed
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

    def on_train_epoch_start(self) -> None:
        """Draw this epoch's dropout from (seed, epoch)."""
        torch.manual_seed(derived_seed(*self.seed, self.current_epoch))

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

    def on_validation_epoch_end(self) -> None:
        """Publish the metrics of both stages; the validation is the end of an epoch, after its training batches."""
        for name, metric in self.metrics.items():
            self.log(name, metric.compute())
            metric.reset()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over all parameters that are trained, decaying kernels only."""
        kernels, others = kernels_and_others(self.net)
        groups: list[dict[str, Any]] = [{"params": kernels, "weight_decay": self.weight_decay}, {"params": others}]
        return torch.optim.Adam(groups, lr=self.learning_rate, fused=True)


def derived_seed(*path: int) -> int:
    """Mix integers such as (seed, fold, epoch) into one 32-bit seed; (1, 2) and (1, 2, 0) give different ones."""
    return int(np.random.SeedSequence([len(path), *path]).generate_state(1)[0])
