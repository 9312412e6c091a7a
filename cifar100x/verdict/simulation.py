"""How often rules name a winner among models of which none is better."""

from collections.abc import Callable

import numpy as np

from cifar100x.verdict import statistics

STUDIES = 1000  # simulated, fewer where they would take long
AT_ONCE = 2_000_000  # numbers


def equal_models(
    generator: np.random.Generator, shape: tuple[int, int, int], correlation: float, spread: np.ndarray | float = 1.0
) -> np.ndarray:
    """Accuracies of models that are equal, but for chance: (studies, M, n), in units of the spread between folds.

    Args:
        generator: of random numbers.
        shape: studies, models and folds.
        correlation: between the folds of one model, which share training images; 1/K is what the corrected test allows
            for (Nadeau and Bengio 2003), 0 what the paper's rule takes for granted.
        spread: of each model, if they differ, (M,).
    """
    shared = np.sqrt(correlation) * generator.standard_normal((*shape[:2], 1))
    own = np.sqrt(1 - correlation) * generator.standard_normal(shape)
    return (shared + own) * np.reshape(spread, (-1, 1))


def paper_names_a_winner(accuracies: np.ndarray) -> bool:
    """Whether by the paper's rule any of the models (M, n) beats another."""
    return bool((statistics.paper_bound(statistics.fold_differences(accuracies)) < 0).any())


def false_winners(names_a_winner: Callable[[np.ndarray], bool], num_models: int, n: int, correlation: float) -> float:
    """The share of studies of equal models in which a rule names a winner.

    Args:
        names_a_winner: of accuracies (M, n).
        num_models: M.
        n: folds.
        correlation: as for `equal_models`.
    """
    studies = max(100, min(STUDIES, AT_ONCE // (num_models**2 * n)))
    drawn = equal_models(np.random.default_rng(0), (studies, num_models, n), correlation)
    return float(np.mean([names_a_winner(study) for study in drawn]))
