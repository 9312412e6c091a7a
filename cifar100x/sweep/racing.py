"""A sweep as a race: fold by fold, without the candidates that will not come first."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from cifar100x.errors import UsageError
from cifar100x.runs.directory import RunDirectory
from cifar100x.sweep.plan import PlannedJob
from cifar100x.verdict.racing import MIN_FOLDS, Elimination, eliminations
from cifar100x.verdict.statistics import of_counting


class Race:
    """The jobs of a sweep in rounds: the first two folds of all candidates, then one fold after the other.

    Who is eliminated follows from results alone, so a race that was stopped goes on as if it had not been.

    Args:
        jobs: every candidate on the same folds, of one study.
        level: the accepted chance that the full sweep would have put one of the eliminated first.

    Raises:
        UsageError: these jobs cannot race.
    """

    def __init__(self, jobs: Sequence[PlannedJob], level: float):
        if not 0 < level < 1:
            raise UsageError(f"race is {level:g}, expected a chance above 0 and below 1, as 0.05")
        self.level = level
        self.jobs: dict[str, dict[int, PlannedJob]] = {}
        for job in jobs:
            if job.job.folds is None:
                raise UsageError(f"race={level:g} needs candidates on folds; {job.job.title} holds out no fold")
            self.jobs.setdefault(job.job.run.path.parent.name, {})[job.config["fold"]] = job
        self.candidates = list(self.jobs)
        self.folds = sorted({fold for of_candidate in self.jobs.values() for fold in of_candidate})
        self.study = jobs[0].job.study
        if any(sorted(of_candidate) != self.folds for of_candidate in self.jobs.values()) or any(
            job.job.study.path != self.study.path for job in jobs
        ):
            raise UsageError(f"race={level:g} compares all candidates on the same folds, in one study: sweep them so")
        if len(self.folds) <= MIN_FOLDS:
            raise UsageError(
                f"race={level:g} with {len(self.folds)} folds: candidates leave from the second on and before the "
                f"last, so at least {MIN_FOLDS + 1} are needed"
            )

    def rounds(self, console: Console) -> Iterator[list[PlannedJob]]:
        """The jobs of each round, which must have ended when the next is asked for; who is eliminated is printed."""
        gone: dict[int, Elimination] = {}
        for n in range(MIN_FOLDS, len(self.folds) + 1):
            racing = [of_candidate for i, of_candidate in enumerate(self.jobs.values()) if i not in gone]
            yield [job for of_candidate in racing for fold, job in of_candidate.items() if fold in self.folds[:n]]
            for elimination in self._eliminations(n):
                if elimination.candidate not in gone:
                    gone[elimination.candidate] = elimination
                    self._eliminate(elimination, console)
        if gone:
            saved = [job for i in gone for job in self.jobs[self.candidates[i]].values() if not job.job.run.is_done]
            all_jobs = [job for of_candidate in self.jobs.values() for job in of_candidate.values()]
            share = sum(job.flops for job in saved) / sum(job.flops for job in all_jobs)
            console.print(f"race: {len(saved)} of {len(all_jobs)} runs and {share:.0%} of the operations were saved")

    def _eliminations(self, num_folds: int) -> list[Elimination]:
        """Who is out by the results on the first folds; never the baseline, nor who has all folds already.

        Later folds may be there of some, after a stop: what they say is for a later round.
        """
        runs = [[of_candidate[fold].job.run for fold in self.folds] for of_candidate in self.jobs.values()]
        finished = [i for i, of_candidate in enumerate(runs) if all(run.is_done for run in of_candidate)]
        known = [[_held_out(run) for run in of_candidate[:num_folds]] for of_candidate in runs]
        accuracies = np.full((len(runs), len(self.folds)), np.nan)
        accuracies[:, :num_folds] = [[found.get("accuracy", np.nan) for found in of_one] for of_one in known]
        terms = self.study.agreement.terms
        baseline = [i for i, name in enumerate(self.candidates) if terms and name == terms.baseline]
        counts = [found["count"] for of_one in known for found in of_one if found]
        least = of_counting(min(counts, default=1), num_accuracies=1)
        return eliminations(accuracies, self.level, [*finished, *baseline], least)

    def _eliminate(self, e: Elimination, console: Console) -> None:
        """Write down, in place of each run that is not trained, why it is not; and say so."""
        candidate, leader = self.candidates[e.candidate], self.candidates[e.leader]
        for job in self.jobs[candidate].values():
            job.job.run.mark_eliminated(after=e.folds, leader=leader, behind=e.behind, chance=e.chance)
        console.print(
            f"{candidate} is eliminated after {e.folds} of {len(self.folds)} folds: {100 * e.behind:.1f} points behind "
            f"{leader}, which it would have overtaken with a chance of {e.chance:.2g}",
            highlight=False,
            soft_wrap=True,
        )


def _held_out(run: RunDirectory) -> dict[str, Any]:
    """What a run reached on its held-out fold; empty while it is not finished."""
    return run.metrics["val"] if run.is_done else {}
