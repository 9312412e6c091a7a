"""Training images changed at random, a batch at a time and on its device."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


class ShiftAndFlip:
    """Moves each image by some pixels either way, black coming in, and mirrors half of them (He et al. 2015).

    Args:
        shift: pixels at most, drawn evenly for both directions.
        flip: whether half of the images are mirrored, left and right exchanged.

    Shapes: uint8 (N, C, H, W) -> the same.
    """

    def __init__(self, shift: int = 4, *, flip: bool = True):
        self.shift, self.flip = shift, flip

    def __call__(self, images: Tensor) -> Tensor:
        """Draw anew for each image."""
        n, _, height, width = images.shape
        places = torch.randint(2 * self.shift + 1, (2, n), device=images.device)
        windows = F.pad(images, [self.shift] * 4).unfold(2, height, 1).unfold(3, width, 1)
        shifted = windows[torch.arange(n, device=images.device), :, places[0], places[1]]
        if not self.flip:
            return shifted
        mirrored = torch.rand(n, 1, 1, 1, device=images.device) < 0.5
        return torch.where(mirrored, shifted.flip(3), shifted)


class Each:
    """A transform of single images, as those of torchvision.transforms.v2, applied to each of a batch by itself.

    Args:
        transform: takes an image uint8 (3, 32, 32) and returns such.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor]):
        self.transform = transform

    def __call__(self, images: Tensor) -> Tensor:
        """Apply it."""
        return torch.stack([self.transform(image) for image in images])
