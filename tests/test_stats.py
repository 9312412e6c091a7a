"""The statistics against scipy's own tests, the paper's printed numbers, and a simulation."""

import numpy as np
import pytest
from scipy import stats as reference

from cifar100x import stats

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
    ratio = stats.corrected_standard_error(ACCURACIES[0]) / stats.standard_error(ACCURACIES[0])
    assert ratio**2 == pytest.approx(2.25)


def test_corrected_interval():
    low, high = stats.corrected_interval(ACCURACIES)
    margin = reference.t.ppf(0.975, 4) * ACCURACIES.std(axis=1, ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    np.testing.assert_allclose(high - low, 2 * margin)
    np.testing.assert_allclose((high + low) / 2, ACCURACIES.mean(axis=1))


def test_one_fold_has_no_standard_error():
    with pytest.raises(ValueError, match="at least 2 folds, got 1"):
        stats.standard_error(np.array([0.1]))
