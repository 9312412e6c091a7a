"""How a network is trained: optimiser, schedule, augmentation and what else belongs to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cifar100x.errors import UserError

Interval = Literal["step", "epoch"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        learning_rate: given to the optimiser; a schedule may change it.
        weight_decay: of kernels, as the optimiser understands it; Adam's is coupled, the gradient of
            weight_decay / 2 * ||w||^2.
        optimizer: makes it from groups of parameters, given `lr`.
        schedule: makes it from the optimiser and the numbers of steps and of epochs of the whole training.
        interval: what the schedule goes by.
        augment: changes training batches uint8 (N, 3, 32, 32), drawing from torch's random numbers.
        standardize: whether channels come with mean 0 and deviation 1 over the training images.
        label_smoothing: share of the target that is spread over all classes.
        gradient_clip_val: norm of the gradient at most.
        averaging: makes the callback that averages weights.

    Raises:
        UserError: a negative number, or a share beyond 1.
    """

    learning_rate: float
    weight_decay: float = 0.0
    optimizer: Callable[..., Optimizer] = Adam
    schedule: Callable[[Optimizer, int, int], LRScheduler] | None = None
    interval: Interval = "epoch"
    augment: Callable[[Tensor], Tensor] | None = None
    standardize: bool = False
    label_smoothing: float = 0.0
    gradient_clip_val: float | None = None
    averaging: Callable[[], WeightAveraging] | None = None

    def __post_init__(self) -> None:
        for name in ("learning_rate", "weight_decay", "gradient_clip_val"):
            if not (value := getattr(self, name) or 0) >= 0:
                raise UserError(f"{name} is {value}, expected at least 0")
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"recipe.label_smoothing is {self.label_smoothing}, expected at least 0 and below 1")

    def optimizer_of(self, net: nn.Module) -> Optimizer:
        """The optimiser of all parameters that are trained, decaying kernels only."""
        kernels, others = kernels_and_others(net)
        groups = [{"params": kernels, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return self.optimizer(groups, lr=self.learning_rate)


def kernels_and_others(net: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Separate the kernels of convolutions and dense layers, which are penalised, from biases and batch-norm.

    Parameters that are not trained are in neither list.
    """
    trained = [p for p in net.parameters() if p.requires_grad]
    return [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
