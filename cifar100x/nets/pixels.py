"""What every image goes through before a network sees it."""

import torch
from torch import Tensor, nn


class Pixels(nn.Module):
    """Bytes to numbers in 0..1, or to standard ones, if it is given mean and deviation of each channel, (3,) in 0..1.

    Shapes: uint8 (N, 3, H, W) -> float32 (N, 3, H, W).
    """

    mean: Tensor | None
    deviation: Tensor | None

    def __init__(self, mean: Tensor | None = None, deviation: Tensor | None = None):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, images: Tensor) -> Tensor:
        """Scale."""
        scaled = images.float() / 255
        if self.mean is None or self.deviation is None:
            return scaled
        return (scaled - self.mean[:, None, None]) / self.deviation[:, None, None]


class OnBytes(nn.Module):
    """A network with what its images go through before it, so that it takes them as they are stored.

    Shapes: uint8 (N, 3, 32, 32) -> what the network makes of them.
    """

    def __init__(self, pixels: Pixels, net: nn.Module):
        super().__init__()
        self.pixels, self.net = pixels, net

    def forward(self, images: Tensor) -> Tensor:
        """Apply both."""
        return self.net(self.pixels(images))


def check_logits(net: nn.Module, num_classes: int) -> str | None:
    """What is wrong with a network as a classifier of 32x32 images, tried on two of them; None if it is one.

    Its weights, statistics and mode and torch's random numbers stay as they are.
    """
    was_training = [module.training for module in net.modules()]
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            found = net.eval()(torch.zeros(2, 3, 32, 32, device=device))
    except Exception as error:  # whatever somebody's network may raise
        return f"it cannot take images (N, 3, 32, 32): {(str(error) or type(error).__name__).splitlines()[0]}"
    finally:
        for module, training in zip(net.modules(), was_training, strict=True):
            module.training = training
    expected = f"expected logits (N, {num_classes}), one for each class of the images"
    if not isinstance(found, Tensor):
        return f"it makes a {type(found).__name__} of images, {expected}"
    if tuple(found.shape) != (2, num_classes):
        return f"it makes ({', '.join(['N', *map(str, found.shape[1:])])}) of N images, {expected}"
    return None
