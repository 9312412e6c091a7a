"""Which classes are confused: counted by hand."""

from types import SimpleNamespace

import numpy as np

from cifar100x.data.classes import Classes
from cifar100x.report.confusions import confused_pairs


def test_pairs_of_few_classes_are_those_that_are_confused():
    """Of three pairs two are; the diagonal is none, and cells without a pair are blank."""
    labels, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([1, 1, 0, 2, 2, 1])
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (labels, predicted), 1)
    comparison = SimpleNamespace(
        predicted={0: predicted}, confidences={0: np.full(6, 0.5)}, chosen=0, confusion=lambda _: counts, labels=labels,
        index=np.arange(6), classes=Classes(("a", "b", "c")), models=["m"],
    )  # fmt: skip
    plot = confused_pairs(comparison, np.zeros((6, 3, 32, 32), np.uint8))
    assert plot.rows[1:] == [("a", "b", 2, 1), ("b", "c", 0, 1)]
    assert "The 2 pairs of classes" in plot.caption
    assert not [axes for axes in plot.figure.axes if axes.axison]
