"""The embedded data set: 100 classes of drawings that stand in for CIFAR-100 where there is no network.

A superclass is a silhouette, the five classes in it are five patterns on that silhouette, so a network that has
learnt shapes but not patterns confuses classes inside superclasses, as networks on photographs do. Position, size,
tilt, colours, strength of the pattern, background and noise vary from image to image, and say nothing about the class.
"""

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from cifar100x.data.building import Part, open_or_build
from cifar100x.data.classes import CIFAR100, CLASSES, COARSE_OF_FINE, SUPERCLASS_MEMBERS
from cifar100x.data.store import ImageStore, Split, cache_folder
from cifar100x.errors import UserError

SIDE = 32

Field = np.ndarray
"""A number at each pixel of each image, float32 (N, 32, 32)."""


def open_store(*, cache: str | None, train_per_class: int, test_per_class: int, draw_seed: int) -> ImageStore:
    """Open the image store of the embedded data set, drawing it on first use.

    Args:
        cache: as for `cache_folder`.
        train_per_class: images of each class in the train split.
        test_per_class: the same for the test split; 0 for none.
        draw_seed: equal seeds and counts give equal images.
    """
    if train_per_class < 1 or test_per_class < 0:
        raise UserError(
            f"data: {train_per_class} train and {test_per_class} test images a class, expected 1 and 0 or more"
        )
    counts = {"train": train_per_class, "test": test_per_class}
    drawn_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()  # changed drawings are another store
    identity = {"drawn_by": drawn_by, "seed": draw_seed, **counts}

    def parts(num_done: int) -> Iterator[Part]:
        for stream, (name, count) in islice(enumerate(counts.items()), num_done, None):
            if count:
                yield Part(name, vars(draw(count, draw_seed, stream)))

    return open_or_build(cache_folder(cache), "synthetic", identity, parts, CIFAR100)


def draw(per_class: int, seed: int, stream: int = 0) -> Split:
    """Draw `per_class` images of each of the 100 classes, ordered by class.

    Args:
        per_class: images of each class.
        seed: of the data set.
        stream: sets apart the splits of one seed.
    """
    images = np.empty((len(CLASSES), per_class, 3, SIDE, SIDE), np.uint8)
    for label, name in enumerate(CLASSES):
        generator = np.random.default_rng([seed, stream, label])
        superclass = list(SUPERCLASS_MEMBERS)[COARSE_OF_FINE[label]]
        pattern = PATTERNS[SUPERCLASS_MEMBERS[superclass].index(name)]
        images[label] = _draw_class(SILHOUETTES[superclass], pattern, per_class, generator)
    fine = np.repeat(np.arange(len(CLASSES)), per_class)
    return Split(images.reshape(-1, 3, SIDE, SIDE), fine, np.array(COARSE_OF_FINE)[fine])


def _draw_class(
    silhouette: Callable[[Field, Field], Field],
    pattern: Callable[[Field, Field], Field],
    count: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw `count` images of one class, uint8 (count, 3, 32, 32)."""

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return generator.uniform(low, high, (count, *shape)).astype(np.float32)

    pixel = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE * 2 - 1
    row, column = np.meshgrid(pixel, pixel, indexing="ij")
    size, tilt = uniform(0.55, 0.85, 1, 1), uniform(-0.3, 0.3, 1, 1)
    x = column - uniform(-1, 1, 1, 1) * (1 - size) * 0.8
    y = row - uniform(-1, 1, 1, 1) * (1 - size) * 0.8
    x, y = (np.cos(tilt) * x + np.sin(tilt) * y) / size, (np.cos(tilt) * y - np.sin(tilt) * x) / size

    inside = np.clip(0.5 - silhouette(x, y) * size * SIDE / 2, 0, 1)
    stroke = np.clip(0.5 + 1.5 * pattern(x + uniform(-0.15, 0.15, 1, 1), y + uniform(-0.15, 0.15, 1, 1)), 0, 1)
    # The figure is darker or lighter than the background; its pattern may be strong or hardly visible
    dark_or_light = np.where(uniform(0, 1, 1, 1, 1) < 0.5, -1, 1)
    background = 0.5 + 0.25 * dark_or_light + uniform(-0.15, 0.15, 3, 1, 1)
    background = background + uniform(-0.2, 0.2, 3, 1, 1) * column + uniform(-0.2, 0.2, 3, 1, 1) * row
    figure = 0.5 - 0.2 * dark_or_light + uniform(-0.15, 0.15, 3, 1, 1)
    strength = uniform(0.1, 0.5, 1, 1, 1) * np.where(uniform(0, 1, 1, 1, 1) < 0.5, -1, 1)
    figure = figure + strength * (stroke[:, None] - 0.5) * uniform(0.5, 1, 3, 1, 1)
    image = background + (figure - background) * inside[:, None]
    image += generator.standard_normal(image.shape, np.float32) * 0.08
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


# --- Silhouettes: about the distance to the edge, negative inside; x right and y down, within [-1, 1] ---------------


def _disc(x: Field, y: Field, cx: float, cy: float, radius: float) -> Field:
    return np.hypot(x - cx, y - cy) - radius


def _box(x: Field, y: Field, cx: float, cy: float, half_width: float, half_height: float) -> Field:
    return np.maximum(np.abs(x - cx) - half_width, np.abs(y - cy) - half_height)


def _triangle(x: Field, y: Field, cx: float, top: float, bottom: float, half_width: float) -> Field:
    """Isosceles, apex up."""
    height = bottom - top
    edge = (np.abs(x - cx) * height - (y - top) * half_width) / np.hypot(height, half_width)
    return np.maximum(edge, y - bottom)


def _union(*shapes: Field) -> Field:
    return np.minimum.reduce(shapes)


SILHOUETTES: dict[str, Callable[[Field, Field], Field]] = {
    "aquatic_mammals": lambda x, y: np.maximum(_disc(x, y, 0, 0.4, 0.95), y - 0.4),
    "fish": lambda x, y: _union(0.5 * (np.hypot(x + 0.25, 1.7 * y) - 0.65), _triangle(-y, x, 0, 0.2, 0.9, 0.55)),
    "flowers": lambda x, y: 0.7 * (np.hypot(x, y) - 0.62 - 0.3 * np.cos(5 * np.arctan2(x, -y))),
    "food_containers": lambda x, y: np.maximum(np.abs(x) - 0.5 + 0.25 * y, np.abs(y) - 0.85),
    "fruit_and_vegetables": lambda x, y: _union(_disc(x, y, 0, 0.3, 0.6), _disc(x, y, 0, -0.5, 0.36)),
    "household_electrical_devices": lambda x, y: np.maximum(_box(x, y, 0, 0, 0.85, 0.8), -_box(x, y, 0, 0, 0.4, 0.35)),
    "household_furniture": lambda x, y: _union(
        _box(x, y, 0, -0.4, 0.9, 0.25), _box(x, y, -0.6, 0.3, 0.2, 0.6), _box(x, y, 0.6, 0.3, 0.2, 0.6)
    ),
    "insects": lambda x, y: _union(*(_disc(x, y, cx, 0.1 * cx, 0.36) for cx in (-0.6, 0.0, 0.6))),
    "large_carnivores": lambda x, y: _union(
        _disc(x, y, 0, 0.2, 0.65), _disc(x, y, -0.55, -0.55, 0.33), _disc(x, y, 0.55, -0.55, 0.33)
    ),
    "large_man-made_outdoor_things": lambda x, y: _union(
        _box(x, y, 0, 0.3, 0.85, 0.55), *(_box(x, y, cx, -0.4, 0.19, 0.4) for cx in (-0.66, 0.0, 0.66))
    ),
    "large_natural_outdoor_scenes": lambda x, y: _union(
        _triangle(x, y, -0.4, -0.5, 0.7, 0.6), _triangle(x, y, 0.4, -0.9, 0.7, 0.6)
    ),
    "large_omnivores_and_herbivores": lambda x, y: np.maximum(_disc(x, y, -0.1, 0, 0.9), -_disc(x, y, 0.45, 0, 0.6)),
    "medium_mammals": lambda x, y: _union(_box(x, y, 0, 0, 0.9, 0.32), _box(x, y, 0, 0, 0.32, 0.9)),
    "non-insect_invertebrates": lambda x, y: np.abs(np.hypot(x, y) - 0.62) - 0.27,
    "people": lambda x, y: _union(_disc(x, y, 0, -0.6, 0.34), _triangle(x, y, 0, -0.5, 0.9, 0.65)),
    "reptiles": lambda x, y: np.maximum(0.6 * (np.abs(y - 0.45 * np.sin(3.8 * x)) - 0.36), np.abs(x) - 0.95),
    "small_mammals": lambda x, y: 0.5 * (np.hypot(1.9 * x, y) - 0.9),
    "trees": lambda x, y: _union(_triangle(x, y, 0, -0.95, 0.4, 0.8), _box(x, y, 0, 0.6, 0.2, 0.3)),
    "vehicles_1": lambda x, y: _union(
        _box(x, y, 0, -0.15, 0.9, 0.4), _disc(x, y, -0.5, 0.4, 0.32), _disc(x, y, 0.5, 0.4, 0.32)
    ),
    "vehicles_2": lambda x, y: (np.abs(x) + np.abs(y) - 0.95) / np.sqrt(2),
}

# --- Patterns: positive where the second colour is -------------------------------------------------------------------

PATTERNS: tuple[Callable[[Field, Field], Field], ...] = (
    lambda x, y: np.full_like(x, -1),
    lambda x, y: np.sin(8 * x),
    lambda x, y: np.sin(8 * y),
    lambda x, y: 1.6 * np.sin(6 * x) * np.sin(6 * y),
    lambda x, y: np.sin(9 * np.hypot(x, y)),
)
