"""Images of any size and mode, made the size that the networks take."""

import numpy as np
from PIL import Image

SIDE = 32


def to_32x32(image: Image.Image) -> np.ndarray:
    """Resize the whole image with a box filter to uint8 (3, 32, 32), red, green and blue.

    Its proportions are not kept, as ImageNet32 does (Chrabaszcz et al. 2017, section 3).
    """
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)).transpose(2, 0, 1)
