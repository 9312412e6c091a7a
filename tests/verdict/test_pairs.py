"""Pairs of models: all repetitions count, and what is said of a pair follows from its tests."""

from itertools import combinations

import baycomp
import numpy as np
import pytest
from scipy import stats

from cifar100x.runs.terms import Terms
from cifar100x.verdict import simulation, statistics
from cifar100x.verdict.pairs import Judged, Outcome, pairs_of

NUM_IMAGES, NUM_FOLDS = 200, 5


def judged(skills, seed=0, repetitions=1, num_images=NUM_IMAGES):
    """Models that are right about each image with a probability, by repetition; accuracies by fold beside them."""
    generator = np.random.default_rng(seed)
    correct, index = [], []
    for repetition in range(repetitions):
        index.append(np.arange(num_images))
        correct.append(generator.random((len(skills), num_images)) < np.array(skills)[:, repetition, None])
    folds = [part.reshape(len(skills), NUM_FOLDS, -1).mean(-1) for part in correct]
    fold = np.repeat(np.arange(repetitions * NUM_FOLDS), num_images // NUM_FOLDS)
    what = Judged(np.concatenate(index), fold, np.concatenate(correct, axis=1), np.empty((len(skills), 0)))
    return np.concatenate(folds, axis=1), what


def test_every_repetition_counts():
    """In the second b is far better: the first alone would say that a is right more often."""
    accuracies, what = judged([[0.5, 0.3], [0.45, 0.6]], repetitions=2)
    (pair,) = pairs_of(["a", "b"], accuracies, NUM_FOLDS, Terms(), what)
    first = what.correct[:, :NUM_IMAGES]
    assert (first[0] & ~first[1]).sum() > (first[1] & ~first[0]).sum()
    assert pair.difference < 0
    assert (pair.only_a - pair.only_b) / NUM_IMAGES == pytest.approx(pair.difference)
    by_image = (what.correct[0].astype(float) - what.correct[1]).reshape(2, NUM_IMAGES).mean(0)
    assert (pair.mcnemar_p, pair.image_low, pair.image_high) == pytest.approx(statistics.image_test(by_image))


def test_images_of_which_only_some_were_held_out_twice():
    """As data.limit and folds.repeats have it: no image is judged as two by a test that takes them for independent."""
    generator = np.random.default_rng(0)
    index = np.concatenate([np.arange(100), np.arange(90, 190)])
    correct = generator.random((2, 200)) < [[0.5], [0.3]]
    what = Judged(index, np.repeat([0, 1, 2, 3], 50), correct, np.empty((2, 0)))
    (pair,) = pairs_of(["a", "b"], correct.reshape(2, 4, 50).mean(-1), 2, Terms(), what)
    by_image = np.array([(correct[0].astype(float) - correct[1])[index == image].mean() for image in range(190)])
    assert (pair.mcnemar_p, pair.image_low, pair.image_high) == pytest.approx(statistics.image_test(by_image))
    assert pair.only_a - pair.only_b == pytest.approx(by_image.sum())


def test_what_stands_beside_the_outcome_of_a_pair():
    """Of two folds and three superclasses, against other libraries and definitions."""
    accuracies = np.array([[0.50, 0.52], [0.41, 0.44], [0.49, 0.51]])
    generator = np.random.default_rng(0)
    index, fold = np.arange(200), np.repeat([0, 1], 100)
    superclasses = np.array([[0.5, 0.6, 0.7], [0.3, 0.5, 0.45], [0.5, 0.61, 0.69]])
    what = Judged(index, fold, generator.random((3, 200)) < 0.5, superclasses)
    a_b, a_c, _ = pairs_of(["a", "b", "c"], accuracies, 2, Terms(), what)
    right, left = (baycomp.two_on_single(accuracies[i], accuracies[1 - i], rope=0.01, runs=1) for i in (0, 1))
    assert (a_b.prob_a, a_b.prob_same, a_b.prob_b) == pytest.approx((right[0], right[1], right[2]))
    assert a_b.prob_b == pytest.approx(left[0])
    difference = accuracies[0] - accuracies[1]
    assert a_b.effect_size == pytest.approx(difference.mean() / difference.std(ddof=1))
    over = superclasses[0] - superclasses[1]
    interval = stats.t.interval(0.95, 2, over.mean(), stats.sem(over))
    assert (a_b.superclass_low, a_b.superclass_high) == pytest.approx(interval)
    error = np.sqrt(2 / 12) / 100 * np.sqrt(1 / 2 + 1)  # a and c are one image apart in both folds
    assert a_c.p == pytest.approx(2 * stats.t.sf(0.01 / error, 1))


def test_the_share_of_training_is_that_of_what_is_compared():
    """Four seeds a fold: training makes a quarter of the variance of their means that it makes of one's."""
    generator = np.random.default_rng(0)
    index = np.tile(np.arange(5000), 4)
    fold = index // 1000
    by_run = generator.normal(0.5, 0.06, (4, 5)).clip(0.2, 0.8).repeat(1000)  # in the order of seeds
    correct = np.stack([generator.random(20_000) < by_run, generator.random(20_000) < 0.5])
    accuracies = np.array([[c[fold == k].mean() for k in range(5)] for c in correct])
    (pair,) = pairs_of(["a", "b"], accuracies, 5, Terms(), Judged(index, fold, correct, np.empty((2, 0))))
    difference = (correct[0].astype(float) - correct[1]).reshape(4, 5, 1000).mean(axis=0)
    of_images = difference.var(axis=1, ddof=1).mean() / 1000
    assert pair.training_share == pytest.approx(1 - of_images / difference.mean(axis=1).var(ddof=1))
    assert pair.only_a == pytest.approx((correct[0] & ~correct[1]).sum() / 4)


OUTCOMES = {
    "far apart": ([0.3, 0.3, 0.3, 0.3, 0.3], [0.1, 0.12, 0.1, 0.08, 0.1], Outcome.A_BETTER),
    "far apart the other way": ([0.1, 0.1, 0.1, 0.1, 0.1], [0.3, 0.32, 0.3, 0.28, 0.3], Outcome.B_BETTER),
    "the same": ([0.3, 0.3, 0.3, 0.3, 0.3], [0.301, 0.299, 0.3, 0.302, 0.298], Outcome.EQUIVALENT),
    "better by next to nothing": ([0.305] * 5, [0.302, 0.301, 0.302, 0.303, 0.302], Outcome.EQUIVALENT),
    "noisy": ([0.3, 0.4, 0.2, 0.35, 0.3], [0.2, 0.2, 0.3, 0.2, 0.4], Outcome.UNDECIDED),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_outcomes(case):
    a, b, outcome = OUTCOMES[case]
    _, what = judged([[0.5], [0.5]], num_images=50_000)
    (pair,) = pairs_of(["a", "b"], np.array([a, b]), NUM_FOLDS, Terms(), what)
    assert pair.outcome == outcome
    assert pair.better == {Outcome.A_BETTER: "a", Outcome.B_BETTER: "b"}.get(outcome)
    inside = pair.equivalence_low > -0.01 and pair.equivalence_high < 0.01
    assert inside == (outcome == Outcome.EQUIVALENT)
    assert inside == (pair.p_equivalent < 0.05)


def test_a_race_makes_no_difference_significant():
    """Of three candidates one was eliminated: the pair that is left stays one of three, the others not rejected."""
    accuracies, what = judged([[0.5], [0.3]])
    (pair,) = pairs_of(["a", "b"], accuracies, NUM_FOLDS, Terms(), what, num_eliminated=1)
    assert pair.p_holm == pytest.approx(min(1, 3 * pair.p))
    (against_a,) = pairs_of(["a", "b"], accuracies, NUM_FOLDS, Terms(baseline="a"), what, num_eliminated=1)
    assert against_a.p_holm == pytest.approx(min(1, 2 * pair.p))
    assert against_a.detectable < against_a.detectable_holm < pair.detectable_holm


def test_a_baseline_leaves_fewer_tests():
    accuracies, what = judged([[0.3]] * 5)
    names = list("abcde")
    tested = [p for p in pairs_of(names, accuracies, NUM_FOLDS, Terms(baseline="c"), what) if p.p_holm is not None]
    assert [(p.model_a, p.model_b) for p in tested] == [pair for pair in combinations(names, 2) if "c" in pair]
    np.testing.assert_allclose([p.p_holm for p in tested], statistics.holm(np.array([p.p for p in tested])))
    of_all = pairs_of(names, accuracies, NUM_FOLDS, Terms(), what)
    assert tested[0].detectable_holm < next(p for p in of_all if p.model_b == "c").detectable_holm
    assert tested[0].detectable == pytest.approx(next(p for p in of_all if p.model_b == "c").detectable)


def test_several_looks_share_the_level():
    """A pair whose p lies between a third of 5% and 5%."""
    a, b = [0.3, 0.32, 0.3, 0.34, 0.3], [0.25, 0.25, 0.27, 0.26, 0.27]
    _, what = judged([[0.5], [0.5]])
    once, thrice = (pairs_of(["a", "b"], np.array([a, b]), NUM_FOLDS, Terms(looks=n), what)[0] for n in (1, 3))
    assert 0.05 / 3 < once.p < 0.05
    assert (once.outcome, thrice.outcome) == (Outcome.A_BETTER, Outcome.UNDECIDED)


def test_moderated_variances_decide_where_they_were_agreed_on():
    accuracies, what = judged([[0.3]] * 5)
    own, moderated = (
        pairs_of(list("abcde"), accuracies, NUM_FOLDS, Terms(variances=v), what) for v in ("own", "moderated")
    )
    for plain, shared in zip(own, moderated, strict=True):
        assert (plain.p_holm, shared.p_holm) == (plain.p_own_holm, plain.p_moderated_holm)
        assert (shared.p_own_holm, shared.p_moderated_holm) == (plain.p_own_holm, plain.p_moderated_holm)


def test_the_paper_s_rule_names_winners_among_equals():
    """Far more often than 5%, with two models about as often as twice its level, with eight nearly always."""
    rates = [
        simulation.false_winners(simulation.paper_names_a_winner, models, 5, correlation)
        for models, correlation in ((2, 0.0), (8, 0.0), (8, 0.2))
    ]
    assert rates[0] == pytest.approx(0.10, abs=0.025), "5% in each direction"
    assert 0.7 < rates[1] < rates[2] < 1


@pytest.mark.parametrize(("num_models", "num_folds"), [(8, 5), (3, 5), (3, 3), (3, 2)])
@pytest.mark.parametrize("variances", ["own", "moderated"])
def test_the_verdict_names_few(variances, num_models, num_folds):
    """Equal models, folds correlated by 1/K: the chance of any false winner among all pairs."""

    def names_one(accuracies: np.ndarray) -> bool:
        a, b = np.triu_indices(len(accuracies), 1)
        found = statistics.ESTIMATES[variances](accuracies[a] - accuracies[b], num_folds)
        return bool((statistics.holm(found.p) < 0.05).any())

    assert simulation.false_winners(names_one, num_models, num_folds, 1 / num_folds) < 0.065


@pytest.mark.parametrize("variances", ["own", "moderated"])
def test_two_folds_that_differ_by_as_many_images_say_little(variances):
    """Equal models are often so: by 1,000 images a fold some pair of eight is in one of three studies."""
    generator, false = np.random.default_rng(0), 0
    a, b = np.triu_indices(8, 1)
    for _ in range(200):
        accuracies = generator.binomial(1000, 0.4, (8, 2)) / 1000
        differences, least = accuracies[a] - accuracies[b], statistics.of_counting(1000)
        false += (statistics.holm(statistics.ESTIMATES[variances](differences, 2, least).p) < 0.05).any()
    assert false < 0.06 * 200
