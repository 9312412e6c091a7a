"""The statistics of a comparison: pure functions on float64 arrays, independent of files and networks.

Throughout, `accuracies` is (M, n): M models on the same n held-out folds, which are the K folds of one permutation or
of several. Matrices are row minus column.
"""

import numpy as np
from scipy import optimize, stats


def fold_differences(accuracies: np.ndarray) -> np.ndarray:
    """Differences p_i of every pair of models on every fold, (M, M, n)."""
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


def corrected_standard_error(differences: np.ndarray, num_folds: int) -> np.ndarray:
    """Standard error of the mean over the last axis that allows for the training data that folds share.

    The variance is s^2 (1/n + n_test/n_train), with n_test/n_train = 1/(K-1) for K folds (Nadeau and Bengio 2003,
    "Inference for the generalization error", section 4); n is K times the number of repetitions with other folds
    (Bouckaert and Frank 2004).
    """
    n = differences.shape[-1]
    return standard_error(differences) * np.sqrt(1 + n / (num_folds - 1))


def corrected_interval(values: np.ndarray, num_folds: int, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided interval of the mean over the last axis: corrected standard error, n-1 degrees of freedom."""
    margin = stats.t.ppf((1 + confidence) / 2, values.shape[-1] - 1) * corrected_standard_error(values, num_folds)
    mean = values.mean(axis=-1)
    return mean - margin, mean + margin


def corrected_t_test(differences: np.ndarray, num_folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Corrected resampled t-test of a mean of 0 over the last axis: t and two-sided p.

    Differences that are all equal have no variance: t is then 0 (p 1) if they are zero, and infinite (p 0) if not.
    """
    mean, error = differences.mean(axis=-1), corrected_standard_error(differences, num_folds)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0, 0.0, mean / error)
    return t, 2 * stats.t.sf(np.abs(t), differences.shape[-1] - 1)


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p-values (n,) for n tests, step down (Holm 1979): the chance of any false rejection stays below alpha."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p, dtype=float)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def bayesian_t_test(differences: np.ndarray, num_folds: int, rope: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posterior probabilities that the mean over the last axis is above, within and below +-rope.

    Bayesian correlated t-test (Benavoli et al. 2017, "Time for a change", section 3.1) with correlation 1/K: a Student
    distribution about the mean with the corrected standard error. Without variance all probability lies at the mean.

    Args:
        differences: (..., n).
        num_folds: K.
        rope: region of practical equivalence: differences up to this count as none.
    """
    mean, scale = differences.mean(axis=-1), corrected_standard_error(differences, num_folds)
    df = differences.shape[-1] - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.where(scale > 0, stats.t.sf((rope - mean) / scale, df), mean > rope)
        below = np.where(scale > 0, stats.t.cdf((-rope - mean) / scale, df), mean < -rope)
    return above, 1 - above - below, below


def effect_size(differences: np.ndarray) -> np.ndarray:
    """Cohen's d over the last axis: the mean in standard deviations between folds; 0 for a mean of 0."""
    mean = differences.mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(mean == 0, 0.0, mean / differences.std(axis=-1, ddof=1))


def detectable_effect(n: int, num_folds: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest effect size that a corrected two-sided test over n differences finds with the given probability.

    The test's t follows a noncentral t distribution with n-1 degrees of freedom and noncentrality effect / sqrt(1/n +
    1/(K-1)), as far as the correction makes it right.
    """
    critical = stats.t.ppf(1 - alpha / 2, n - 1)

    def lacking(noncentrality: float) -> float:
        return stats.nct.sf(critical, n - 1, noncentrality) - power

    return float(optimize.brentq(lacking, 0, 100)) * np.sqrt(1 / n + 1 / (num_folds - 1))


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> tuple[int, int, float]:
    """Exact McNemar test of whether two classifiers are right equally often, from what each gets right, (N,) bool.

    It knows only these trained networks: how much retraining would change is not in it.

    Returns:
        How many only a gets right, how many only b, and the two-sided p.
    """
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    p = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return only_a, only_b, float(p)


def group_means(values: np.ndarray, groups: np.ndarray, num_groups: int) -> np.ndarray:
    """Means of values (N,) over the rows of each group, given as (N,) integers; (num_groups,), nan for an empty one."""
    counts = np.bincount(groups, minlength=num_groups)
    with np.errstate(invalid="ignore"):
        return np.bincount(groups, weights=values, minlength=num_groups) / counts


def clustered_interval(group_differences: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of a mean difference (G,) over groups taken as a sample of all such groups; nan below 2."""
    if len(group_differences) < 2:
        return float("nan"), float("nan")
    margin = stats.t.ppf((1 + confidence) / 2, len(group_differences) - 1) * standard_error(group_differences)
    mean = group_differences.mean()
    return float(mean - margin), float(mean + margin)
