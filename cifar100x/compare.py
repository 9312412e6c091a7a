"""Compare all models of a study: python -m cifar100x.compare study=NAME."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from cifar100x import cli, stats
from cifar100x.errors import UserError
from cifar100x.report import figures, tables
from cifar100x.runs import RunDirectory, Study, flat

SAME_FOR_ALL = ("reading", "epochs", "folds", "seed", "data.fingerprint")


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
    low, high = stats.corrected_interval(accuracies)

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
    """Raise UserError if runs differ in what must be equal for their accuracies to be compared."""
    first_model, (first, *_) = next(iter(runs.items()))
    expected = flat(first.metrics)
    for of_model in runs.values():
        for run in of_model:
            found = flat(run.metrics)
            for key in SAME_FOR_ALL:
                if found[key] != expected[key]:
                    raise UserError(
                        f"{run.path} has {key} {found[key]}, but {first_model} has {expected[key]}: models are "
                        "compared only if all is equal but the network; train one of them again in another study"
                    )


def main() -> None:
    """Entry point of the command line."""
    cli.launch(compare, "compare")


if __name__ == "__main__":
    main()
