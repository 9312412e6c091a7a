"""Everything that the finished runs of a study say about its models, computed once for tables, figures and report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar100x.data.classes import Classes
from cifar100x.errors import UserError
from cifar100x.runs.result import Result
from cifar100x.runs.terms import Terms
from cifar100x.verdict import statistics
from cifar100x.verdict.calibration import Calibration, calibrate, pool
from cifar100x.verdict.comparability import controls, decisions, parted_in
from cifar100x.verdict.pairs import Judged, Outcome, Pair, pairs_of


@dataclass(frozen=True)
class Comparison:
    """What is known of M models on n held-out folds. Accuracies are fractions; matrices (M, M) are row minus column.

    Predictions are those of all repetitions, one after the other: T in all.
    """

    models: list[str]
    results: list[list[Result]]  # of each model, in order of fold
    terms: Terms
    looks: int  # on how many numbers of repetitions the verdict has been taken
    num_folds: int  # of a repetition
    accuracies: np.ndarray  # (M, n)
    accuracy_low: np.ndarray  # (M,) corrected 95% interval of the mean
    accuracy_high: np.ndarray
    cross_entropies: np.ndarray  # (M, n)
    differences: np.ndarray  # (M, M) mean over the folds: the paper's Table II
    bounds: np.ndarray  # (M, M) the paper's equation 3
    winners: np.ndarray  # (M,) which model beats the row's by the paper's rule
    chosen: int
    pairs: list[Pair]
    index: np.ndarray  # (T,) held-out images
    labels: np.ndarray  # (T,)
    predicted: np.ndarray  # (M, T)
    confidences: np.ndarray  # (M, T) of the predicted class
    classes: Classes
    decisions: dict[str, list[str]]  # what the models differ in besides their networks
    controls: list[tuple[int, int]]  # models that are one candidate under two seeds
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
        p = self.pair(winner, loser).p_holm
        return p is not None and p < self.terms.alpha and bool(self.differences[winner, loser] > 0)

    def others(self, outcome: Outcome) -> list[str]:
        """The models of which the verdict says this beside the chosen one, which stands for a."""
        chosen = self.models[self.chosen]
        turned = {Outcome.A_BETTER: Outcome.B_BETTER, Outcome.B_BETTER: Outcome.A_BETTER}
        found = []
        for p in self.pairs:
            if p.model_a == chosen and p.outcome == outcome:
                found.append(p.model_b)
            if p.model_b == chosen and p.outcome == turned.get(outcome, outcome):
                found.append(p.model_a)
        return found

    @property
    def unbeaten(self) -> list[str]:
        """The models that none is better than, as far as pairs were tested."""
        worse = {p.model_b if p.outcome == Outcome.A_BETTER else p.model_a for p in self.pairs if p.better}
        return [model for model in self.models if model not in worse]

    @property
    def num_tested(self) -> int:
        """How many pairs the verdict takes."""
        return sum(p.outcome != Outcome.NOT_TESTED for p in self.pairs)

    def parted_in(self, a: int, b: int) -> list[str]:
        """The decisions in which two models differ besides their networks."""
        return parted_in(self.decisions, a, b)

    def confusion(self, model: int) -> np.ndarray:
        """Counts of held-out images (C, C), true classes down, predicted ones across; each image once a repetition."""
        return confusion_counts(self.labels, self.predicted[model], len(self.classes))


def confusion_counts(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """How many images (N,) of each class are taken for which, (C, C): true classes down, predicted ones across."""
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def compare_results(results: Mapping[str, Sequence[Result]], terms: Terms, looks: int = 1) -> Comparison:
    """Compare the results of several models, each on the same folds in the same order.

    Args:
        results: of every model, by its name.
        terms: how they are judged.
        looks: on how many numbers of repetitions the verdict has been taken, this one among them.

    Raises:
        UserError: the baseline is none of them.
    """
    models = list(results)
    _refuse_unknown_baseline(terms.baseline, models)
    num_folds = results[models[0]][0].metrics["folds"]
    val = [[result.metrics["val"] for result in of_model] for of_model in results.values()]
    accuracies = np.array([[v["accuracy"] for v in of_model] for of_model in val])
    low, high = statistics.corrected(accuracies, num_folds).interval()
    by_fold = statistics.fold_differences(accuracies)
    bounds = statistics.paper_bound(by_fold)
    winners = statistics.row_winners(bounds)

    pooled = [pool(of_model, num_folds) for of_model in results.values()]
    labels = pooled[0].labels
    predicted = np.array([p.logits.argmax(axis=1) for p in pooled])
    classes = results[models[0]][0].classes
    superclass_accuracies = np.array([_by_superclass(of_model == labels, labels, classes) for of_model in predicted])
    judged = Judged(pooled[0].index, pooled[0].fold, predicted == labels, superclass_accuracies)
    return Comparison(
        models=models,
        results=[list(of_model) for of_model in results.values()],
        terms=terms,
        looks=looks,
        num_folds=num_folds,
        accuracies=accuracies,
        accuracy_low=low,
        accuracy_high=high,
        cross_entropies=np.array([[v["cross_entropy"] for v in of_model] for of_model in val]),
        differences=by_fold.mean(axis=-1),
        bounds=bounds,
        winners=winners,
        chosen=statistics.choose(winners, accuracies.mean(axis=1)),
        pairs=pairs_of(models, accuracies, num_folds, terms, judged),
        index=pooled[0].index,
        labels=labels,
        predicted=predicted,
        confidences=np.array([p.probabilities.max(axis=1) for p in pooled]),
        classes=classes,
        decisions=decisions(results),
        controls=controls(results),
        superclass_accuracies=superclass_accuracies,
        calibrations=[calibrate(p) for p in pooled],
    )


def _refuse_unknown_baseline(baseline: str | None, models: Sequence[str]) -> None:
    if baseline is not None and baseline not in models:
        raise UserError(
            f"the study's baseline is {baseline}, of which there are no results; there are {', '.join(models)}: "
            "train it first"
        )


def _by_superclass(correct: np.ndarray, labels: np.ndarray, classes: Classes) -> np.ndarray:
    if not classes.superclasses:
        return np.empty(0)
    superclass = np.array(classes.superclass_of)[labels]
    return statistics.group_means(correct.astype(float), superclass, len(classes.superclasses))
