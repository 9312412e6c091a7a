"""Who leaves a race, and whether the chances that it goes by are right."""

import numpy as np
import pytest

from cifar100x.verdict.racing import eliminations
from cifar100x.verdict.simulation import equal_models
from cifar100x.verdict.statistics import of_counting


def test_who_is_left_far_behind_goes_after_the_second_fold_and_the_others_stay():
    accuracies = np.array([[0.40, 0.41, 0.40], [0.39, 0.42, np.nan], [0.10, 0.11, np.nan]])
    (gone,) = eliminations(accuracies, 0.05)
    assert (gone.candidate, gone.folds, gone.leader) == (2, 2, 0)
    assert gone.behind == pytest.approx(0.3)
    assert 0 < gone.chance < 0.05


def test_chances_by_hand():
    """Two candidates: differences .02 and .04 on two folds of five; t = .03 sqrt(5 2 / 3) / .01414 on one degree."""
    (gone,) = eliminations(np.array([[0.5, 0.5, 0, 0, 0], [0.48, 0.46, 0, 0, 0]]), 0.9)
    t = 0.03 * np.sqrt(10 / 3) / np.std([0.02, 0.04], ddof=1)
    assert gone.chance == pytest.approx(0.5 - np.arctan(t) / np.pi), "the tail of Cauchy's distribution"


def test_nobody_goes_for_want_of_folds_or_by_name():
    accuracies = np.array([[0.40, 0.41, 0.40], [0.10, 0.11, 0.12]])
    assert eliminations(accuracies[:, :2], 0.05) == [], "the second fold is the last"
    assert eliminations(accuracies, 0.05, staying=[1]) == []
    assert eliminations(np.where([[0, 0, 0], [0, 1, 0]], np.nan, accuracies), 0.05) == [], "a run has failed"
    assert [gone.candidate for gone in eliminations(accuracies, 0.05)] == [1]


def test_equal_candidates_without_spread_stay():
    assert eliminations(np.full((3, 4), 0.5), 0.4) == []


def test_equally_many_images_apart_is_no_certainty():
    """One image of a hundred in both folds: less spread than rounding to whole images is not believed."""
    accuracies = np.full((2, 5), np.nan)
    accuracies[:, :2] = [[0.50, 0.52], [0.49, 0.51]]
    assert [gone.chance for gone in eliminations(accuracies, 0.05)] == [pytest.approx(0, abs=1e-9)]
    assert eliminations(accuracies, 0.05, least=of_counting(100, num_accuracies=1)) == []


@pytest.mark.parametrize("num_images", [20, 100])
def test_equal_candidates_of_few_images_are_missed_no_oftener_than_accepted(num_images):
    """Accuracies are whole images; strictly first is who leaves no tie."""
    studies = np.random.default_rng(0).binomial(num_images, 0.5, (4_000, 2, 5)) / num_images
    least = of_counting(num_images, num_accuracies=1)
    missed = 0
    for study in studies:
        means = study.mean(axis=1)
        missed += any(means[e.candidate] > means.max() - 1e-9 for e in eliminations(study, 0.01, least=least)) and (
            abs(means[0] - means[1]) > 1e-9
        )
    assert missed / len(studies) <= 0.01


@pytest.mark.parametrize("level", [0.05, 0.4])
def test_the_chances_of_all_who_have_gone_come_to_no_more_than_accepted(level):
    studies = equal_models(np.random.default_rng(0), (500, 6, 5), 1 / 5) + np.linspace(0, 3, 6)[:, None]
    gone = [eliminations(study, level) for study in studies]
    assert max(map(len, gone)) > 2
    assert max(sum(e.chance for e in of_study) for of_study in gone) <= level


@pytest.mark.parametrize("correlation", [0, 1 / 5])
def test_chances_are_as_frequent_as_they_say(correlation):
    """In studies that end in a tie, the chance of who is behind at the second fold is uniform from 0 to 1/2."""
    studies = equal_models(np.random.default_rng(0), (20_000, 2, 5), correlation)
    studies -= studies.mean(axis=2, keepdims=True)
    studies[:, :, 2:] = np.nan  # later looks say nothing of this one
    chances = np.array([gone.chance for study in studies for gone in eliminations(study, 0.9) if gone.folds == 2])
    for chance in (0.01, 0.05, 0.2):
        assert (chances < chance).sum() / 20_000 == pytest.approx(2 * chance, abs=4 * np.sqrt(2 * chance / 20_000))


@pytest.mark.parametrize("means", [np.zeros(6), np.linspace(0, 3, 6)])
def test_whom_the_full_study_puts_first_is_missed_no_oftener_than_accepted(means):
    studies = equal_models(np.random.default_rng(0), (1000, 6, 5), 1 / 5) + means[:, None]
    missed = [study.mean(axis=1).argmax() in [gone.candidate for gone in eliminations(study, 0.2)] for study in studies]
    assert 0.01 < np.mean(missed) <= 0.2
