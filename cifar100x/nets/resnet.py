"""Residual networks for 32x32 images (He et al. 2015, "Deep residual learning for image recognition", section 4.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cifar100x.errors import UserError
from cifar100x.nets.conv import scaled


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters (option A): strided, new channels filled with zeros.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.stride, self.more_channels = stride, out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        residual = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.more_channels:
            before = self.more_channels // 2
            shortcut = F.pad(shortcut, (0, 0, 0, 0, before, self.more_channels - before))
        return F.relu(residual + shortcut)


class ResNet(nn.Module):
    """A convolution, three stages of residual blocks at 32x32, 16x16 and 8x8, global average pooling, the logits.

    Weights start as He et al. 2015, "Delving deep into rectifiers", have it.

    Args:
        depth: layers with weights, 6n + 2 for n blocks a stage: 20, 32, 44, 56, 110.
        width: channels of the first stage; the others have two and four times as many.
        width_multiplier: scales them, as in `ConvNet`.
        num_classes: number of logits.

    Shapes: images (N, 3, 32, 32) in 0..1 -> logits (N, num_classes), float32.

    Raises:
        UserError: no such depth or width.
    """

    def __init__(self, *, num_classes: int, depth: int = 20, width: int = 16, width_multiplier: float = 1.0):
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise UserError(f"depth is {depth}, expected 6n + 2, as 20, 32, 44, 56 or 110")
        if width < 1:
            raise UserError(f"width is {width}, expected at least 1")
        width = scaled(width, width_multiplier)
        channels = [width, width, 2 * width, 4 * width]
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.stages = nn.Sequential(
            *(
                ResidualBlock(channels[stage + bool(block)], channels[stage + 1], 2 if stage and not block else 1)
                for stage in range(3)
                for block in range((depth - 2) // 6)
            )
        )
        self.logits = nn.Linear(channels[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        x = self.stages(self.stem(x.contiguous(memory_format=torch.channels_last))).mean((2, 3))
        with torch.autocast(x.device.type, enabled=False):
            return self.logits(x.float())
