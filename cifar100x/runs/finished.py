"""What of a study is finished, and can be compared: the same folds of all its models."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cifar100x.errors import UserError
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.record import ELIMINATED, OF_ELIMINATION
from cifar100x.runs.result import Eliminated, Result
from cifar100x.runs.study import Study


def finished_results(study: Study, first: int | None = None) -> dict[str, list[Result]]:
    """What the runs of every model left, in order of fold; takes and raises as `finished_runs`."""
    return {model: [run.result for run in runs] for model, runs in finished_runs(study, first).items()}


def finished_runs(study: Study, first: int | None = None) -> dict[str, list[RunDirectory]]:
    """The runs of every model, in order of fold, of the repetitions that all models have finished.

    Models that a race has eliminated before that are not among them.

    Args:
        study: whose.
        first: how many folds of the first repetition are wanted, and no others.

    Raises:
        UserError: there is no such study, or a model lacks folds of the first repetition or has surplus ones; all are
            listed.
    """
    study.must_exist()
    models = study.models
    if not models:
        raise UserError(f"{study.path} holds no runs: train some with cifar100x.train study={study.path.name}")
    folds = study.folds
    if not folds:
        raise UserError(f"{study.folds_path} is absent or damaged: the command that trained these runs makes it anew")
    standing = Standing(
        {model: [run.state or "never started" for run in runs] for model, runs in models.items()},
        *_cut(folds, models.values()),
    )
    if first not in (None, *standing.comparable):
        num_folds, num_seeds = standing.num_folds, standing.num_seeds
        more = f", or all {num_folds} of 2..{num_seeds} seeds" if num_seeds > 1 else ""
        raise UserError(f"folds is {first}, expected 1..{num_folds}{more}")
    whole = first or standing.finished_by_all
    compared = {model: models[model][:whole] for model in models if standing.takes_part(model, whole)}
    problems = [said for model in compared for said in _problems(study, model, compared[model], standing, folds)]
    if problems:
        finished = standing.most_in_common(compared)
        hint = f"; folds={finished} compares what all have" if 0 < finished < whole else ""
        raise UserError(f"{study.path} is incomplete: {'; '.join(problems)}{hint}")
    return compared


def eliminated(study: Study, finished: Collection[str]) -> dict[str, Eliminated]:
    """What there is of the models that a race has eliminated, which are those that are not among the finished."""
    found = {}
    for model, runs in study.models.items():
        if model not in finished:
            status = next(run.status for run in runs if run.status.get("state") == ELIMINATED)
            why = {name: status[name] for name in OF_ELIMINATION}
            found[model] = Eliminated(results=[run.result for run in runs if run.is_done], **why)
    return found


@dataclass(frozen=True)
class Standing:
    """How far the models of a study have come.

    Attributes:
        states: of the runs of each model, in order of fold.
        num_folds: K.
        num_seeds: how often each fold is trained, one set of K after the other.
    """

    states: dict[str, list[str]]
    num_folds: int
    num_seeds: int

    @property
    def of_repetition(self) -> int:
        """How many runs of a model are one repetition."""
        return self.num_folds * self.num_seeds

    @property
    def comparable(self) -> tuple[int, ...]:
        """How many first runs of a model may be asked for: some folds of one seed, or all folds of some."""
        return (*range(1, self.num_folds), *range(self.num_folds, self.of_repetition + 1, self.num_folds))

    @property
    def racing(self) -> list[str]:
        """The models that no race has eliminated; all, where none is left."""
        return [m for m in self.states if ELIMINATED not in self.states[m][self.done(m) :]] or list(self.states)

    @property
    def finished_by_all(self) -> int:
        """How many runs of whole repetitions all who are still in the race have finished; at least one is wanted."""
        return max(self._done_by(self.racing) // self.of_repetition * self.of_repetition, self.of_repetition)

    def takes_part(self, model: str, whole: int) -> bool:
        """Whether a model is among those whose first runs are compared."""
        return model in self.racing or self.done(model) >= whole

    def most_in_common(self, models: Collection[str]) -> int:
        """The most runs of each of some models that can be compared as things stand; 0 if none can."""
        return max((number for number in self.comparable if number <= self._done_by(models)), default=0)

    def done(self, model: str) -> int:
        """How many runs of a model are done before the first that is not."""
        return num_done(self.states[model])

    def _done_by(self, models: Collection[str]) -> int:
        return min(self.done(model) for model in models)


def num_done(states: Sequence[str]) -> int:
    """How many are done before the first that is not."""
    return next((fold for fold, state in enumerate(states) if state != "done"), len(states))


def _cut(folds: Sequence[np.ndarray], models: Collection[Sequence[RunDirectory]]) -> tuple[int, int]:
    """K, and the seeds of a fold; without a finished run all folds, which are then named as missing.

    While folds were cut once, each seed is a repetition of its own.
    """
    found = (run.metrics.get("folds") for runs in models for run in runs)
    num_folds = next((num_folds for num_folds in found if num_folds), len(folds))
    num_seeds = sum(np.array_equal(fold, folds[0]) for fold in folds)
    return num_folds, 1 if num_folds * num_seeds == len(folds) else num_seeds


def _problems(
    study: Study, model: str, runs: Sequence[RunDirectory], standing: Standing, folds: Sequence[np.ndarray]
) -> Iterator[str]:
    """Why the runs of a model cannot be compared; folds may go on beyond them."""
    states = standing.states[model][: len(runs)]
    absent = [f"{fold} ({state})" for fold, state in enumerate(states) if state != "done"]
    surplus = {p.name for p in (study.path / model).iterdir()} - {f"fold{fold}" for fold in range(len(folds))}
    if absent:
        yield f"{model} lacks fold{'s' if len(absent) > 1 else ''} {', '.join(absent)}: train them first"
    elif surplus:
        yield f"{model} has {', '.join(sorted(surplus))}, but there are {len(folds)} folds: move it elsewhere"
    else:
        for fold, (run, held_out) in enumerate(zip(runs, folds, strict=False)):
            if not np.array_equal(run.predictions.index, held_out):
                yield f"{run.path} holds results of other images than fold {fold}: move it elsewhere and train again"
