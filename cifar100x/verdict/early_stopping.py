"""What stopping at the lowest held-out cross-entropy would have given, from histories alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cifar100x.runs.result import Result, images_of_a_fold
from cifar100x.verdict import statistics


@dataclass(frozen=True)
class EarlyStopping:
    """One model at the epoch of its lowest held-out cross-entropy, against its last; means over the folds.

    Changes are early less last, with their corrected 95% intervals. The held-out fold itself chose the epoch: what is
    said of early stopping is more than a user of it would get.

    Attributes:
        model: name.
        epoch: the mean of those of the folds.
        first_epoch: the earliest of them.
        last_epoch: the latest.
        epochs: of the whole training.
        accuracy: then, a fraction.
        accuracy_change: against the last epoch.
        accuracy_low: of its interval.
        accuracy_high: of its interval.
        cross_entropy: then, nats.
        cross_entropy_change: against the last epoch.
        cross_entropy_low: of its interval.
        cross_entropy_high: of its interval.
    """

    model: str
    epoch: float
    first_epoch: int
    last_epoch: int
    epochs: int
    accuracy: float
    accuracy_change: float
    accuracy_low: float
    accuracy_high: float
    cross_entropy: float
    cross_entropy_change: float
    cross_entropy_low: float
    cross_entropy_high: float


def early_stopping(model: str, results: Sequence[Result], fold: np.ndarray, num_folds: int) -> EarlyStopping:
    """What it would have given a model.

    Args:
        model: name.
        results: of its runs.
        fold: (runs,) which fold each held out; several seeds of one count as their mean.
        num_folds: K, of a repetition.
    """
    early = [min(result.history, key=lambda row: row["val_cross_entropy"]) for result in results]
    last = [result.history[-1] for result in results]
    n = int(fold.max()) + 1
    same = all(then["epoch"] == at_end["epoch"] for then, at_end in zip(early, last, strict=True))
    counting = 0.0 if same else statistics.of_counting(images_of_a_fold(results, n))
    least = {"accuracy": counting, "cross_entropy": 0.0}
    found: dict[str, float] = {}
    for metric in ("accuracy", "cross_entropy"):
        then = np.array([row[f"val_{metric}"] for row in early])
        change = then - [row[f"val_{metric}"] for row in last]
        mean = statistics.corrected(statistics.group_means(change, fold, n), num_folds, least[metric])
        low, high = mean.interval()
        found |= {
            metric: float(then.mean()),
            f"{metric}_change": float(mean.mean),
            f"{metric}_low": float(low),
            f"{metric}_high": float(high),
        }
    epochs = [int(row["epoch"]) for row in early]
    return EarlyStopping(model, float(np.mean(epochs)), min(epochs), max(epochs), int(last[0]["epoch"]), **found)
