"""Train and judge an autoencoder: reconstruction and penalty apart, and whether its code still says anything."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from rich.console import Console
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchvision.utils import make_grid, save_image

from cifar100x.data.batches import WINDOW_IMAGES, UnlabelledDataModule
from cifar100x.data.store import IMAGE_SHAPE
from cifar100x.errors import UserError
from cifar100x.nets.autoencoder import Autoencoder, Reconstruction
from cifar100x.training.learner import Learner, Outcome
from cifar100x.training.recipe import Recipe
from cifar100x.training.steps import Counted
from cifar100x.training.task import Stage, Task

SHOWN_IMAGES = 16
ACTIVE = 0.01
"""A unit is active if it varies over the images more than this fraction of the one that varies most.

The scale of a code says nothing by itself: the decoder's batch-norm undoes it."""


class CodeStatistics(Metric):
    """Mean absolute value of a code and the standard deviation of each of its units over the images.

    Updates take codes (N, num_units).
    """

    sums: Tensor
    squares: Tensor
    absolutes: Tensor
    count: Tensor

    def __init__(self, num_units: int):
        super().__init__()
        for name in ("sums", "squares", "absolutes"):
            self.add_state(name, torch.zeros(num_units, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, code: Tensor) -> None:
        """Add codes."""
        code = code.double()
        self.sums += code.sum(0)
        self.squares += code.square().sum(0)
        self.absolutes += code.abs().sum(0)
        self.count += len(code)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean absolute value, (), and standard deviations, (num_units,)."""
        mean = self.sums / self.count
        return (self.absolutes / self.count).mean(), (self.squares / self.count - mean.square()).clamp(min=0).sqrt()


@dataclass(frozen=True)
class Penalty:
    """What a code costs, beside the error of what is made of it.

    Attributes:
        name: of its metric.
        weight: factor of the cost.
        cost: of each image, (N,).
        advice: what to try if the code collapses under it.

    Raises:
        UserError: a negative weight.
    """

    name: str
    weight: float
    cost: Callable[[Reconstruction], Tensor]
    advice: str

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise UserError(f"{self.name}.weight is {self.weight}, expected at least 0")


def sparsity(weight: float, reduction: str) -> Penalty:
    """The L1 norm of the code (paper, equation 2).

    Args:
        weight: its factor.
        reduction: whether it is the `sum` or the `mean` over the code's units; the paper does not say.

    Raises:
        UserError: a negative weight, or an unknown reduction.
    """
    if reduction not in ("sum", "mean"):
        raise UserError(f"sparsity.reduction is {reduction!r}, expected 'sum' or 'mean'")

    def norm(made: Reconstruction) -> Tensor:
        return made.code.abs().sum(1) if reduction == "sum" else made.code.abs().mean(1)

    return Penalty("sparsity", weight, norm, "sparsity.reduction=mean or a smaller sparsity.weight")


def divergence(weight: float) -> Penalty:
    """The Kullback-Leibler divergence of the code from a standard normal one (Kingma and Welling 2014, appendix B)."""

    def from_standard(made: Reconstruction) -> Tensor:
        assert made.log_variance is not None
        return (made.code.square() + made.log_variance.exp() - 1 - made.log_variance).sum(1) / 2

    return Penalty("divergence", weight, from_standard, "a smaller divergence.weight")


class Reconstructor(Task):
    """An autoencoder with its loss, its recipe and its metrics.

    The loss is the mean squared error over pixels plus the penalty of the code, weighted (paper, equations 1 and 2).
    Logs once an epoch, for both stages, `reconstruction` (mean squared error, pixels in 0..1) and by its name the
    weighted penalty; for the held-out images also `error_ratio` (reconstruction over the error of always answering
    the mean image), `mean_absolute_code` and `active_units` (a fraction).

    Args:
        net: the autoencoder.
        mean_image: (3, 32, 32) in 0..1, of the training images.
        recipe: as in `Task`.
        penalty: of its code.
        seed: as in `Task`.
    """

    mean_image: Tensor

    def __init__(
        self,
        net: Autoencoder,
        mean_image: Tensor,
        *,
        recipe: Recipe,
        penalty: Penalty,
        seed: tuple[int, ...],
    ):
        super().__init__(net, recipe=recipe, seed=seed)
        self.register_buffer("mean_image", mean_image, persistent=False)
        self.penalty = penalty
        of_stages = (f"{stage}/{name}" for stage in ("train", "val") for name in ("reconstruction", penalty.name))
        means = (*of_stages, "val/mean_image")
        self.means = MetricCollection(
            {name: MeanMetric(nan_strategy="disable") for name in means}, compute_groups=False
        )
        self.code = CodeStatistics(net.encoder.num_units)

    def loss(self, batch: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, Counted]:
        """Loss of a batch, uint8 (N, 3, 32, 32), or that in a tuple."""
        errors, penalties, _ = self._judged(batch if isinstance(batch, Tensor) else batch[0])
        return errors.mean() + penalties.mean(), (errors, penalties)

    def validation_step(self, images: Tensor, batch_idx: int) -> None:
        """Count a batch of held-out images, unless this device has none; remember some of the first for pictures."""
        if not len(images):
            return
        errors, penalties, made = self._judged(images)
        self.count("val", errors, penalties)
        self.means["val/mean_image"].update((self.pixels(images) - self.mean_image).square().mean((1, 2, 3)))
        self.code.update(made.code)
        if batch_idx == 0:
            some = slice(0, None, -(-len(images) // SHOWN_IMAGES))  # from all over the batch
            beside = torch.stack([self.pixels(images[some]), made.images[some].clamp(0, 1)], dim=1)
            self.shown, self.shown_code = make_grid(beside.flatten(0, 1).cpu(), nrow=8), made.code.cpu()

    def _judged(self, images: Tensor) -> tuple[Tensor, Tensor, Reconstruction]:
        """Both terms of the loss of each image, (N,), and what was made of them."""
        target = self.pixels(images)
        made = self.net(target)
        errors = (made.images - target).square().mean((1, 2, 3))
        return errors, self.penalty.weight * self.penalty.cost(made), made

    def count(self, stage: Stage, *counted: Tensor) -> None:
        """Add images by both terms of their loss."""
        errors, penalties = counted
        self.means[f"{stage}/reconstruction"].update(errors.detach())
        self.means[f"{stage}/{self.penalty.name}"].update(penalties.detach())

    def publish(self) -> None:
        """Log the metrics of an epoch and start them anew."""
        values = {name: metric.compute() for name, metric in self.means.items() if metric.update_called}
        mean_image_error = values.pop("val/mean_image")
        mean_absolute, deviations = self.code.compute()
        values |= {
            "val/error_ratio": values["val/reconstruction"] / mean_image_error,
            "val/mean_absolute_code": mean_absolute,
            "val/active_units": (deviations > ACTIVE * deviations.max()).double().mean(),
        }
        for name, value in values.items():
            self.log(name, value.float(), logger=False)
        self.means.reset()
        self.code.reset()

    def write_pictures(self, writer: SummaryWriter, epoch: int) -> None:
        """Show held-out images, each with its reconstruction to its right, and the distribution of the code."""
        writer.add_image("images and reconstructions", self.shown, epoch)
        writer.add_histogram("code", self.shown_code, epoch)


@dataclass(frozen=True, kw_only=True)
class Pretraining(Learner):
    """An autoencoder, trained on images without their labels and judged on some that are held out.

    Attributes:
        penalty: of its code.
    """

    data: UnlabelledDataModule
    penalty: Penalty

    @property
    def shown(self) -> Sequence[str]:
        """Reconstruction and activity."""
        return "val/reconstruction", "val/error_ratio", "val/active_units"

    @property
    def images_bytes(self) -> int:
        """A window of images; all others stay on disk."""
        return min(self.num_images, WINDOW_IMAGES) * math.prod(IMAGE_SHAPE)

    def task(self, device: torch.device, precision: str, console: Console) -> Reconstructor:
        """Make the autoencoder and its loss."""
        return Reconstructor(
            self.make_net(),
            self.data.mean_image(),
            recipe=self.recipe,
            penalty=self.penalty,
            seed=self.seed,
        )

    def evaluate(self, trainer: L.Trainer, task: Task) -> Outcome:
        """Judge the autoencoder on the held-out images and say whether its code has collapsed."""
        assert isinstance(task, Reconstructor)
        trainer.validate(task, self.data, verbose=False)
        logged = trainer.callback_metrics
        val = {name.removeprefix("val/"): float(logged[name]) for name in logged if name.startswith("val/")}
        png = io.BytesIO()
        save_image(task.shown, png, format="png")
        metrics = {"val": val | {"count": len(self.data.held_out)}, "collapsed": is_collapsed(**val)}
        return Outcome(metrics, pictures=png.getvalue())

    def summary(self, metrics: dict[str, Any]) -> str:
        """Reconstruction, activity, and a warning where there is nothing to transfer."""
        val = metrics["val"]
        advice = f"try {self.penalty.advice}, under another name="
        warning = f"COLLAPSED, the code says next to nothing about the image ({advice}), "
        return (
            f"{warning if metrics['collapsed'] else ''}reconstruction error {val['reconstruction']:.4f}, "
            f"{val['error_ratio']:.2f} of the mean image's, {val['active_units']:.0%} of the units active"
        )


def is_collapsed(*, error_ratio: float, active_units: float, **_: float) -> bool:
    """Whether a code says next to nothing of the image: no better than the mean image, or hardly a unit that varies."""
    return error_ratio > 0.95 or active_units < 0.01
