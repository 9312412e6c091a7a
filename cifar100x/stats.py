"""The statistics of a comparison: pure functions on float64 arrays, independent of files and networks.

Throughout, `accuracies` is (M, K): M models on the same K folds. Matrices are row minus column.
"""

import numpy as np
from scipy import stats


def fold_differences(accuracies: np.ndarray) -> np.ndarray:
    """Differences p_i of every pair of models on every fold, (M, M, K)."""
    return accuracies[:, None, :] - accuracies[None, :, :]


def standard_error(differences: np.ndarray) -> np.ndarray:
    """Standard error s_p of the mean over the last axis, as if folds were independent (paper, equation 4).

    Raises:
        ValueError: fewer than two folds.
    """
    num_folds = differences.shape[-1]
    if num_folds < 2:
        raise ValueError(f"a standard error needs at least 2 folds, got {num_folds}")
    return differences.std(axis=-1, ddof=1) / np.sqrt(num_folds)


def paper_bound(differences: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """One-sided upper bound p + t s_p of the mean difference over the last axis (paper, equation 3).

    The folds share training data, so this bound is too narrow; it is here because the paper decides by it.
    """
    t = stats.t.ppf(confidence, differences.shape[-1] - 1)
    return differences.mean(axis=-1) + t * standard_error(differences)


def row_winners(bounds: np.ndarray) -> np.ndarray:
    """The column of the smallest bound of each row, (M,): the model said to beat the row's (paper, section IV).

    A model beaten by none wins its own row, where the bound is 0. Of equal bounds the row's own comes first, then the
    first column.
    """
    smallest = bounds.argmin(axis=1)
    own = np.arange(len(bounds))
    return np.where(bounds[own, own] <= bounds[own, smallest], own, smallest)


def choose(winners: np.ndarray, mean_accuracies: np.ndarray) -> int:
    """The model that wins most rows; among equals the more accurate, among those the first."""
    wins = np.bincount(winners, minlength=len(mean_accuracies))
    return int(np.lexsort((-mean_accuracies, -wins))[0])


def corrected_standard_error(differences: np.ndarray) -> np.ndarray:
    """Standard error of the mean over the last axis that allows for the training data that folds share.

    The variance is s^2 (1/K + n_test/n_train), with n_test/n_train = 1/(K-1) for K folds (Nadeau and Bengio 2003,
    "Inference for the generalization error", section 4).
    """
    num_folds = differences.shape[-1]
    return standard_error(differences) * np.sqrt(1 + num_folds / (num_folds - 1))


def corrected_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided interval of the mean over the last axis: corrected standard error, K-1 degrees of freedom."""
    margin = stats.t.ppf((1 + confidence) / 2, values.shape[-1] - 1) * corrected_standard_error(values)
    mean = values.mean(axis=-1)
    return mean - margin, mean + margin
