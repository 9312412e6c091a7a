"""A race: candidates that will not come first are eliminated before all their folds are trained."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy import stats

MIN_FOLDS = 2
"""Before these nobody is eliminated: one fold says nothing of the spread between folds."""


@dataclass(frozen=True)
class Elimination:
    """Why a candidate is not trained on the folds that are left.

    Attributes:
        candidate: its place among all.
        folds: after how many.
        leader: who had the highest mean then.
        behind: how far its mean was behind the leader's, a fraction.
        chance: that it would have overtaken the leader by the last fold.
    """

    candidate: int
    folds: int
    leader: int
    behind: float
    chance: float


def eliminations(
    accuracies: np.ndarray, level: float, staying: Collection[int] = (), least: float = 0.0
) -> list[Elimination]:
    """Who is eliminated when, as far as accuracies are known.

    After every fold from the second on, those with the smallest chances go, as long as the chances of all who have
    gone come to no more than a share of `level` that grows evenly from look to look. So the chance that the full study
    would have put one of them first is at most `level`, if candidates vary alike between folds; where they do not, it
    is somewhat above it (docs/sweeps.md).

    Args:
        accuracies: (M, N) of M candidates on N folds, which are trained in this order; nan where not known. A
            candidate that lacks one of the folds so far is passed over.
        level: the chance that is accepted, above 0 and below 1.
        staying: who cannot be eliminated.
        least: variance that no accuracy has less of, as in `statistics.of_counting`.
    """
    num_models, num_folds = accuracies.shape
    gone: list[Elimination] = []
    for n in range(MIN_FOLDS, num_folds):
        out = {e.candidate for e in gone}
        racing = [i for i in range(num_models) if i not in out and not np.isnan(accuracies[i, :n]).any()]
        if len(racing) < 2:
            break
        leader, behind, chances = _standing(accuracies[racing, :n], num_folds, least)
        allowed = level * (n - MIN_FOLDS + 1) / (num_folds - MIN_FOLDS) - sum(e.chance for e in gone)
        for place in np.argsort(chances, kind="stable"):
            if place == leader or racing[place] in staying:
                continue
            if chances[place] > allowed:
                break
            allowed -= chances[place]
            gone.append(Elimination(racing[place], n, racing[leader], float(behind[place]), float(chances[place])))
    return gone


def _standing(accuracies: np.ndarray, num_folds: int, least: float) -> tuple[int, np.ndarray, np.ndarray]:
    """The leader on the first folds (M, n), how far all are behind it, and their chances to overtake it by the last.

    What is predicted is the full study itself, not a truth behind it: whether the mean over all N folds will be above
    the leader's, given n of them (stochastic curtailment: Lan, Simon and Halperin 1982; here with the predictive
    distribution for an unknown variance). What all folds of a candidate share, training images above all, is in those
    to come as in those behind: it cancels, so that no correction is needed. A difference has a mean over n folds and
    one over the other N - n, which differ with variance s² (1/n + 1/(N - n)); s² comes from what neither candidate nor
    fold explain, on (M - 1)(n - 1) degrees of freedom.
    """
    num_models, n = accuracies.shape
    means = accuracies.mean(axis=1)
    leader = int(means.argmax())
    behind = means[leader] - means
    residuals = accuracies - means[:, None] - accuracies.mean(axis=0) + means.mean()
    freedom = (num_models - 1) * (n - 1)
    spread = np.sqrt(2 * max((residuals**2).sum() / freedom, least))
    with np.errstate(divide="ignore"):
        t = np.divide(behind, spread, out=np.zeros(num_models), where=behind > 0)
    return leader, behind, stats.t.sf(t * np.sqrt(num_folds * n / (num_folds - n)), freedom)
