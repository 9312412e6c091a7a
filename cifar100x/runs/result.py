"""What runs leave, apart from the files it lies in."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar100x.data.classes import Classes


@dataclass(frozen=True)
class Predictions:
    """What a run says about its held-out fold: indices into the train split (N,), labels (N,), logits (N, C)."""

    index: np.ndarray
    label: np.ndarray
    logits: np.ndarray


def accuracy(predictions: Predictions) -> float:
    """The share of images whose label has the highest logit."""
    return float((predictions.logits.argmax(axis=1) == predictions.label).mean())


@dataclass(frozen=True)
class Look:
    """What the last look at the test split found.

    Attributes:
        model: that was trained on all images.
        metrics: of its run, with `test`, `test_ensemble`, `test_looks` and `test_looks_of_data`.
        predictions: of its network alone; None where an earlier version looked and kept none.
    """

    model: str
    metrics: dict[str, Any]
    predictions: Predictions | None


@dataclass(frozen=True)
class Result:
    """What a finished classifier's run left, read from its files.

    Attributes:
        name: of its directory.
        config: what was chosen.
        metrics: as in metrics.json.
        history: one row an epoch.
        predictions: of its held-out fold.
        classes: what its labels mean.
    """

    name: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    history: list[dict[str, float]]
    predictions: Predictions
    classes: Classes


@dataclass(frozen=True)
class Eliminated:
    """A candidate that a race has eliminated.

    Attributes:
        results: of the folds that it was trained on.
        after: how many folds it left.
        leader: which candidate had the highest mean accuracy then.
        behind: how far its own was behind that, a fraction.
        chance: that it would have overtaken the leader by the last fold.
    """

    results: list[Result]
    after: int
    leader: str
    behind: float
    chance: float
