"""The statistics of a comparison: pure functions on float64 arrays, independent of files and networks.

Throughout, `accuracies` is (M, n): M models on the same n held-out folds, which are the K folds of one permutation or
of several. Matrices are row minus column.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

CONFIDENCE = 0.95
POWER = 0.8
"""With which an effect that can be detected would be."""
DIGITS = 12
"""To so many digits equal accuracies stay equal, in whatever order they were added up."""


def fold_differences(accuracies: np.ndarray) -> np.ndarray:
    """Differences p_i of every pair of models on every fold, (M, M, n)."""
    return accuracies[:, None, :] - accuracies[None, :, :]


def deviation(values: np.ndarray) -> np.ndarray:
    """Standard deviation between folds, the last axis; infinite for one fold, which says nothing of others."""
    return values.std(axis=-1, ddof=1) if values.shape[-1] > 1 else np.full(values.shape[:-1], np.inf)


def standard_error(differences: np.ndarray) -> np.ndarray:
    """Standard error s_p of the mean over the last axis, as if folds were independent (paper, equation 4)."""
    return deviation(differences) / np.sqrt(differences.shape[-1])


def paper_bound(differences: np.ndarray) -> np.ndarray:
    """One-sided 95% upper bound p + t s_p of the mean difference over the last axis (paper, equation 3).

    The folds share training data, so this bound is too narrow; it is here because the paper decides by it.
    """
    t = stats.t.ppf(CONFIDENCE, freedom(differences))
    return differences.mean(axis=-1) + t * standard_error(differences)


def freedom(values: np.ndarray) -> int:
    """Degrees of freedom of a variance over the last axis; 1 for one fold, whose variance is infinite."""
    return max(values.shape[-1] - 1, 1)


def row_winners(bounds: np.ndarray) -> np.ndarray:
    """The column of the smallest bound of each row, (M,): the model said to beat the row's (paper, section IV).

    A model beaten by none wins its own row, where the bound is 0. Of equal bounds the row's own comes first, then the
    first column.
    """
    smallest = bounds.argmin(axis=1)
    own = np.arange(len(bounds))
    return np.where(bounds[own, own] <= bounds[own, smallest], own, smallest)


def choose(winners: np.ndarray, mean_accuracies: np.ndarray) -> int:
    """The model that wins most rows; among equals the more accurate, among those, to rounding, the first."""
    wins = np.bincount(winners, minlength=len(mean_accuracies))
    return int(np.lexsort((-mean_accuracies.round(DIGITS), -wins))[0])


@dataclass(frozen=True)
class Mean:
    """What is known of means over folds: a Student distribution about each, with one standard error and its freedom.

    Attributes:
        mean: (...).
        error: standard error of each, (...).
        freedom: degrees of freedom of the standard errors; infinite if they are known.
    """

    mean: np.ndarray
    error: np.ndarray
    freedom: float

    @property
    def t(self) -> np.ndarray:
        """Distance from 0 in standard errors; of an error of 0, 0 where the mean is 0 and else infinite."""
        return self._beyond(0.0)

    @property
    def p(self) -> np.ndarray:
        """Two-sided p of a mean of 0."""
        return 2 * stats.t.sf(np.abs(self.t), self.freedom)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
        """Two-sided interval."""
        margin = stats.t.ppf((1 + confidence) / 2, self.freedom) * self.error
        return self.mean - margin, self.mean + margin

    def p_equivalent(self, rope: float) -> np.ndarray:
        """p of two one-sided tests (Schuirmann 1987) of a mean beyond +-rope: small if it is surely within.

        It is below alpha just where the interval of confidence 1 - 2 alpha lies inside +-rope.
        """
        return np.maximum(stats.t.sf(self._beyond(-rope), self.freedom), stats.t.cdf(self._beyond(rope), self.freedom))

    def probabilities(self, rope: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Posterior probabilities that a mean is above, within and below +-rope.

        With corrected standard errors this is the Bayesian correlated t-test (Benavoli et al. 2017, "Time for a
        change", section 3.1) with correlation 1/K. Without variance all probability lies at the mean.
        """
        above = stats.t.sf(-self._beyond(rope), self.freedom)
        below = stats.t.cdf(-self._beyond(-rope), self.freedom)
        return above, 1 - above - below, below

    def _beyond(self, value: float) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.mean == value, 0.0, (self.mean - value) / self.error)


def sharing(n: int, num_folds: int) -> float:
    """Variance of a mean over n folds in variances between folds, allowing for the training data that folds share.

    It is 1/n + n_test/n_train, with n_test/n_train = 1/(K-1) for K folds (Nadeau and Bengio 2003, "Inference for the
    generalization error", section 4); n is K times the number of repetitions with other folds. For folds this is a
    heuristic (Bouckaert and Frank 2004); no unbiased estimate exists (Bengio and Grandvalet 2004).
    """
    return 1 / n + 1 / (num_folds - 1)


def corrected(values: np.ndarray, num_folds: int, least: float = 0.0) -> Mean:
    """Means over the last axis, (..., n), each with its own variance, corrected for shared training data.

    Args:
        values: on n folds.
        num_folds: K, of a repetition.
        least: variance that nothing has less of, see `of_counting`.
    """
    variances = np.maximum(deviation(values) ** 2, least)
    return Mean(values.mean(axis=-1), np.sqrt(variances * sharing(values.shape[-1], num_folds)), freedom(values))


def of_counting(num_images: float, num_accuracies: int = 2) -> float:
    """Variance that a sum or difference of accuracies on so many images has by rounding to whole images.

    Two folds of equal models are often equally many images apart; their variance of 0 is one of less than this.
    """
    return num_accuracies / (12 * num_images**2)


def moderated(differences: np.ndarray, num_folds: int, least: float = 0.0) -> Mean:
    """Corrected means of all pairs of M models, (M(M-1)/2, n), each variance drawn towards what all have in common.

    Variances are taken for draws from a scaled inverse chi-square distribution, fitted by the moments of their
    logarithms; each then has the degrees of freedom of that prior beside its own n-1 (Smyth 2004, "Linear models and
    empirical Bayes methods", sections 6.2 and 3), but not more than all have together: M-1 differences are independent,
    the others sums of them. Where fewer than two variances differ from 0, they stay as they are.
    """
    n, own_freedom = differences.shape[-1], freedom(differences)
    variances = np.maximum(deviation(differences) ** 2, least)
    known = (variances > 0) & np.isfinite(variances)
    if known.sum() < 2:
        return corrected(differences, num_folds, least)
    num_independent = (np.sqrt(8 * len(differences) + 1) - 1) / 2
    prior_variance, prior_freedom = fit_prior(variances[known], own_freedom)
    if np.isinf(prior_freedom):
        pooled = np.full_like(variances, prior_variance)
    else:
        pooled = (prior_freedom * prior_variance + own_freedom * variances) / (prior_freedom + own_freedom)
    total_freedom = min(prior_freedom + own_freedom, num_independent * own_freedom)
    return Mean(differences.mean(axis=-1), np.sqrt(pooled * sharing(n, num_folds)), total_freedom)


def fit_prior(variances: np.ndarray, freedom: int) -> tuple[float, float]:
    """Variance and degrees of freedom of the prior of sample variances (G,), none 0 (Smyth 2004, section 6.2)."""
    logs = np.log(variances) - special.digamma(freedom / 2) + np.log(freedom / 2)
    excess = logs.var(ddof=1) - special.polygamma(1, freedom / 2)
    if excess <= 0:  # they differ no more than chance has it
        return float(np.exp(logs.mean())), np.inf
    half = optimize.brentq(lambda log_x: special.polygamma(1, np.exp(log_x)) - excess, -20, 40)
    prior = float(np.exp(half))
    return float(np.exp(logs.mean() + special.digamma(prior) - np.log(prior))), 2 * prior


ESTIMATES = {"own": corrected, "moderated": moderated}
"""How the variance of a difference is estimated: from its own folds, or with those of all differences."""


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p-values (n,) for n tests, step down (Holm 1979): the chance of any false rejection stays below alpha."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p, dtype=float)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def effect_size(differences: np.ndarray) -> np.ndarray:
    """Cohen's d over the last axis: the mean in standard deviations between folds; 0 for a mean of 0."""
    mean = differences.mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(mean == 0, 0.0, mean / deviation(differences))


def detectable_effect(freedom: float, alpha: float) -> float:
    """The smallest mean, in its standard errors, that a two-sided test finds with probability 0.8.

    The test's t follows a noncentral t distribution, as far as the correction makes it right.
    """
    critical = stats.t.ppf(1 - alpha / 2, freedom)
    if np.isinf(freedom):
        return float(critical + stats.norm.ppf(POWER))

    def lacking(noncentrality: float) -> float:
        return stats.nct.sf(critical, freedom, noncentrality) - POWER

    return float(optimize.brentq(lacking, 0, 2 * critical + 10))


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> tuple[int, int, float]:
    """Exact McNemar test of whether two classifiers are right equally often, from what each gets right, (N,) bool.

    It knows only these trained networks: how much retraining would change is not in it.

    Returns:
        How many only a gets right, how many only b, and the two-sided p.
    """
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    p = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return only_a, only_b, float(p)


def image_test(differences: np.ndarray) -> tuple[float, float, float]:
    """Test and interval of a mean difference over images, (N,) differences of how often each of two is right.

    Both know only these trained networks: how much retraining would change is not in them. The p is that of flipping
    the signs of the differences at random, by the normal approximation; with one judgement an image it is McNemar's
    without continuity correction. The interval is that of Bayle et al. 2020 ("Cross-validation confidence intervals
    for test error"), which holds for the mean over folds as well.

    Returns:
        Two-sided p, and both ends of the 95% interval.
    """
    total, size = differences.sum(), np.sqrt((differences**2).sum())
    p = 2 * stats.norm.sf(abs(total) / size) if size else 1.0
    margin = stats.norm.ppf((1 + CONFIDENCE) / 2) * differences.std() / np.sqrt(len(differences))
    return float(p), float(differences.mean() - margin), float(differences.mean() + margin)


def training_share(differences: np.ndarray, fold: np.ndarray) -> float:
    """The share of the variance of differences between folds that images drawn for each fold do not explain.

    What images explain is the variance of a mean over the images of a fold; the rest comes from training: initial
    weights, order of batches, and which images were trained on.

    Args:
        differences: (T,) of every held-out image.
        fold: (T,) in which it was, 0, 1 and so on.

    Returns:
        From 0 to 1; nan where folds do not differ, or hold one image, or are one.
    """
    counts, means = np.bincount(fold), group_means(differences, fold, fold.max() + 1)
    within = np.bincount(fold, weights=(differences - means[fold]) ** 2)
    between = deviation(means) ** 2
    if counts.min() < 2 or between == 0 or np.isinf(between):
        return float("nan")
    return float(np.clip(1 - (within / (counts - 1) / counts).mean() / between, 0, 1))


def wilson(right: float, count: int) -> tuple[float, float]:
    """95% interval of a share `right` (a fraction) of `count` independent images (Wilson 1927)."""
    interval = stats.binomtest(round(right * count), count).proportion_ci(CONFIDENCE, "wilson")
    return float(interval.low), float(interval.high)


def group_means(values: np.ndarray, groups: np.ndarray, num_groups: int) -> np.ndarray:
    """Means of values (N,) over the rows of each group, given as (N,) integers; (num_groups,), nan for an empty one."""
    counts = np.bincount(groups, minlength=num_groups)
    with np.errstate(invalid="ignore"):
        return np.bincount(groups, weights=values, minlength=num_groups) / counts


def clustered_interval(group_differences: np.ndarray) -> tuple[float, float]:
    """Two-sided 95% interval of a mean difference (G,) over groups, a sample of all such groups; nan below 2."""
    if len(group_differences) < 2:
        return float("nan"), float("nan")
    margin = stats.t.ppf((1 + CONFIDENCE) / 2, len(group_differences) - 1) * standard_error(group_differences)
    mean = group_differences.mean()
    return float(mean - margin), float(mean + margin)
