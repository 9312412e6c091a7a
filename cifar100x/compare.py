"""Compare all models of a study: python -m cifar100x.compare study=NAME."""

from pathlib import Path

import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from cifar100x import cli
from cifar100x.comparison import Comparison, compare_runs
from cifar100x.config import NO_EFFECT
from cifar100x.errors import UserError
from cifar100x.report import figures, page, tables
from cifar100x.runs import RunDirectory, Study, differing_keys, replacing

ITS_OWN = (*NO_EFFECT, "fold")
"""Keys in which the runs of one model may differ."""
NETWORK = ("model.", "width.name", "width.filters", "width.dense")
"""Keys in which models may differ, too."""


def compare(config: DictConfig) -> None:
    """Write the tables, the verdict, the figures and the report of a study, and print the tables."""
    study = Study(Path(config.runs) / config.study)
    runs = study.finished_runs()
    refuse_unequal(runs)
    comparison = compare_runs(runs, config.rope)
    plots = figures.of_comparison(comparison, training_images(comparison))
    final = study.final.metrics if "test_looks" in study.final.metrics else None
    html = page.render(comparison, config.study, plots, encoder_of(study), final)
    with replacing(study.report / "report.html") as file:
        file.write(html)
    tables.write(comparison, study.report)
    for plot in plots:
        plot.write(study.report)
    console = Console()
    tables.show(comparison, config.study, page.answer(comparison), console)
    if final:
        alone, together = (f"{final[key]['accuracy']:.2%}" for key in ("test", "test_ensemble"))
        found = f"On the test split: {alone} trained on all images, {together} its folds' networks voting together."
        console.print(found, highlight=False)
    console.print(f"\nwrote {study.report}/report.html, and its tables and figures beside it", soft_wrap=True)


def training_images(comparison: Comparison) -> np.ndarray | None:
    """Images that the study's folds index, uint8 (N, 3, 32, 32), if they are still where the runs found them."""
    data = comparison.runs[0][0].config.get("data", {})
    try:
        store = instantiate(data["store"])
        return store.images("train") if store.fingerprint == data["fingerprint"] else None
    except (UserError, KeyError, InstantiationException):
        return None


def encoder_of(study: Study) -> page.Encoder | None:
    """What is known of the study's autoencoder, if it has one."""
    run = study.pretraining
    if run.status.get("state") != "done":
        return None
    return page.Encoder(run.metrics, run.pictures, study.probes)


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
