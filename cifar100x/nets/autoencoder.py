"""The sparse autoencoder of the paper (section III.C): a convolutional encoder, a code, and a decoder."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cifar100x.nets.conv import NEGATIVE_SLOPE, batch_norm_2d, glorot_uniform_, scaled

CODE_SIDE = 8  # the code is a map of 8x8 places for the decoder


class ConvReLUNorm(nn.Module):
    """A convolution, plain or transposed, ReLU, then batch-norm.

    `pool` is applied to the convolution's output; ReLU is monotonic, so it may as well come after the pool.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W') as convolution and pool make them.
    """

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, batch_norm: str, pool: nn.Module | None = None):
        super().__init__()
        self.conv = conv
        self.pool = pool or nn.Identity()
        self.norm = batch_norm_2d(conv.out_channels, batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers."""
        return self.norm(F.relu(self.pool(self.conv(x))))


class MaxPoolStride1(nn.Module):
    """2x2 max-pool with stride 1 that keeps the size: the last row and column are pooled with what there is of them.

    The paper pools both branches of the encoder by 2 although one is strided already, and their outputs could not be
    concatenated; a stride of 1 is the smallest change that keeps its text.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, H, W) to the same shape."""
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-math.inf), 2, stride=1)


class Branches(nn.Module):
    """Two layers side by side on the same input, their outputs concatenated along the channels."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        """Apply both."""
        return torch.cat([self.first(x), self.second(x)], dim=1)


class Encoder(nn.Module):
    """Images to features to a code.

    Args:
        batch_norm: `batch` or `fixed`, as in `ConvNet`.
        width_multiplier: scales all channels and the code, as in `ConvNet`.

    Shapes: images (N, 3, 32, 32) in 0..1 -> code (N, 512); `features` gives (N, 256, 8, 8).
    """

    def __init__(self, *, batch_norm: str, width_multiplier: float = 1.0):
        super().__init__()
        c64, c128, c256 = (scaled(width, width_multiplier) for width in (64, 128, 256))

        def conv(i: int, o: int, kernel_size: int, stride: int = 1, pool: nn.Module | None = None) -> ConvReLUNorm:
            return ConvReLUNorm(nn.Conv2d(i, o, kernel_size, stride, kernel_size // 2), batch_norm, pool)

        self.features = nn.Sequential(
            conv(3, c64, 3),
            Branches(conv(c64, c128, 3, stride=2, pool=MaxPoolStride1()), conv(c64, c128, 5, pool=nn.MaxPool2d(2))),
            conv(2 * c128, c256, 3, stride=2),
        )
        self.code_channels = scaled(512 // CODE_SIDE**2, width_multiplier)
        self.code = nn.Linear(c256 * CODE_SIDE**2, self.num_units)
        glorot_uniform_(self)
        self.to(memory_format=torch.channels_last)

    @property
    def num_units(self) -> int:
        """Length of the code."""
        return self.code_channels * CODE_SIDE**2

    def forward(self, x: Tensor) -> Tensor:
        """Compute the code."""
        return self.code_of(self.features(x.contiguous(memory_format=torch.channels_last)))

    def code_of(self, features: Tensor) -> Tensor:
        """The code of features."""
        return F.leaky_relu(self.code(features.flatten(1)), NEGATIVE_SLOPE)


class Reconstruction(NamedTuple):
    """What an autoencoder makes of images: images float32 (N, 3, 32, 32), not clipped to 0..1, and code (N, 512).

    Where the code is the mean of a normal distribution, there is its log-variance too, (N, 512).
    """

    images: Tensor
    code: Tensor
    log_variance: Tensor | None = None


class Autoencoder(nn.Module):
    """Encoder and decoder.

    Args:
        batch_norm: `batch` or `fixed`, as in `ConvNet`.
        width_multiplier: scales all channels and the code, as in `ConvNet`.

    Shapes: images (N, 3, 32, 32) in 0..1 -> `Reconstruction`.

    Raises:
        UserError: an unknown batch_norm.
    """

    def __init__(self, *, batch_norm: str, width_multiplier: float = 1.0):
        super().__init__()
        self.encoder = Encoder(batch_norm=batch_norm, width_multiplier=width_multiplier)
        c64, c128, c256 = (scaled(width, width_multiplier) for width in (64, 128, 256))

        def conv(i: int, o: int, kernel_size: int, stride: int) -> ConvReLUNorm:
            padding, more = kernel_size // 2, stride - 1
            return ConvReLUNorm(nn.ConvTranspose2d(i, o, kernel_size, stride, padding, more), batch_norm)

        self.decoder = nn.Sequential(
            nn.Unflatten(1, (self.encoder.code_channels, CODE_SIDE, CODE_SIDE)),
            conv(self.encoder.code_channels, c256, 3, stride=1),
            Branches(conv(c256, c128, 3, stride=2), conv(c256, c128, 3, stride=2)),
            conv(2 * c128, c64, 5, stride=2),
            nn.ConvTranspose2d(c64, 3, 3, padding=1),
        )
        glorot_uniform_(self.decoder)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Reconstruction:
        """Encode and decode."""
        code = self.encoder(x)
        return Reconstruction(self.decoder(code).float(), code.float())
