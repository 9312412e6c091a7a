"""What runs leave, apart from the files it lies in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar100x.data.classes import Classes


@dataclass(frozen=True)
class Predictions:
    """What a run says about its held-out fold, or about the test split.

    Attributes:
        index: (N,) of the images in their split.
        label: (N,).
        logits: (N, C).
    """

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

    @property
    def amiss(self) -> str | None:
        """The first thing that is not as all who read a result take it for granted, in words."""
        return next((what for is_so, what in self._promises() if not is_so), None)

    def _promises(self) -> Iterator[tuple[bool, str]]:
        """What is taken for granted, each with what to say if it is not so."""
        p, m = self.predictions, self.metrics
        yield p.logits.ndim == 2 and len(p.logits) > 0, "predictions.npz holds no logits (N, C)"
        yield p.index.shape == p.label.shape == p.logits.shape[:1], "predictions.npz holds arrays of different lengths"
        yield all(np.issubdtype(a.dtype, np.integer) for a in (p.index, p.label)), "its labels are no integers"
        yield bool((p.index >= 0).all()), "predictions.npz names images below 0"
        yield bool(((p.label >= 0) & (p.label < p.logits.shape[1])).all()), "its labels have no logits"
        yield bool(np.isfinite(p.logits).all()), "its logits are no numbers"
        yield p.logits.shape[1] <= len(self.classes), "classes.json has fewer classes than there are logits"
        for name, kind in KINDS.items():
            yield isinstance(m.get(name), kind), f"metrics.json has no {name}"
        yield m["fold"] >= 0 and m["folds"] > 1, "metrics.json has a fold that is none"
        for stage in ("train", "val"):
            found = [m[stage].get(name) for name in ("accuracy", "cross_entropy")]
            yield (
                all(isinstance(v, int | float) and np.isfinite(v) for v in found),
                f"metrics.json has no {stage} results",
            )
        yield (
            all(isinstance(m["data"].get(name), str) for name in ("name", "fingerprint")),
            "metrics.json names no data",
        )
        yield m["environment"].keys() >= OF_ENVIRONMENT, "metrics.json does not say where it was trained, and by what"
        yield isinstance(self.config.get("task"), str), "config.yaml names no task"
        yield bool(self.history), "history.csv holds no epoch"
        columns = {tuple(row) for row in self.history}
        yield len(columns) == 1 and {"epoch", *CURVES} <= set(*columns), "history.csv lacks columns"
        yield all(np.isfinite(list(row.values())).all() for row in self.history), "history.csv holds what is no number"


CURVES = ("train_accuracy", "train_cross_entropy", "val_accuracy", "val_cross_entropy")
KINDS: dict[str, Any] = {
    "fold": int, "folds": int, "seed": int, "parameters": int, "epochs": int, "train_seconds": int | float,
    "train": dict, "val": dict, "data": dict, "environment": dict,
}  # fmt: skip
"""What the metrics of a classifier's run hold, beside others."""
OF_ENVIRONMENT = {"commit", "dirty", "device", "threads", "precision", "torch", "lightning"}
"""What its environment holds, beside others."""


def images_of_a_fold(results: Sequence[Result], num_folds: int) -> float:
    """How many predictions of a model stand behind its accuracy on each of so many folds, those of all seeds."""
    return sum(len(result.predictions.index) for result in results) / num_folds


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
