"""Folds by the specification."""

import numpy as np
import pytest

from cifar100x.data.folds import k_folds, repeated_k_folds
from cifar100x.errors import UserError

LABELS = np.repeat(np.arange(100), 500)


def test_the_paper_s_folds():
    """RandomState(42) permutes once, contiguous fifths; written out independently of k_folds."""
    permutation = np.random.RandomState(42).permutation(50_000)
    folds = k_folds(LABELS, 5, 42)
    assert [len(fold) for fold in folds] == [10_000] * 5
    np.testing.assert_array_equal(folds[2], permutation[20_000:30_000])


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize(("num_folds", "limit"), [(5, None), (3, 1000), (7, 52)])
def test_disjoint_and_complete(num_folds, limit, stratified):
    folds = k_folds(LABELS, num_folds, 1, limit, stratified)
    expected = np.random.RandomState(1).permutation(50_000)[:limit]
    assert len(folds) == num_folds
    assert sorted(np.concatenate(folds)) == sorted(expected)
    assert max(map(len, folds)) - min(map(len, folds)) <= 1


def test_stratified_folds_keep_the_order_of_the_permutation():
    """Else batches that are not reshuffled would hold one class each."""
    place = np.argsort(np.random.RandomState(42).permutation(50_000))
    for fold in k_folds(LABELS, 5, 42, stratified=True):
        assert (np.diff(place[fold]) > 0).all()


def test_stratified_folds_share_every_class():
    counts = np.array([np.bincount(LABELS[fold], minlength=100) for fold in k_folds(LABELS, 5, 42, stratified=True)])
    assert (counts == 100).all()
    plain = np.array([np.bincount(LABELS[fold], minlength=100) for fold in k_folds(LABELS, 5, 42)])
    assert (plain != 100).any()


@pytest.mark.parametrize(("num_folds", "limit"), [(1, None), (5, 4), (5, 50_001)])
def test_impossible_folds(num_folds, limit):
    with pytest.raises(UserError, match="expected"):
        k_folds(LABELS, num_folds, 42, limit)


def test_repetitions_are_permutations_of_the_seeds_that_follow():
    folds = repeated_k_folds(LABELS, num=2, repeats=2, seed=5, stratified=False)
    for repetition in range(2):
        expected = np.random.RandomState(5 + repetition).permutation(50_000)
        np.testing.assert_array_equal(np.concatenate(folds[2 * repetition : 2 * repetition + 2]), expected)


def test_each_fold_comes_again_for_every_seed_before_the_next_cut():
    options = {"num": 3, "repeats": 2, "seed": 5, "stratified": False, "limit": 30}
    once, twice = (repeated_k_folds(LABELS, seeds=seeds, **options) for seeds in (1, 2))
    assert len(twice) == 12
    for fold, of_once in enumerate((0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5)):
        np.testing.assert_array_equal(twice[fold], once[of_once])
    with pytest.raises(UserError, match=r"folds.seeds is 0, expected at least 1"):
        repeated_k_folds(LABELS, seeds=0, **options)
