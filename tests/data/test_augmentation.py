"""Augmentation against shifting and mirroring by hand."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from cifar100x.data.augmentation import Each, ShiftAndFlip

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(1, 256, (400, 3, 5, 5), dtype=np.uint8))


def moved(image, down, right, mirrored):
    """By hand: black comes in."""
    found = np.zeros_like(image)
    rows, columns = (np.arange(5) - move for move in (down, right))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            if 0 <= row < 5 and 0 <= column < 5:
                found[:, i, j] = image[:, row, column]
    return found[:, :, ::-1] if mirrored else found


def test_every_image_is_moved_and_mirrored_evenly_by_its_own_draw():
    torch.manual_seed(0)
    before = IMAGES.clone()
    found = ShiftAndFlip(1)(IMAGES)
    assert torch.equal(IMAGES, before), "the images in memory stay as they are"
    counts = {}
    for image, changed in zip(IMAGES.numpy(), found.numpy(), strict=True):
        (how,) = [
            (down, right, mirrored)
            for down in (-1, 0, 1) for right in (-1, 0, 1) for mirrored in (False, True)
            if np.array_equal(moved(image, down, right, mirrored), changed)
        ]  # fmt: skip
        counts[how] = counts.get(how, 0) + 1
    assert len(counts) == 18
    assert all(5 <= count <= 45 for count in counts.values()), "22 expected, a deviation of 4.6"


@pytest.mark.parametrize("flip", [False, True])
def test_draws_are_torch_s(flip):
    """So that they are a function of the seed of an epoch."""
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(ShiftAndFlip(4, flip=flip)(IMAGES))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert drawn[0].dtype == torch.uint8


def test_a_transform_of_single_images_draws_for_each():
    torch.manual_seed(0)
    found = Each(v2.RandomHorizontalFlip())(IMAGES[:50])
    mirrored = [torch.equal(image.flip(2), changed) for image, changed in zip(IMAGES, found, strict=False)]
    assert 10 < sum(mirrored) < 40
    assert all(
        torch.equal(image, changed) or was
        for image, changed, was in zip(IMAGES, found, mirrored, strict=False)
    )  # fmt: skip
