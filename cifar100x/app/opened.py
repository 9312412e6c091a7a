"""A study from Python: its tables as records, its verdict, its networks."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cifar100x.app.arguments import nearest
from cifar100x.app.parts import make_net, trusting
from cifar100x.data.classes import Classes
from cifar100x.data.store import IMAGE_SHAPE
from cifar100x.errors import UserError
from cifar100x.report import tables, words
from cifar100x.runs.finished import eliminated, finished_results
from cifar100x.runs.networks import classifiers, load_network, vote
from cifar100x.runs.result import Eliminated, Result
from cifar100x.runs.study import Study
from cifar100x.runs.terms import Terms
from cifar100x.verdict import statistics
from cifar100x.verdict.comparability import refuse_void
from cifar100x.verdict.comparison import Comparison, compare_results

METRICS = ("accuracy", "cross_entropy")
Records = list[dict[str, Any]]
"""Rows of a table by the names of its columns, as pandas.DataFrame and polars.DataFrame take them."""


class Network:
    """Trained networks, ready for use; several vote with the mean of their probabilities.

    Args:
        nets: that take images uint8 (N, 3, 32, 32).
        classes: what their outputs mean.
    """

    def __init__(self, nets: Sequence[nn.Module], classes: Classes):
        self.nets, self.classes = nets, classes

    @property
    def names(self) -> list[str]:
        """Of the classes, in the order of the probabilities."""
        return list(self.classes.names)

    def __call__(self, images: npt.ArrayLike) -> np.ndarray:
        """Probabilities (N, num_classes) of images uint8 (N, 3, 32, 32), red, green and blue; an array, or a tensor.

        Raises:
            UserError: images of another shape or type.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != IMAGE_SHAPE:
            raise UserError(f"images are {images.dtype} {images.shape}, expected uint8 (N, 3, 32, 32)")
        return vote(self.nets, torch.from_numpy(np.ascontiguousarray(images))).numpy()


class OpenedStudy:
    """The results of a study. Accuracies are fractions, cross-entropies nats.

    Args:
        path: of its folder.
        trust: packages whose networks may be made.
        folds: how many of the first repetition are compared; all there are by default.

    Raises:
        UserError: there is no such study.
    """

    def __init__(self, path: Path, trust: Sequence[str] = (), folds: int | None = None):
        self.study, self.trust, self.folds = Study(path), trust, folds
        self.study.must_exist()

    @cached_property
    def comparison(self) -> Comparison:
        """Everything that its finished runs say, by the terms that are on record.

        Raises:
            UserError: it is incomplete, or its candidates cannot be compared.
        """
        results, eliminated = results_of(self.study, self.folds)
        agreement = self.study.agreement
        looks = agreement.num_looks(len(next(iter(results.values()))))
        return compare_results(results, agreement.terms or Terms(), looks, agreement.is_late, eliminated)

    @property
    def candidates(self) -> list[str]:
        """Names of the candidates that were trained on all folds."""
        return self.comparison.models

    @cached_property
    def tables(self) -> dict[str, Records]:
        """The tables of its report by the names of their files, and four more.

        `folds` has a row for each candidate and run, `history` one for each of their epochs, `superclasses` the
        accuracy of each candidate on each superclass, `confusions` how often each takes one class for another.
        """
        of_report = tables.tables_of(self.comparison).items()
        named = {name: [dict(zip(rows[0], row, strict=True)) for row in rows[1:]] for name, rows in of_report}
        return named | self._tables_of_runs | self._tables_of_classes

    @property
    def _tables_of_runs(self) -> dict[str, Records]:
        c = self.comparison
        runs = [(model, result) for model, of_model in zip(c.models, c.results, strict=True) for result in of_model]
        folds = [
            {
                "model": model,
                "fold": result.metrics["fold"],
                **{f"{stage}_{name}": result.metrics[stage][name] for stage in ("train", "val") for name in METRICS},
                "train_seconds": result.metrics["train_seconds"],
            }
            for model, result in runs
        ]
        history = [
            {"model": model, "fold": result.metrics["fold"], **row} for model, result in runs for row in result.history
        ]
        return {"folds": folds, "history": history}

    @property
    def _tables_of_classes(self) -> dict[str, Records]:
        c = self.comparison
        names = c.classes.names
        superclasses = [
            {"model": model, "superclass": superclass, "accuracy": float(accuracy)}
            for model, of_model in zip(c.models, c.superclass_accuracies, strict=True)
            for superclass, accuracy in zip(c.classes.superclasses, of_model, strict=True)
        ]
        confusions = [
            {"model": model, "true": names[true], "predicted": names[predicted], "count": int(count)}
            for i, model in enumerate(c.models)
            for (true, predicted), count in np.ndenumerate(c.confusion(i))
            if count and true != predicted
        ]
        return {"superclasses": superclasses, "confusions": confusions}

    @property
    def pairs(self) -> Records:
        """Every pair of candidates and what is said of it; see `cifar100x.verdict.pairs.Pair`."""
        return self.tables["pairs"]

    @property
    def verdict(self) -> dict[str, Any]:
        """What verdict.json says, and the `answer` in sentences."""
        return tables.verdict(self.comparison) | {"answer": words.answer(self.comparison)}

    def power(self, repetitions: int) -> float:
        """The difference that the test of one pair finds four times in five, in standard deviations between folds.

        Args:
            repetitions: of the cross-validation, with other folds.

        Raises:
            UserError: fewer than one.
        """
        if repetitions < 1:
            raise UserError(f"repetitions is {repetitions}, expected at least 1")
        num_folds = self.comparison.num_folds
        n = repetitions * num_folds
        in_errors = statistics.detectable_effect(n - 1, self.comparison.terms.alpha)
        return in_errors * float(np.sqrt(statistics.sharing(n, num_folds)))

    def network(self, candidate: str | None = None, fold: int | None = None) -> Network:
        """A network of the study, ready for use.

        Args:
            candidate: whose folds vote; by default it is the final network, trained on all images.
            fold: the network of this one alone.

        Raises:
            UserError: there is none, or a fold of none, or it names what is not trusted.
        """
        if candidate is None and fold is not None:
            raise UserError(f"fold={fold} of which candidate? The final network was trained on all images")
        names = sorted({run.path.parent.name for run in self.study.all_runs()})
        if candidate is not None and candidate not in names:
            raise UserError(nearest(f"{self.study.path} has no candidate {candidate!r}", candidate, names))
        if candidate is None:
            runs = [self.study.final]
        elif fold is None:
            runs = classifiers(self.study.path / candidate)
        else:
            runs = [self.study.run(candidate, fold)]
        make = trusting(make_net, self.trust)
        return Network([load_network(run, make) for run in runs], runs[0].classes)


def results_of(study: Study, folds: int | None = None) -> tuple[dict[str, list[Result]], dict[str, Eliminated]]:
    """What the candidates of a study left, and those that a race has eliminated; on so many folds, or all there are.

    Raises:
        UserError: it is incomplete, or they cannot be compared.
    """
    results = finished_results(study, folds)
    dropped = eliminated(study, results.keys())
    refuse_void(results | {name: candidate.results for name, candidate in dropped.items()})
    return results, dropped
