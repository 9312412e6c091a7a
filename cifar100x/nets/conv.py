"""The two convolutional architectures of the paper (sections III.A and III.B) as one network."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cifar100x.errors import UserError

NEGATIVE_SLOPE = 0.2
BATCH_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.01
POOLED_BLOCKS = 2  # blocks 1 and 2 have 5x5 kernels, max-pool and batch-norm; blocks 3 and 4 have 3x3 kernels only


class FixedBatchNorm2d(nn.BatchNorm2d):
    """Batch-norm that keeps its initial statistics, mean 0 and variance 1, and learns scale and shift.

    This is what TensorFlow 1 computes when its `training` flag is left at the default, in training too.
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.train(False)  # Lightning trains modules in the mode they come in

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode whatever is asked, so that the statistics are never updated."""
        return super().train(False)


def batch_norm_2d(num_channels: int, mode: str) -> nn.BatchNorm2d:
    """Make a batch-norm layer: `batch` uses the statistics of the batch as usual, `fixed` keeps mean 0 and variance 1.

    Raises:
        UserError: an unknown mode.
    """
    if mode not in ("batch", "fixed"):
        raise UserError(f"batch_norm is {mode!r}, expected 'batch' or 'fixed'")
    norm = FixedBatchNorm2d if mode == "fixed" else nn.BatchNorm2d
    return norm(num_channels, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM)


class ConvBlock(nn.Module):
    """Convolutions of one width, leaky-ReLU, then in pooled blocks max-pool and batch-norm, then dropout.

    The leaky-ReLU follows the last convolution only, as in the paper. It is computed after the max-pool: both are
    monotonic, so the result is the same, on a quarter of the numbers.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H, W), or half of H and W in a pooled block.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        num_convs: int,
        pool: bool,
        batch_norm: str,
        dropout: float,
    ):
        super().__init__()
        self.convs = nn.Sequential(
            *(
                nn.Conv2d(out_channels if i else in_channels, out_channels, kernel_size, padding="same")
                for i in range(num_convs)
            )
        )
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.norm = batch_norm_2d(out_channels, batch_norm) if pool else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return self.dropout(self.norm(F.leaky_relu(self.pool(self.convs(x)), NEGATIVE_SLOPE)))


class ConvNet(nn.Module):
    """Four convolutional blocks, three dense layers and the logits. Arch1 has one convolution a block, Arch2 two.

    Args:
        filters: channels of the four blocks.
        dense: units of the three hidden dense layers.
        convs_per_block: convolutions a block.
        dropout: probability to drop a unit, after every block and hidden dense layer.
        batch_norm: `batch` uses the statistics of the batch as usual, `fixed` keeps mean 0 and variance 1.
        width_multiplier: scales all filters and dense units (MobileNets, arXiv 1704.04861, section 3.3).
        num_classes: number of logits.

    Shapes: images (N, 3, 32, 32) in 0..1 -> logits (N, num_classes), always float32: in bfloat16 large logits tie.

    Raises:
        UserError: dropout outside [0, 1), or an unknown batch_norm.
    """

    def __init__(
        self,
        *,
        filters: Sequence[int],
        dense: Sequence[int],
        convs_per_block: int,
        dropout: float,
        batch_norm: str,
        num_classes: int,
        width_multiplier: float = 1.0,
    ):
        super().__init__()
        check_dropout(dropout)
        channels = [3, *(scaled(width, width_multiplier) for width in filters)]
        self.features = nn.Sequential(
            *(
                ConvBlock(
                    channels[i],
                    channels[i + 1],
                    kernel_size=5 if i < POOLED_BLOCKS else 3,
                    num_convs=convs_per_block,
                    pool=i < POOLED_BLOCKS,
                    batch_norm=batch_norm,
                    dropout=dropout,
                )
                for i in range(len(filters))
            )
        )
        side = 32 // 2**POOLED_BLOCKS
        units = [channels[-1] * side * side, *(scaled(width, width_multiplier) for width in dense)]
        self.head = nn.Sequential(nn.Flatten(), *dense_layers(units, dropout))
        self.logits = nn.Linear(units[-1], num_classes)
        glorot_uniform_(self)
        self.to(memory_format=torch.channels_last)  # the faster layout of convolutions, on CPUs and GPUs

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        x = self.head(self.features(x.contiguous(memory_format=torch.channels_last)))
        with torch.autocast(x.device.type, enabled=False):
            return self.logits(x.float())


def dense_layers(units: Sequence[int], dropout: float) -> list[nn.Sequential]:
    """Dense layers from each number of units to the next, each with leaky-ReLU and dropout."""
    return [
        nn.Sequential(nn.Linear(i, o), nn.LeakyReLU(NEGATIVE_SLOPE), nn.Dropout(dropout)) for i, o in pairwise(units)
    ]


def check_dropout(probability: float) -> None:
    """Raise UserError for a probability outside [0, 1)."""
    if not 0 <= probability < 1:
        raise UserError(f"dropout is {probability}, expected at least 0 and below 1")


def scaled(width: int, multiplier: float) -> int:
    """Scale a number of channels or units; one is always left."""
    return max(1, round(width * multiplier))


def glorot_uniform_(net: nn.Module) -> None:
    """Draw all kernels Glorot-uniform and zero all biases, as TensorFlow 1 layers start (Glorot and Bengio 2010)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
