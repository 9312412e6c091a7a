"""Every pair of models, and what a study says of it."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from cifar100x.runs.terms import Terms
from cifar100x.verdict import statistics


class Outcome(StrEnum):
    """What a study says of two models."""

    A_BETTER = "a better"
    B_BETTER = "b better"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"
    NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Pair:
    """Two models compared; differences are accuracy of a minus accuracy of b, fractions.

    Attributes:
        model_a: name.
        model_b: name.
        difference: mean over the folds.
        paper_bound: the paper's upper bound of a minus b.
        t: of the corrected test.
        p: of the corrected test, two-sided, for this pair alone.
        ci_low: of its 95% interval.
        ci_high: of its 95% interval.
        p_holm: p after Holm's adjustment for all pairs that are tested; None for one that is not.
        p_own_holm: the same with the variance of its own folds.
        p_moderated_holm: the same with variances moderated over all pairs.
        training_share: of the variance between folds, what images drawn for each fold do not explain; None where folds
            do not differ.
        prob_a: posterior probability that a is better by more than the region of practical equivalence.
        prob_same: that they are equivalent.
        prob_b: that b is better.
        mcnemar_p: of the images as a sample, these trained networks as given.
        only_a: images that only a gets right; the mean over repetitions.
        only_b: the same of b.
        effect_size: the difference in standard deviations between folds.
        superclass_low: of a 95% interval over superclasses taken as a sample; nan without any.
        superclass_high: the same.
        outcome: see `Outcome`; *better* by `p_holm`, *equivalent* by `p_equivalent_holm`.
        equivalence_low: of the interval of two one-sided tests, of 90% if the verdict is taken once.
        equivalence_high: the same.
        p_equivalent: of two one-sided tests, for this pair alone.
        p_equivalent_holm: after Holm's adjustment; None for a pair that is not tested.
        detectable: the difference that this pair's test alone would find four times in five.
        detectable_holm: that it would find as the first of all pairs in Holm's order.
        image_low: of the 95% interval over images, these trained networks as given.
        image_high: the same.
    """

    model_a: str
    model_b: str
    difference: float
    paper_bound: float
    t: float
    p: float
    ci_low: float
    ci_high: float
    p_holm: float | None
    prob_a: float
    prob_same: float
    prob_b: float
    mcnemar_p: float
    only_a: float
    only_b: float
    effect_size: float
    superclass_low: float
    superclass_high: float
    outcome: Outcome
    equivalence_low: float
    equivalence_high: float
    p_equivalent: float
    p_equivalent_holm: float | None
    detectable: float
    detectable_holm: float
    image_low: float
    image_high: float
    p_own_holm: float | None
    p_moderated_holm: float | None
    training_share: float | None

    @property
    def better(self) -> str | None:
        """The model that is better, if one is."""
        return {Outcome.A_BETTER: self.model_a, Outcome.B_BETTER: self.model_b}.get(self.outcome)


@dataclass(frozen=True)
class Judged:
    """What M models got right, over all repetitions and seeds, T predictions in all.

    Attributes:
        index: (T,) images, each once a repetition and seed.
        fold: (T,) in which each was held out, counted through; one that was trained under several seeds is one.
        correct: (M, T).
        superclass_accuracies: (M, superclasses).
    """

    index: np.ndarray
    fold: np.ndarray
    correct: np.ndarray
    superclass_accuracies: np.ndarray


def pairs_of(
    models: list[str], accuracies: np.ndarray, num_folds: int, terms: Terms, judged: Judged, num_eliminated: int = 0
) -> list[Pair]:
    """Compare every model with every other.

    Args:
        models: M names.
        accuracies: (M, n) on every fold.
        num_folds: K, of a repetition.
        terms: how they are judged.
        judged: what they got right.
        num_eliminated: models that were to be compared as well; a race that does without them makes no test stronger.
    """
    places = list(combinations(range(len(models)), 2))
    if not places:
        return []
    differences = np.array([accuracies[a] - accuracies[b] for a, b in places])
    tested = np.array([terms.baseline in (None, models[a], models[b]) for a, b in places])
    num_images = len(judged.index) / accuracies.shape[1]  # a fold
    columns = _columns(
        differences, num_folds, num_images, terms, tested, num_tests(len(models) + num_eliminated, terms)
    )
    image = np.unique(judged.index, return_inverse=True)[1]
    times = int(np.bincount(image).max())  # that an image was held out, at most
    return [
        Pair(
            model_a=models[a],
            model_b=models[b],
            **{name: _plain(values[i]) for name, values in columns.items()},
            **_by_image(image, times, judged.correct[a], judged.correct[b]),
            training_share=_training_share(image, judged.fold, judged.correct[a].astype(float) - judged.correct[b]),
            **_over_superclasses(judged.superclass_accuracies[a] - judged.superclass_accuracies[b]),
        )
        for i, (a, b) in enumerate(places)
    ]


def num_tests(num_models: int, terms: Terms) -> int:
    """How many comparisons of so many models are agreed on: all, or those with the baseline."""
    return num_models - 1 if terms.baseline else comb(num_models, 2)


def _columns(
    differences: np.ndarray, num_folds: int, num_images: float, terms: Terms, tested: np.ndarray, of_tests: int
) -> dict[str, Any]:
    """What folds alone say of P pairs, by the names of `Pair`.

    Args:
        differences: (P, n).
        num_folds: K.
        num_images: that are held out in a fold.
        terms: how they are judged.
        tested: (P,) which are.
        of_tests: how many tests these are among.
    """
    least = statistics.of_counting(num_images)
    estimates = {name: estimate(differences, num_folds, least) for name, estimate in statistics.ESTIMATES.items()}
    estimate = estimates[terms.variances]
    p_holm = {name: _holm(of.p, tested, of_tests) for name, of in estimates.items()}
    p_same = estimate.p_equivalent(terms.rope)
    p_same_holm = _holm(p_same, tested, of_tests)
    of_pairs = zip(estimate.mean, p_holm[terms.variances], p_same_holm, strict=True)
    to_find = [statistics.detectable_effect(estimate.freedom, alpha) for alpha in (terms.alpha, terms.alpha / of_tests)]
    return {
        "difference": estimate.mean,
        "paper_bound": statistics.paper_bound(differences),
        "t": estimate.t,
        "p": estimate.p,
        **dict(zip(("ci_low", "ci_high"), estimate.interval(), strict=True)),
        "p_holm": p_holm[terms.variances],
        **dict(zip(("prob_a", "prob_same", "prob_b"), estimate.probabilities(terms.rope), strict=True)),
        "effect_size": statistics.effect_size(differences),
        "outcome": [_outcome(*of_pair, terms.alpha) for of_pair in of_pairs],
        **dict(zip(("equivalence_low", "equivalence_high"), estimate.interval(1 - 2 * terms.alpha), strict=True)),
        "p_equivalent": p_same,
        "p_equivalent_holm": p_same_holm,
        "detectable": estimate.error * to_find[0],
        "detectable_holm": estimate.error * to_find[1],
        "p_own_holm": p_holm["own"],
        "p_moderated_holm": p_holm["moderated"],
    }


def _holm(p: np.ndarray, tested: np.ndarray, of_tests: int) -> np.ndarray:
    """Adjusted for so many tests, of which some are not taken; nan for pairs that are not tested."""
    adjusted, num_tested = np.full(len(p), np.nan), int(tested.sum())
    adjusted[tested] = statistics.holm(np.append(p[tested], np.ones(of_tests - num_tested)))[:num_tested]
    return adjusted


def _plain(value: Any) -> Any:
    """A number as Python has it, None for one that there is not, an outcome as it is."""
    return value if isinstance(value, Outcome) else None if np.isnan(value) else float(value)


def _outcome(difference: float, p_better: float, p_equivalent: float, alpha: float) -> Outcome:
    """What is said of a pair: a difference that is surely negligible is called so even if it is surely not 0."""
    if np.isnan(p_better):
        return Outcome.NOT_TESTED
    if p_equivalent < alpha:
        return Outcome.EQUIVALENT
    if p_better < alpha:
        return Outcome.A_BETTER if difference > 0 else Outcome.B_BETTER
    return Outcome.UNDECIDED


def _training_share(image: np.ndarray, fold: np.ndarray, difference: np.ndarray) -> float | None:
    """Of what is compared: of an image that was held out under several seeds, the mean over them; all (T,)."""
    cells, cell = np.unique(fold * (image.max() + 1) + image, return_inverse=True)
    of_cell = statistics.group_means(difference, cell, len(cells))
    return _plain(statistics.training_share(of_cell, cells // (image.max() + 1)))


def _by_image(image: np.ndarray, times: int, correct_a: np.ndarray, correct_b: np.ndarray) -> dict[str, Any]:
    """What the images, numbered (T,), each at most so often, say of two models, these trained networks as given."""
    only_a, only_b, exact_p = statistics.mcnemar(correct_a, correct_b)
    of_a, of_b = (
        statistics.group_means(only.astype(float), image, image.max() + 1)
        for only in (correct_a & ~correct_b, correct_b & ~correct_a)
    )
    p, low, high = statistics.image_test(of_a - of_b)
    return {
        "only_a": only_a if times == 1 else float(of_a.sum()),
        "only_b": only_b if times == 1 else float(of_b.sum()),
        "mcnemar_p": exact_p if times == 1 else p,
        "image_low": low,
        "image_high": high,
    }


def _over_superclasses(differences: np.ndarray) -> dict[str, Any]:
    low, high = statistics.clustered_interval(differences[~np.isnan(differences)])
    return {"superclass_low": low, "superclass_high": high}
