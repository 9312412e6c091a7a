"""Everything that the finished runs of a study say about its models, computed once for tables, figures and report."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar100x.data.classes import Classes
from cifar100x.errors import UserError
from cifar100x.runs.result import Eliminated, Result, images_of_a_fold
from cifar100x.runs.terms import Terms
from cifar100x.verdict import statistics
from cifar100x.verdict.calibration import Calibration, calibrate, pool
from cifar100x.verdict.comparability import controls, decisions, same_network
from cifar100x.verdict.early_stopping import EarlyStopping, early_stopping
from cifar100x.verdict.pairs import Judged, Outcome, Pair, num_tests, pairs_of


@dataclass(frozen=True)
class LeftBehind:
    """An eliminated model, beside the chosen one on the folds that both have; all but counts are fractions.

    Attributes:
        model: name.
        folds: how many both have.
        accuracy: its mean on them.
        lead: of the chosen one, on them.
        ci_low: of the corrected 95% interval of the lead, this pair alone and with its own variance.
        ci_high: the same.
        after: how many folds it was eliminated.
        leader: who had the highest mean accuracy then.
        behind: how far it was behind that.
        chance: that it would have overtaken the leader by the last fold.
    """

    model: str
    folds: int
    accuracy: float
    lead: float
    ci_low: float
    ci_high: float
    after: int
    leader: str
    behind: float
    chance: float


@dataclass(frozen=True)
class Comparison:
    """What is known of M models on n held-out folds. Accuracies are fractions; matrices (M, M) are row minus column.

    A fold that was trained under several seeds counts as their mean. Predictions are those of all repetitions and
    seeds, one after the other: T in all.
    """

    models: list[str]
    results: list[list[Result]]  # of each model, in order of fold, seed after seed
    terms: Terms
    looks: int  # on how many numbers of folds the verdict has been taken
    late: bool  # whether the terms were put on record when there were results already
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
    eliminated: list[LeftBehind]  # models that a race did not train on all folds: they are in nothing else here
    index: np.ndarray  # (T,) held-out images
    labels: np.ndarray  # (T,)
    predicted: np.ndarray  # (M, T)
    confidences: np.ndarray  # (M, T) of the predicted class
    classes: Classes
    decisions: dict[str, list[str]]  # what the models differ in besides their networks
    controls: list[tuple[int, int]]  # models that are one candidate under two seeds
    superclass_accuracies: np.ndarray  # (M, superclasses)
    calibrations: list[Calibration]
    early_stopping: list[EarlyStopping]

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of one run, for what all have in common."""
        return self.results[0][0].metrics

    @property
    def in_common(self) -> list[str]:
        """What all models were trained with, as far as one line can say it."""
        said = []
        for name in ("reading", "recipe", "epochs"):
            found = {results[0].metrics.get(name) for results in self.results}
            said += [f"{name} {found.pop()}"] if len(found) == 1 and found != {None} else []
        if self.accuracies.shape[1] < self.num_folds:
            said.append(f"{self.accuracies.shape[1]} of {self.num_folds} folds")
        if self.num_seeds > 1:
            said.append(f"{self.num_seeds} seeds a fold")
        return [*said, f"data {self.metrics['data']['name']}"]

    @property
    def num_seeds(self) -> int:
        """How often each fold was trained."""
        return len(self.results[0]) // self.accuracies.shape[1]

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

    def survives(self, winner: int, loser: int) -> bool | None:
        """Whether `winner` is better than `loser` also after correction for shared data and for the number of tests.

        None if the two are not tested.
        """
        p = self.pair(winner, loser).p_holm
        return None if p is None else p < self.terms.alpha and bool(self.differences[winner, loser] > 0)

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

    @property
    def num_tests(self) -> int:
        """How many tests the verdict is corrected for: those with models that a race has eliminated, too."""
        return num_tests(len(self.models) + len(self.eliminated), self.terms)

    def parted_in(self, a: int, b: int) -> list[str]:
        """The decisions in which two models differ besides their networks."""
        return list(decisions({self.models[i]: self.results[i] for i in (a, b)}))

    def same_network(self, a: int, b: int) -> bool:
        """Whether two models are one network, trained in two ways."""
        return same_network(self.results[a][0].config, self.results[b][0].config)

    def confusion(self, model: int) -> np.ndarray:
        """Counts of held-out images (C, C), true classes down, predicted ones across; each image once a repetition."""
        return confusion_counts(self.labels, self.predicted[model], len(self.classes))


def confusion_counts(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """How many images (N,) of each class are taken for which, (C, C): true classes down, predicted ones across."""
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def compare_results(
    results: Mapping[str, Sequence[Result]],
    terms: Terms,
    looks: int = 1,
    late: bool = False,
    eliminated: Mapping[str, Eliminated] | None = None,
) -> Comparison:
    """Compare the results of several models, each on the same folds in the same order.

    Args:
        results: of every model, by its name.
        terms: how they are judged.
        looks: on how many numbers of folds the verdict has been taken, this one among them.
        late: whether the terms were put on record when there were results already.
        eliminated: models that a race did not train on all of these folds.

    Raises:
        UserError: the baseline is none of them.
    """
    models, eliminated = list(results), eliminated or {}
    refuse_unknown_baseline(terms, models)
    num_folds = results[models[0]][0].metrics["folds"]
    fold = _fold_numbers(results[models[0]])
    accuracies = _by_fold(results, "accuracy", fold)
    least = statistics.of_counting(images_of_a_fold(results[models[0]], accuracies.shape[1]), num_accuracies=1)
    low, high = (_share(end) for end in statistics.corrected(accuracies, num_folds, least).interval())
    differences = statistics.fold_differences(accuracies)
    bounds = statistics.paper_bound(differences)
    winners = statistics.row_winners(bounds)
    chosen = statistics.choose(winners, accuracies.mean(axis=1))

    pooled = [pool(of_model, num_folds) for of_model in results.values()]
    labels = pooled[0].labels
    predicted = np.array([p.logits.argmax(axis=1) for p in pooled])
    classes = results[models[0]][0].classes
    superclass_accuracies = np.array([_by_superclass(of_model == labels, labels, classes) for of_model in predicted])
    judged = Judged(pooled[0].index, fold[pooled[0].fold], predicted == labels, superclass_accuracies)
    return Comparison(
        models=models,
        results=[list(of_model) for of_model in results.values()],
        terms=terms,
        looks=looks,
        late=late,
        num_folds=num_folds,
        accuracies=accuracies,
        accuracy_low=low,
        accuracy_high=high,
        cross_entropies=_by_fold(results, "cross_entropy", fold),
        differences=differences.mean(axis=-1),
        bounds=bounds,
        winners=winners,
        chosen=chosen,
        pairs=pairs_of(models, accuracies, num_folds, terms, judged, len(eliminated)),
        eliminated=[_left_behind(name, e, results[models[chosen]], num_folds) for name, e in eliminated.items()],
        index=pooled[0].index,
        labels=labels,
        predicted=predicted,
        confidences=np.array([p.probabilities.max(axis=1) for p in pooled]),
        classes=classes,
        decisions=decisions(results),
        controls=controls(results),
        superclass_accuracies=superclass_accuracies,
        calibrations=[calibrate(p) for p in pooled],
        early_stopping=[early_stopping(model, results[model], fold, num_folds) for model in models],
    )


def num_distinct_folds(results: Sequence[Result]) -> int:
    """On how many folds a model is compared: one that was trained under several seeds is one."""
    return int(_fold_numbers(results).max()) + 1


def _fold_numbers(results: Sequence[Result]) -> np.ndarray:
    """Which fold each run held out, (runs,), counted through: one that was trained under several seeds is one."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(result.predictions.index.tobytes(), len(numbers)) for result in results])


def _by_fold(results: Mapping[str, Sequence[Result]], metric: str, fold: np.ndarray) -> np.ndarray:
    """What M models reached on n held-out folds, (M, n): the mean over seeds."""
    reached = ([result.metrics["val"][metric] for result in of_model] for of_model in results.values())
    return np.array([statistics.group_means(np.array(runs), fold, int(fold.max()) + 1) for runs in reached])


def _share(ends: np.ndarray) -> np.ndarray:
    """Ends of intervals of shares, none of which is below 0 or above 1; those of one fold stay infinite."""
    return np.where(np.isfinite(ends), ends.clip(0, 1), ends)


def _left_behind(model: str, eliminated: Eliminated, chosen: Sequence[Result], num_folds: int) -> LeftBehind:
    """An eliminated model beside the chosen one."""
    of_both = {"its": eliminated.results, "chosen": chosen}
    shared = set.intersection(*({result.config["fold"] for result in results} for results in of_both.values()))
    of_both = {name: [r for r in results if r.config["fold"] in shared] for name, results in of_both.items()}
    its, of_chosen = _by_fold(of_both, "accuracy", _fold_numbers(of_both["its"]))
    least = statistics.of_counting(images_of_a_fold(of_both["its"], len(its)))
    lead = statistics.corrected(of_chosen - its, num_folds, least)
    low, high = lead.interval()
    return LeftBehind(
        model=model,
        folds=len(its),
        accuracy=float(its.mean()),
        lead=float(lead.mean),
        ci_low=float(low),
        ci_high=float(high),
        after=eliminated.after,
        leader=eliminated.leader,
        behind=eliminated.behind,
        chance=eliminated.chance,
    )


def refuse_unknown_baseline(terms: Terms, models: Collection[str]) -> None:
    """Raise UserError if the baseline is none of the models that have results."""
    if terms.baseline is not None and terms.baseline not in models:
        raise UserError(
            f"the study's baseline is {terms.baseline}, of which there are no results; there are {', '.join(models)}: "
            "train it first"
        )


def _by_superclass(correct: np.ndarray, labels: np.ndarray, classes: Classes) -> np.ndarray:
    if not classes.superclasses:
        return np.empty(0)
    superclass = np.array(classes.superclass_of)[labels]
    return statistics.group_means(correct.astype(float), superclass, len(classes.superclasses))
