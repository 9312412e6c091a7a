"""Compare all models of a study: python -m cifar100x.compare study=NAME."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar100x.app.command import launch
from cifar100x.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from cifar100x.runs.study import Study
    from cifar100x.verdict.comparison import Comparison


def compare(
    *, study: str, runs: str, rope: float | None, variances: str | None, baseline: str | None, trust: list[str]
) -> None:
    """Write the tables, the verdict, the figures and the report of a study, and print the tables."""
    from rich.console import Console

    from cifar100x.report import tables, words
    from cifar100x.runs.study import Study

    found = Study(Path(runs) / study)
    found.must_exist()
    comparison = write_report(found, trust, rope=rope, variances=variances, baseline=baseline)
    console = Console()
    tables.show(comparison, study, words.answer(comparison), console)
    if look := found.final.look:
        for sentence in (*words.on_test(look.metrics), f"{words.looked(look.metrics)}."):
            console.print(sentence, highlight=False)
    console.print(f"\nwrote {found.report}/report.html, and its tables and figures beside it", soft_wrap=True)


def write_report(study: "Study", trust: Sequence[str], **terms: Any) -> "Comparison":
    """Compare all finished runs of a study; write tables, verdict, figures and page.

    Args:
        study: whose runs are compared.
        trust: packages whose images may be shown.
        **terms: how it is judged, if nothing is on record yet.
    """
    from cifar100x.disk.writing import replacing
    from cifar100x.report import figures, page, tables
    from cifar100x.verdict.comparability import refuse_void
    from cifar100x.verdict.comparison import compare_results

    results = study.finished_results()
    refuse_void(results)
    comparison = compare_results(results, study.agree_on_terms(terms))
    look = study.final.look
    plots = figures.of_comparison(comparison, training_images(comparison.results[0][0].config, trust), look)
    html = page.render(comparison, study.path.name, plots, page.encoders_of(study), look)
    tables.write(comparison, study.report)
    for plot in plots:
        plot.write(study.report)
    with replacing(study.report / "report.html") as file:
        file.write(html)
    return comparison


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
