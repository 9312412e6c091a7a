"""How often each way of deciding is wrong, and how much it finds: python -m bench.verdicts [studies].

Studies are simulated: M models on five folds, their accuracies correlated by 1/5 between folds, as the corrected test
assumes, or by nothing, as the paper's rule does. Family-wise error: the share of studies of equal models in which a
winner is named. Power: the share of true differences that are found where each model is better than the one before it
by half a standard deviation between folds. "unequal" gives models spreads from half to twice the common one; "grown"
takes a verdict after each model from the second on.
"""

import argparse
from collections.abc import Callable

import numpy as np

from cifar100x.verdict import statistics
from cifar100x.verdict.simulation import equal_models

FOLDS = 5
STEP = 0.5
Decide = Callable[[np.ndarray], np.ndarray]
"""From accuracies (M, n) to which pairs (P,) of all are decided, in the order of `np.triu_indices`."""


def by_test(estimate: str, baseline: bool) -> Decide:
    """Holm over all pairs, or over those with the first model alone."""

    def decide(accuracies: np.ndarray) -> np.ndarray:
        a, b = np.triu_indices(len(accuracies), 1)
        p = statistics.ESTIMATES[estimate](accuracies[a] - accuracies[b], FOLDS).p
        tested = a == 0 if baseline else np.ones(len(a), bool)
        decided = np.zeros(len(a), bool)
        decided[tested] = statistics.holm(p[tested]) < 0.05
        return decided

    return decide


def by_paper(accuracies: np.ndarray) -> np.ndarray:
    """Any bound below 0, in either direction."""
    a, b = np.triu_indices(len(accuracies), 1)
    bounds = statistics.paper_bound(statistics.fold_differences(accuracies))
    return (bounds[a, b] < 0) | (bounds[b, a] < 0)


WAYS: dict[str, Decide] = {
    "paper's rule": by_paper,
    "own variances": by_test("own", baseline=False),
    "moderated": by_test("moderated", baseline=False),
    "own, baseline": by_test("own", baseline=True),
    "moderated, baseline": by_test("moderated", baseline=True),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("bench.verdicts", description="How often each way of deciding is wrong.")
    parser.add_argument("studies", type=int, nargs="?", default=2000, help="to simulate")
    studies = parser.parse_args().studies
    print(f"{studies} studies of 5 folds each; standard errors up to {np.sqrt(0.25 / studies):.3f}")
    print(f"{'':22}{'independent':>13}{'correlated':>12}{'unequal':>9}{'three models':>14}{'grown':>8}{'power':>8}")
    for name, decide in WAYS.items():
        generator = np.random.default_rng(0)
        cases = [
            equal_models(generator, (studies, 8, FOLDS), 0.0),
            equal_models(generator, (studies, 8, FOLDS), 1 / FOLDS),
            equal_models(generator, (studies, 8, FOLDS), 1 / FOLDS, np.geomspace(0.5, 2, 8)),
            equal_models(generator, (studies, 3, FOLDS), 1 / FOLDS),
        ]
        errors = [np.mean([decide(study).any() for study in case]) for case in cases]
        grown = np.mean([any(decide(study[:m]).any() for m in range(2, len(study) + 1)) for study in cases[1]])
        unequal = cases[1] + STEP * np.arange(8)[:, None]
        power = np.mean([decide(study).sum() for study in unequal]) / 28
        print(f"{name:22}{errors[0]:13.3f}{errors[1]:12.3f}{errors[2]:9.3f}{errors[3]:14.3f}{grown:8.3f}{power:8.3f}")


if __name__ == "__main__":
    main()
