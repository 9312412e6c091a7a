"""Whether confidences can be believed, and what one temperature mends."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from cifar100x.runs.result import Result
from cifar100x.verdict import statistics

NUM_BINS = 15
FIT_ROWS = 2000  # enough for one temperature


@dataclass(frozen=True)
class Pooled:
    """Held-out predictions of all folds, T in all: repetition by repetition, each in the order of its images.

    Attributes:
        index: (T,) images, each once a repetition and seed.
        labels: (T,).
        logits: (T, C).
        fold: (T,) of all repetitions, counted through.
        repetition: (T,).
    """

    index: np.ndarray
    labels: np.ndarray
    logits: np.ndarray
    fold: np.ndarray
    repetition: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """(T, C)."""
        return special.softmax(self.logits, axis=1)


def pool(results: Sequence[Result], num_folds: int) -> Pooled:
    """Put the folds of a model together, `num_folds` a repetition."""
    predictions = [result.predictions for result in results]
    index = np.concatenate([p.index for p in predictions])
    fold = np.repeat(np.arange(len(results)), [len(p.index) for p in predictions])
    order = np.lexsort((index, fold // num_folds))
    return Pooled(
        index[order],
        np.concatenate([p.label for p in predictions])[order],
        np.concatenate([p.logits for p in predictions])[order],
        fold[order],
        fold[order] // num_folds,
    )


@dataclass(frozen=True)
class Calibration:
    """How far confidences can be believed: expected calibration error, and what one temperature mends.

    The temperature and the cross-entropy after it are means over the folds, each scaled by a temperature fitted on the
    other folds of its repetition. `reliability` is (bins, 3): count, mean confidence, accuracy.
    """

    error: float
    cross_entropy: float
    temperature: float
    scaled_cross_entropy: float
    reliability: np.ndarray


def calibrate(pooled: Pooled) -> Calibration:
    """How far the confidences of a model can be believed."""
    probabilities = pooled.probabilities
    confidences, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == pooled.labels
    temperatures, scaled = [], []
    for fold in np.unique(pooled.fold):
        here = pooled.fold == fold
        others = np.flatnonzero(~here & (pooled.repetition == pooled.repetition[here][0]))
        sample = others[:: max(1, len(others) // FIT_ROWS)]
        temperature = fit_temperature(pooled.logits[sample], pooled.labels[sample]) if len(sample) else np.nan
        temperatures.append(temperature)
        scaled.append(cross_entropy(pooled.logits[here] / temperature, pooled.labels[here]))
    return Calibration(
        error=expected_calibration_error(confidences, correct),
        cross_entropy=cross_entropy(pooled.logits, pooled.labels),
        temperature=float(np.mean(temperatures)),
        scaled_cross_entropy=float(np.mean(scaled)),
        reliability=reliability(confidences, correct),
    )


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy (nats) of logits (N, C) against labels (N,)."""
    return float(-special.log_softmax(logits.astype(float), axis=1)[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number that logits are to be divided by for the lowest cross-entropy (Guo et al. 2017, section 4.2)."""
    found = optimize.minimize_scalar(
        lambda log_t: cross_entropy(logits / np.exp(log_t), labels), bounds=(-3, 6), method="bounded"
    )
    return float(np.exp(found.x))


def reliability(confidences: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Confidence against accuracy in bins of equal width over 0..1, open below and closed above.

    Args:
        confidences: (N,) highest probabilities.
        correct: (N,) whether that class is right.

    Returns:
        (NUM_BINS, 3): count, mean confidence and accuracy of each bin; the last two are nan for an empty one.
    """
    bins = np.clip(np.ceil(confidences * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    means = [statistics.group_means(values.astype(float), bins, NUM_BINS) for values in (confidences, correct)]
    return np.column_stack([counts, *means])


def expected_calibration_error(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Mean distance of confidence and accuracy over the bins, weighted by their counts (Naeini et al. 2015)."""
    counts, confidence, accuracy = reliability(confidences, correct).T
    filled = counts > 0
    return float((counts[filled] * np.abs(confidence - accuracy)[filled]).sum() / counts.sum())
