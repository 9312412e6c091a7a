"""What a race saves, and how often it misses whom the full study puts first: python -m bench.racing [studies] [path...]

Simulated: the paper's eight candidates with its mean accuracies and operations, eight equal ones, which vary alike
between folds or from half to twice as much, forty spread evenly over twelve points, and two that are a point apart;
five folds, correlated by 1/5, else a point of spread between the folds of a candidate. Recorded: folders of finished
studies, raced through their folds in every order. Two ways to eliminate: by the chance to overtake the leader by the
last fold, as a sweep does it, and by a test of being worse than it, with the same variance, corrected for shared
training images and for the number of candidates and looks.
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import islice, permutations
from pathlib import Path

import numpy as np
from scipy import stats

from cifar100x.errors import UserError
from cifar100x.report.page import PAPER
from cifar100x.runs.finished import finished_results
from cifar100x.runs.study import Study
from cifar100x.verdict import statistics
from cifar100x.verdict.racing import eliminations
from cifar100x.verdict.simulation import equal_models

FOLDS = 5
OPERATIONS = np.array([11.39, 44.57, 175.94, 32.78, 130.13, 518.2, 83.23, 0.41])
"""Of a step of 50 images, in thousand millions, of the paper's eight, as `cifar100x.training.needs` counts them."""
MOST_ORDERS = 120
Race = Callable[[np.ndarray], np.ndarray]
"""From accuracies (M, n) to how many folds each candidate is trained on."""


def by_chance(level: float) -> Race:
    """As a sweep does it."""

    def race(accuracies: np.ndarray) -> np.ndarray:
        folds = np.full(len(accuracies), accuracies.shape[1])
        for e in eliminations(accuracies, level):
            folds[e.candidate] = e.folds
        return folds

    return race


def by_test(accuracies: np.ndarray) -> np.ndarray:
    """Whoever is worse than the leader at 5%, one-sided, over all candidates and looks."""
    num_models, num_folds = accuracies.shape
    folds = np.full(num_models, num_folds)
    for n in range(2, num_folds):
        racing = np.flatnonzero(folds == num_folds)
        if len(racing) < 2:
            break
        known = accuracies[racing, :n]
        means, freedom = known.mean(axis=1), (len(racing) - 1) * (n - 1)
        residuals = known - means[:, None] - known.mean(axis=0) + known.mean()
        error = np.sqrt(2 * (residuals**2).sum() / freedom * statistics.sharing(n, num_folds))
        p = stats.t.sf((means.max() - means) / error, freedom) * (num_models - 1) * (num_folds - 2)
        folds[racing[p < 0.05]] = n
    return folds


RACES: dict[str, Race] = {"chance 0.01": by_chance(0.01), "chance 0.05": by_chance(0.05), "test": by_test}


def simulated(studies: int) -> Iterator[tuple[str, Iterator[np.ndarray], np.ndarray]]:
    """Name, accuracies (M, n) of each study, and operations (M,)."""
    for name, means, operations, spread in (
        ("paper", np.array([100 * accuracy for accuracy, _ in PAPER.values()]), OPERATIONS, 1.0),
        ("eight equal", np.zeros(8), np.ones(8), 1.0),
        ("eight, unequal spread", np.zeros(8), np.ones(8), np.geomspace(0.5, 2, 8)),
        ("forty over 12 points", np.linspace(0, 12, 40), np.ones(40), 1.0),
        ("two, a point apart", np.array([0.0, 1.0]), np.ones(2), 1.0),
    ):
        drawn = equal_models(np.random.default_rng(0), (studies, len(means), FOLDS), 1 / FOLDS, spread)
        yield name, iter(drawn + means[:, None]), operations


def recorded(path: Path) -> tuple[str, Iterator[np.ndarray], np.ndarray]:
    """The same of one study, its folds in every order."""
    results = finished_results(Study(path))
    accuracies = np.array([[result.metrics["val"]["accuracy"] for result in folds] for folds in results.values()])
    operations = np.array([folds[0].metrics["training_operations"] for folds in results.values()], float)
    orders = islice(permutations(range(accuracies.shape[1])), MOST_ORDERS)
    return str(path), (accuracies[:, order] for order in orders), operations


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("bench.racing", description="What a race saves, and how often it is wrong.")
    parser.add_argument("studies", type=int, nargs="?", default=1000, help="to simulate")
    parser.add_argument("paths", type=Path, nargs="*", help="of finished studies")
    asked = parser.parse_args()
    try:
        of_paths = [recorded(path) for path in asked.paths]
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{'':24}{'race by':14}{'runs':>7}{'operations':>12}{'another first':>15}")
    for name, cases, operations in (*(simulated(asked.studies) if asked.studies else ()), *of_paths):
        known = list(cases)
        for way, race in RACES.items():
            folds = np.array([race(accuracies) for accuracies in known])
            first = [accuracies.mean(axis=1).argmax() for accuracies in known]
            num_folds = known[0].shape[1]
            missed = np.mean([f[best] < num_folds for f, best in zip(folds, first, strict=True)])
            share = (folds @ operations).mean() / operations.sum() / num_folds
            print(f"{name:24}{way:14}{folds.mean() / num_folds:7.2f}{share:12.2f}{missed:15.4f}")


if __name__ == "__main__":
    main()
