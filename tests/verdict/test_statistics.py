"""The statistics against scipy's own tests, the paper's printed numbers, and a simulation."""

import baycomp
import numpy as np
import pytest
import torch
from scipy import special
from scipy import stats as reference
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_calibration_error

from cifar100x.verdict import calibration
from cifar100x.verdict import statistics as stats

ACCURACIES = np.random.default_rng(0).uniform(0.2, 0.5, (4, 5))

TABLE_1 = np.array([35.07, 39.29, 41.28, 36.33, 40.81, 41.94, 29.21, 20.38]) / 100
"""Accuracies of the paper's Table I."""
TABLE_2_FIRST_ROW = [0.0, -0.0422, -0.0621, -0.0126, -0.0574, -0.0687, 0.0586, 0.1470]


def test_standard_error_and_bound_equal_scipy():
    """Equation 3 is the upper end of scipy's one-sided 95% interval, which is the upper end of its two-sided 90%."""
    differences = stats.fold_differences(ACCURACIES)
    bound = stats.paper_bound(differences)
    for i, j in [(0, 1), (3, 2), (1, 0)]:
        test = reference.ttest_rel(ACCURACIES[i], ACCURACIES[j])
        assert stats.standard_error(differences)[i, j] == pytest.approx(reference.sem(ACCURACIES[i] - ACCURACIES[j]))
        assert bound[i, j] == pytest.approx(test.confidence_interval(0.90).high)


def test_t_of_the_paper():
    """For 5 folds the paper uses 2.132."""
    differences = np.array([0.01, 0.02, 0.03, 0.05, 0.02])
    t = (stats.paper_bound(differences) - differences.mean()) / stats.standard_error(differences)
    assert t == pytest.approx(2.132, abs=5e-4)


def test_zero_variance():
    differences = np.full(5, 0.01)
    assert stats.paper_bound(differences) == pytest.approx(0.01)


def test_the_paper_s_table_2_is_differences_of_its_table_1():
    differences = stats.fold_differences(np.repeat(TABLE_1[:, None], 5, axis=1)).mean(-1)
    np.testing.assert_allclose(differences[0], TABLE_2_FIRST_ROW, atol=1.01e-4)


def test_the_paper_s_row_rule_names_its_winner():
    differences = stats.fold_differences(np.repeat(TABLE_1[:, None], 5, axis=1))
    winners = stats.row_winners(stats.paper_bound(differences))
    assert winners.tolist() == [5] * 8
    assert stats.choose(winners, TABLE_1) == 5


def test_ties():
    bounds = np.array([[0.0, 0.0, 0.1], [0.0, 0.0, 0.1], [-0.1, -0.1, 0.0]])
    assert stats.row_winners(bounds).tolist() == [0, 1, 0]
    assert stats.choose(np.array([0, 1, 2]), np.array([0.3, 0.5, 0.5])) == 1


def test_corrected_variance_grows_by_two_and_a_quarter():
    """Nadeau and Bengio for one 5-fold cross-validation: (1/5 + 1/4) / (1/5)."""
    ratio = stats.corrected(ACCURACIES[0], 5).error / stats.standard_error(ACCURACIES[0])
    assert ratio**2 == pytest.approx(2.25)


def test_corrected_interval():
    low, high = stats.corrected(ACCURACIES, 5).interval()
    margin = reference.t.ppf(0.975, 4) * ACCURACIES.std(axis=1, ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    np.testing.assert_allclose(high - low, 2 * margin)
    np.testing.assert_allclose((high + low) / 2, ACCURACIES.mean(axis=1))


@pytest.mark.parametrize("estimate", stats.ESTIMATES.values())
def test_one_fold_says_nothing_of_others(estimate):
    found = estimate(np.array([[0.1], [-0.2]]), 5)
    np.testing.assert_array_equal(found.interval(), [[-np.inf] * 2, [np.inf] * 2])
    np.testing.assert_array_equal(found.p, [1, 1])
    np.testing.assert_array_equal(stats.paper_bound(np.array([[0.1]])), [np.inf])


# --- Against independent oracles -------------------------------------------------------------------------------------


def test_the_example_of_scikit_learn():
    """Its page `plot_grid_search_stats` compares two SVMs over 10 x 10 folds: t = .75031, one-sided p = .22742."""
    x, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    cv = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=k, random_state=0), x, y, cv=cv, scoring="roc_auc") for k in ("rbf", "linear")
    )
    found = stats.corrected(rbf - linear, num_folds=10)
    assert found.t == pytest.approx(0.75031, abs=5e-6)
    assert found.p / 2 == pytest.approx(0.22742, abs=5e-6)


@pytest.mark.parametrize("num_repeats", [1, 3])
def test_baycomp(num_repeats):
    """baycomp takes the second score minus the first, and names its probabilities left to right."""
    generator = np.random.default_rng(0)
    a, b = generator.normal(0.4, 0.02, (2, 5 * num_repeats))
    expected = baycomp.two_on_single(b, a, rope=0.01, runs=num_repeats)
    below, within, above = expected
    assert stats.corrected(a - b, 5).probabilities(0.01) == pytest.approx((above, within, below))


def test_statsmodels_holm():
    p = np.random.default_rng(0).uniform(0, 0.2, 28) ** 2
    np.testing.assert_allclose(stats.holm(p), multipletests(p, method="holm")[1])
    np.testing.assert_allclose(stats.holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])  # by hand


def test_statsmodels_mcnemar():
    generator = np.random.default_rng(0)
    a, b = generator.random(500) < 0.5, generator.random(500) < 0.4
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    only_a, only_b, p = stats.mcnemar(a, b)
    assert (only_a, only_b) == (table[0][1], table[1][0])
    assert p == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)
    assert stats.mcnemar(a, a) == (0, 0, 1.0)


def test_statsmodels_power():
    """Without shared training data (infinitely many folds to share it) this is the power of a plain t-test."""
    expected = TTestPower().solve_power(nobs=10, alpha=0.05, power=0.8)
    assert stats.detectable_effect(9, 0.05) / np.sqrt(10) == pytest.approx(expected, rel=1e-4)
    assert stats.detectable_effect(np.inf, 0.05) == pytest.approx(stats.detectable_effect(1e6, 0.05), rel=1e-3)


def test_statsmodels_equivalence():
    """Two one-sided tests of one sample, folds taken for independent: only the factor of the correction is ours."""
    differences = np.random.default_rng(1).normal(0.004, 0.01, 8)
    plain = stats.Mean(differences.mean(), stats.standard_error(differences), 7)
    expected = DescrStatsW(differences).ttost_mean(-0.01, 0.01)[0]
    assert plain.p_equivalent(0.01) == pytest.approx(expected)
    low, high = plain.interval(0.9)
    assert (expected < 0.05) == (low > -0.01 and high < 0.01)


def test_statsmodels_wilson():
    assert stats.wilson(0.31, 200) == pytest.approx(proportion_confint(62, 200, method="wilson"))


def test_images_flip_signs():
    """Against a permutation test of scipy, and McNemar's statistic without continuity correction of statsmodels."""
    generator = np.random.default_rng(0)
    a, b = generator.random(800) < 0.5, generator.random(800) < 0.45
    p, low, high = stats.image_test(a.astype(float) - b)
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    assert p == pytest.approx(statsmodels_mcnemar(table, exact=False, correction=False).pvalue)
    assert (low, high) == pytest.approx(DescrStatsW(a.astype(float) - b).zconfint_mean(), abs=1e-4)
    twice = (a.astype(float) - b + np.roll(a, 1) - np.roll(b, 1)) / 2
    flipped = reference.permutation_test(
        (twice, np.zeros(800)), lambda x, y: x.mean() - y.mean(), permutation_type="samples", n_resamples=4000, rng=0
    )
    assert stats.image_test(twice)[0] == pytest.approx(flipped.pvalue, abs=0.02)


def test_moderated_variances_find_the_prior_they_were_drawn_from():
    """Variances drawn as Smyth 2004 has them, section 6.1: the prior is found, and their errors shrink towards it."""
    generator = np.random.default_rng(0)
    true = 0.02**2 * 6 / generator.chisquare(6, 4000)
    differences = np.sqrt(true)[:, None] * generator.standard_normal((4000, 5))
    variance, freedom = stats.fit_prior(differences.var(axis=1, ddof=1), 4)
    assert variance == pytest.approx(0.02**2, rel=0.05)
    assert freedom == pytest.approx(6, rel=0.15)
    own, shared = stats.corrected(differences, 5), stats.moderated(differences, 5)
    scale = np.sqrt(stats.sharing(5, 5))
    assert np.abs(shared.error / scale - np.sqrt(true)).mean() < 0.8 * np.abs(own.error / scale - np.sqrt(true)).mean()
    assert shared.freedom == pytest.approx(4 + freedom)
    equal = stats.moderated(0.02 * generator.standard_normal((50, 5)), 5)
    assert equal.freedom > 20, "equal variances lend each other nearly all their freedom"


def test_torchmetrics_calibration_error():
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(1000, 10)) * 3, generator.integers(0, 10, 1000)
    probabilities = special.softmax(logits, axis=1)
    confidences, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    expected = multiclass_calibration_error(torch.from_numpy(probabilities), torch.from_numpy(labels), 10, n_bins=15)
    assert calibration.expected_calibration_error(confidences, correct) == pytest.approx(float(expected), rel=1e-6)
    assert calibration.reliability(confidences, correct)[:, 0].sum() == 1000


def test_temperature_undoes_over_confidence():
    """Labels drawn from softmax(logits): logits five times as large need a temperature of five."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20_000, 5))
    labels = (special.softmax(logits, axis=1).cumsum(axis=1) < generator.random((20_000, 1))).sum(axis=1)
    assert calibration.fit_temperature(5 * logits, labels) == pytest.approx(5, rel=0.03)
    expected = cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    assert calibration.cross_entropy(logits, labels) == pytest.approx(expected)


def test_clustered_interval_equals_scipy():
    differences = np.random.default_rng(0).normal(size=20)
    expected = reference.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert stats.clustered_interval(differences) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("from_training", [0.0, 0.5, 0.9])
def test_the_share_of_training_is_found(from_training):
    """Against its definition: images of variance 1 in folds of 400, and effects of folds that are drawn beside them."""
    generator = np.random.default_rng(0)
    fold = np.repeat(np.arange(2000), 400)
    effects = generator.normal(0, np.sqrt(from_training / (1 - from_training) / 400), 2000)
    share = stats.training_share(generator.normal(size=len(fold)) + effects[fold], fold)
    assert share == pytest.approx(from_training, abs=0.05)


def test_group_means():
    means = stats.group_means(np.array([1.0, 2, 3, 4]), np.array([2, 0, 2, 0]), 4)
    np.testing.assert_array_equal(means, [3, np.nan, 2, np.nan])


# --- Cases of their own ----------------------------------------------------------------------------------------------


def test_differences_without_variance():
    same, better = np.zeros(5), np.full(5, 0.25)
    none, some, negative = (stats.corrected(differences, 5) for differences in (same, better, -better))
    assert (none.t, none.p) == (0, 1)
    assert (some.t, some.p) == (np.inf, 0)
    assert none.probabilities(0.01) == (0, 1, 0)
    assert some.probabilities(0.01) == (1, 0, 0)
    assert negative.probabilities(0.01) == (0, 0, 1)
    assert (none.p_equivalent(0.01), some.p_equivalent(0.01)) == (0, 1)
    assert stats.effect_size(same) == 0


def test_rejection_rates_under_a_true_null():
    """Two 1-nearest-neighbour classifiers on features of the same distribution: neither is better, by symmetry.

    The paper's rule says that one beats the other more often than its 5% a direction; the corrected test rejects (both
    directions together) about as often as it says.
    """
    generator = np.random.default_rng(0)
    differences = np.array([_two_equal_classifiers(generator) for _ in range(1000)])
    paper = np.mean([(stats.paper_bound(side) < 0).mean() for side in (differences, -differences)])
    corrected = (stats.corrected(differences, 5).p < 0.05).mean()
    print(f"paper's rule {paper:.3f} a direction, corrected test {corrected:.3f}")
    assert corrected < 0.07
    assert paper > 0.06


def _two_equal_classifiers(generator, num_images=60, num_features=2, num_folds=5) -> np.ndarray:
    """Differences of accuracy by fold, each classifier seeing half of the features."""
    labels = generator.integers(0, 2, num_images)
    features = generator.normal(size=(num_images, num_features)) + 0.3 * labels[:, None]
    differences = np.empty(num_folds)
    for k, held_out in enumerate(np.array_split(generator.permutation(num_images), num_folds)):
        training = np.setdiff1d(np.arange(num_images), held_out)
        accuracies = []
        for half in (slice(0, num_features // 2), slice(num_features // 2, num_features)):
            distances = ((features[held_out, None, half] - features[None, training, half]) ** 2).sum(axis=-1)
            accuracies.append((labels[training][distances.argmin(axis=1)] == labels[held_out]).mean())
        differences[k] = accuracies[0] - accuracies[1]
    return differences
