"""Everything that the finished runs of a study say about its models, computed once for tables, figures and report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from cifar100x.data.classes import Classes
from cifar100x.runs.result import Result
from cifar100x.verdict import statistics
from cifar100x.verdict.calibration import Calibration, calibrate, pool
from cifar100x.verdict.comparability import decisions, parted_in


@dataclass(frozen=True)
class Pair:
    """Two models compared; differences are accuracy of a minus accuracy of b, fractions.

    t, p and the interval are those of the corrected test; the paper's bound is that of a minus b. `superclass_low` and
    `superclass_high` bound the difference over superclasses taken as a sample of all superclasses; nan without any.
    """

    model_a: str
    model_b: str
    difference: float
    paper_bound: float
    t: float
    p: float
    ci_low: float
    ci_high: float
    p_holm: float
    prob_a: float
    prob_same: float
    prob_b: float
    mcnemar_p: float
    only_a: int
    only_b: int
    effect_size: float
    superclass_low: float
    superclass_high: float


@dataclass(frozen=True)
class Comparison:
    """What is known of M models on n held-out folds. Accuracies are fractions; matrices (M, M) are row minus column."""

    models: list[str]
    results: list[list[Result]]  # of each model, in order of fold
    num_folds: int
    accuracies: np.ndarray  # (M, n)
    accuracy_low: np.ndarray  # (M,) corrected 95% interval of the mean
    accuracy_high: np.ndarray
    cross_entropies: np.ndarray  # (M, n)
    differences: np.ndarray  # (M, M) mean over the folds: the paper's Table II
    bounds: np.ndarray  # (M, M) the paper's equation 3
    winners: np.ndarray  # (M,) which model beats the row's by the paper's rule
    chosen: int
    pairs: list[Pair]
    rope: float
    detectable: float  # the smallest difference of accuracy that this design finds 4 times in 5
    index: np.ndarray  # (N,) held-out images of the first repetition, ascending
    labels: np.ndarray  # (N,)
    predicted: np.ndarray  # (M, N)
    confidences: np.ndarray  # (M, N) of the predicted class
    classes: Classes
    decisions: dict[str, list[str]]  # what the models differ in besides their networks
    superclass_accuracies: np.ndarray  # (M, superclasses)
    calibrations: list[Calibration]

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of one run, for what all have in common."""
        return self.results[0][0].metrics

    @property
    def in_common(self) -> list[str]:
        """What all models were trained with, as far as one line can say it."""
        said = []
        for name, words in (("reading", "reading {}"), ("epochs", "{} epochs")):
            found = {results[0].metrics[name] for results in self.results}
            said += [words.format(*found)] if len(found) == 1 and found != {None} else []
        return [*said, f"data {self.metrics['data']['name']}"]

    def parameters(self, model: int) -> int:
        """Number of parameters of a model."""
        return self.results[model][0].metrics["parameters"]

    @property
    def operations(self) -> np.ndarray | None:
        """Operations that the training of one fold of each model took, (M,); None where runs did not count them."""
        found = [[result.metrics.get("training_operations") for result in results] for results in self.results]
        return None if any(None in of_model for of_model in found) else np.array(found, float).mean(axis=1)

    def pair(self, a: int, b: int) -> Pair:
        """The comparison of two models, in the order of the pairs."""
        a, b = sorted((a, b))
        return next(p for p in self.pairs if (p.model_a, p.model_b) == (self.models[a], self.models[b]))

    def survives(self, winner: int, loser: int) -> bool:
        """Whether `winner` is better than `loser` also after correction for shared data and for the number of tests."""
        pair = self.pair(winner, loser)
        return pair.p_holm < 0.05 and bool(self.differences[winner, loser] > 0)

    def parted_in(self, a: int, b: int) -> list[str]:
        """The decisions in which two models differ besides their networks."""
        return parted_in(self.decisions, a, b)

    def confusion(self, model: int) -> np.ndarray:
        """Counts of held-out images (C, C), true classes down, predicted ones across."""
        counts = np.zeros((len(self.classes), len(self.classes)), int)
        np.add.at(counts, (self.labels, self.predicted[model]), 1)
        return counts


def compare_results(results: Mapping[str, Sequence[Result]], rope: float) -> Comparison:
    """Compare the results of several models, each on the same folds in the same order.

    Args:
        results: of every model, by its name.
        rope: differences of accuracy up to this, a fraction, count as none.
    """
    models = list(results)
    num_folds = results[models[0]][0].metrics["folds"]
    val = [[result.metrics["val"] for result in of_model] for of_model in results.values()]
    accuracies = np.array([[v["accuracy"] for v in of_model] for of_model in val])
    low, high = statistics.corrected_interval(accuracies, num_folds)
    by_fold = statistics.fold_differences(accuracies)
    bounds = statistics.paper_bound(by_fold)
    winners = statistics.row_winners(bounds)

    pooled = [pool(of_model[:num_folds]) for of_model in results.values()]
    index, labels = pooled[0].index, pooled[0].labels
    predicted = np.array([p.logits.argmax(axis=1) for p in pooled])
    classes = results[models[0]][0].classes
    superclass_accuracies = np.array([_by_superclass(of_model == labels, labels, classes) for of_model in predicted])
    spread = np.median([by_fold[a, b].std(ddof=1) for a, b in combinations(range(len(models)), 2)] or [0.0])
    return Comparison(
        models=models,
        results=[list(of_model) for of_model in results.values()],
        num_folds=num_folds,
        accuracies=accuracies,
        accuracy_low=low,
        accuracy_high=high,
        cross_entropies=np.array([[v["cross_entropy"] for v in of_model] for of_model in val]),
        differences=by_fold.mean(axis=-1),
        bounds=bounds,
        winners=winners,
        chosen=statistics.choose(winners, accuracies.mean(axis=1)),
        pairs=_pairs(models, by_fold, bounds, num_folds, rope, predicted == labels, superclass_accuracies),
        rope=rope,
        detectable=float(spread) * statistics.detectable_effect(accuracies.shape[1], num_folds),
        index=index,
        labels=labels,
        predicted=predicted,
        confidences=np.array([p.probabilities.max(axis=1) for p in pooled]),
        classes=classes,
        decisions=decisions(results),
        superclass_accuracies=superclass_accuracies,
        calibrations=[calibrate(p) for p in pooled],
    )


def _by_superclass(correct: np.ndarray, labels: np.ndarray, classes: Classes) -> np.ndarray:
    if not classes.superclasses:
        return np.empty(0)
    superclass = np.array(classes.superclass_of)[labels]
    return statistics.group_means(correct.astype(float), superclass, len(classes.superclasses))


def _pairs(
    models: list[str],
    by_fold: np.ndarray,
    bounds: np.ndarray,
    num_folds: int,
    rope: float,
    correct: np.ndarray,
    superclass_accuracies: np.ndarray,
) -> list[Pair]:
    places = list(combinations(range(len(models)), 2))
    if not places:
        return []
    differences = np.array([by_fold[a, b] for a, b in places])
    t, p = statistics.corrected_t_test(differences, num_folds)
    low, high = statistics.corrected_interval(differences, num_folds)
    p_holm = statistics.holm(p)
    prob_a, prob_same, prob_b = statistics.bayesian_t_test(differences, num_folds, rope)
    effects = statistics.effect_size(differences)
    pairs = []
    for i, (a, b) in enumerate(places):
        only_a, only_b, mcnemar_p = statistics.mcnemar(correct[a], correct[b])
        by_superclass = superclass_accuracies[a] - superclass_accuracies[b]
        superclass_low, superclass_high = statistics.clustered_interval(by_superclass[~np.isnan(by_superclass)])
        pairs.append(
            Pair(
                model_a=models[a],
                model_b=models[b],
                difference=float(differences[i].mean()),
                paper_bound=float(bounds[a, b]),
                t=float(t[i]),
                p=float(p[i]),
                ci_low=float(low[i]),
                ci_high=float(high[i]),
                p_holm=float(p_holm[i]),
                prob_a=float(prob_a[i]),
                prob_same=float(prob_same[i]),
                prob_b=float(prob_b[i]),
                mcnemar_p=mcnemar_p,
                only_a=only_a,
                only_b=only_b,
                effect_size=float(effects[i]),
                superclass_low=superclass_low,
                superclass_high=superclass_high,
            )
        )
    return pairs
