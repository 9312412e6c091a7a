"""Early stopping, from histories written by hand."""

import numpy as np
import pytest

from cifar100x.data.classes import CIFAR100
from cifar100x.runs.result import Predictions, Result
from cifar100x.verdict.early_stopping import early_stopping


def result(accuracies, cross_entropies) -> Result:
    history = [
        {"epoch": epoch, "val_accuracy": accuracy, "val_cross_entropy": cross_entropy}
        for epoch, (accuracy, cross_entropy) in enumerate(zip(accuracies, cross_entropies, strict=True), 1)
    ]
    of_images = np.zeros(NUM_IMAGES)
    return Result("", {}, {}, history, Predictions(of_images, of_images, of_images), CIFAR100)


NUM_IMAGES = 100
RESULTS = [
    result([0.1, 0.3, 0.35], [3.0, 2.0, 4.0]),
    result([0.2, 0.25, 0.36], [2.2, 2.5, 5.0]),
    result([0.1, 0.32, 0.34], [3.1, 2.1, 4.5]),
]


def test_the_epoch_of_the_lowest_cross_entropy_against_the_last():
    found = early_stopping("a", RESULTS, np.arange(3), num_folds=3)
    assert (found.epoch, found.first_epoch, found.last_epoch, found.epochs) == (5 / 3, 1, 2, 3)
    assert found.accuracy == pytest.approx((0.3 + 0.2 + 0.32) / 3)
    changes = np.array([0.3 - 0.35, 0.2 - 0.36, 0.32 - 0.34])
    margin = 4.302653 * np.sqrt(changes.var(ddof=1) * (1 / 3 + 1 / 2))  # t of 2 degrees, Nadeau and Bengio
    assert found.accuracy_change == pytest.approx(changes.mean())
    assert (found.accuracy_low, found.accuracy_high) == pytest.approx(
        (changes.mean() - margin, changes.mean() + margin)
    )
    assert found.cross_entropy_change == pytest.approx(np.mean([2 - 4, 2.2 - 5, 2.1 - 4.5]))


def test_the_last_epoch_does_not_differ_from_itself():
    found = early_stopping("a", [result([0.1, 0.2], [3.0, 2.0]), result([0.1, 0.3], [3.0, 1.0])], np.arange(2), 2)
    assert (found.accuracy_change, found.accuracy_low, found.accuracy_high) == (0, 0, 0)


def test_seeds_of_one_fold_count_as_their_mean():
    found = early_stopping("a", [*RESULTS[:2], *RESULTS[:2]], np.array([0, 1, 0, 1]), num_folds=2)
    once = early_stopping("a", RESULTS[:2], np.array([0, 1]), num_folds=2)
    assert found == once


def test_folds_that_change_by_equally_many_images_are_not_sure():
    """One image fewer at the early epoch in both folds: less spread than rounding to whole images is not believed."""
    found = early_stopping("a", 2 * [result([0.29, 0.3], [2.0, 3.0])], np.arange(2), num_folds=2)
    assert found.accuracy_change == pytest.approx(-0.01)
    assert found.accuracy_low < -0.01 < 0 < found.accuracy_high
    assert found.cross_entropy_high == pytest.approx(-1)
