"""Images of any size and mode, made the size that the networks take."""

from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cifar100x.errors import UserError

SIDE = 32
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is decoded in this process, by Pillow alone: it would start other programs for some of the rest."""
MOST_PIXELS = 1 << 26
"""A photo of 64 million takes 200 MB; a small file may claim more."""
LARGEST_IMAGE_BYTES = 64 << 20
"""Of a file with one; pixels that are not compressed take more, and are refused for it."""


def decode(name: str, file: IO[bytes], formats: tuple[str, ...] = FORMATS, upright: bool = False) -> np.ndarray:
    """Decode an image of any size and mode to uint8 (3, 32, 32), red, green and blue.

    Args:
        name: of it, for the error.
        file: that holds it.
        formats: that it may have, by Pillow's names.
        upright: whether to turn a photo as its camera says it was held; ImageNet's are taken as they lie.

    Raises:
        UserError: it is too large, or of another format, or its pixels are none of 8 or 16 bits a channel.
    """
    try:
        return _decode(file, formats, upright)
    except Exception as error:  # a hostile image can make the decoder raise anything
        raise UserError(f"{name} is not a readable image ({error}): mend it or leave it out") from error


def _decode(file: IO[bytes], formats: tuple[str, ...], upright: bool) -> np.ndarray:
    try:
        found = Image.open(file, formats=formats)
    except UnidentifiedImageError as error:
        raise ValueError(f"it is none of {', '.join(formats)}") from error
    with found as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"it has {image.width}x{image.height} pixels, expected at most {MOST_PIXELS:,}")
        if image.format == "PPM" and image.mode == "I":  # as Pillow opens 16 bits of grey
            return to_32x32(_upper_8_bits(image))
        return to_32x32(ImageOps.exif_transpose(image) if upright else image)


def _upper_8_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def to_32x32(image: Image.Image) -> np.ndarray:
    """Resize the whole image with a box filter to uint8 (3, 32, 32), red, green and blue.

    Its proportions are not kept, as ImageNet32 does (Chrabaszcz et al. 2017, section 3). Of 16 bits the upper 8 count.

    Raises:
        ValueError: its pixels are of more bits, or not integers: nobody can tell what is white.
    """
    if image.mode.startswith("I;16"):
        image = _upper_8_bits(image)
    if image.mode in ("I", "F"):
        raise ValueError("its pixels are 32-bit numbers, expected 8 or 16 bits a channel")
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)).transpose(2, 0, 1)
