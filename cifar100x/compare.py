"""Compare all models of a study: python -m cifar100x.compare study=NAME."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from cifar100x import cli, stats
from cifar100x.config import NO_EFFECT
from cifar100x.errors import UserError
from cifar100x.report import figures, tables
from cifar100x.runs import RunDirectory, Study, differing_keys

ITS_OWN = (*NO_EFFECT, "fold")
"""Keys in which the runs of one model may differ."""
NETWORK = ("model.", "width.name", "width.filters", "width.dense")
"""Keys in which models may differ, too."""


def compare(config: DictConfig) -> None:
    """Write the tables and the verdict of a study, and print them."""
    study = Study(Path(config.runs) / config.study)
    runs = study.finished_runs()
    refuse_unequal(runs)
    models = list(runs)
    accuracies = np.array([[run.metrics["val"]["accuracy"] for run in of_model] for of_model in runs.values()])
    cross_entropies = np.array(
        [[run.metrics["val"]["cross_entropy"] for run in of_model] for of_model in runs.values()]
    )
    parameters = [of_model[0].metrics["parameters"] for of_model in runs.values()]

    differences = stats.fold_differences(accuracies)
    bounds = stats.paper_bound(differences)
    winners = stats.row_winners(bounds)
    chosen = stats.choose(winners, accuracies.mean(axis=1))
    low, high = stats.corrected_interval(accuracies, runs[models[0]][0].metrics["folds"])

    results = tables.Comparison(
        models=models,
        parameters=parameters,
        accuracies=accuracies,
        accuracy_low=low,
        accuracy_high=high,
        cross_entropies=cross_entropies,
        differences=differences.mean(axis=-1),
        bounds=bounds,
        winners=winners,
        chosen=chosen,
    )
    written = [
        *tables.write(results, study.report),
        figures.write(figures.accuracy_by_fold(results), study.report / "accuracy.svg"),
    ]
    tables.show(results, study.path.name, next(iter(runs.values()))[0].metrics, written, Console())


def refuse_unequal(runs: dict[str, list[RunDirectory]]) -> None:
    """Raise UserError if runs differ in anything but their network and their fold: then accuracies do not compare."""
    reference = next(iter(runs.values()))[0]
    for of_model in runs.values():
        for run in of_model:
            different = {
                *differing_keys(run.config, reference.config, (*ITS_OWN, *NETWORK)),
                *differing_keys(run.config, of_model[0].config, ITS_OWN),
            }
            if different:
                raise UserError(
                    f"{run.path} differs from {reference.path} in {', '.join(sorted(different))}: models are "
                    "compared only if all is equal but the network; train one of them again in another study"
                )


def main() -> None:
    """Entry point of the command line."""
    cli.launch(compare, "compare")


if __name__ == "__main__":
    main()
