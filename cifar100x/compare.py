"""Compare all models of a study: python -m cifar100x.compare study=NAME."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar100x.app.command import launch
from cifar100x.errors import UserError

if TYPE_CHECKING:
    import numpy as np


def compare(*, study: str, runs: str, rope: float, trust: list[str]) -> None:
    """Write the tables, the verdict, the figures and the report of a study, and print the tables."""
    from rich.console import Console

    from cifar100x.disk.writing import replacing
    from cifar100x.report import figures, page, tables
    from cifar100x.runs.study import Study
    from cifar100x.verdict.comparability import refuse_void
    from cifar100x.verdict.comparison import compare_results

    found = Study(Path(runs) / study)
    results = found.finished_results()
    refuse_void(results)
    comparison = compare_results(results, rope)
    plots = figures.of_comparison(comparison, training_images(comparison.results[0][0].config, trust))
    final = found.final.metrics if "test_looks" in found.final.metrics else None
    html = page.render(comparison, study, plots, page.encoders_of(found), final)
    with replacing(found.report / "report.html") as file:
        file.write(html)
    tables.write(comparison, found.report)
    for plot in plots:
        plot.write(found.report)
    console = Console()
    tables.show(comparison, study, page.answer(comparison), console)
    tables.show_final(final, found.report, console)


def training_images(config: Mapping[str, Any], trusted: Sequence[str]) -> "np.ndarray | None":
    """Images that a study's folds index, uint8 (N, 3, 32, 32), if they are still where the runs found them."""
    from cifar100x.app.parts import open_store, trusting

    try:
        store = trusting(open_store, trusted)(config)
        return store.images("train") if store.fingerprint == config["data"]["fingerprint"] else None
    except (UserError, KeyError):
        return None


def main() -> None:
    """Entry point of the command line."""
    launch(compare, "compare")


if __name__ == "__main__":
    main()
