"""From the finished runs of a study to its report."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cifar100x.app.opened import results_of
from cifar100x.data.store import cache_folder, store_of
from cifar100x.disk.writing import replacing, write_json
from cifar100x.errors import UserError
from cifar100x.report import figures, page, tables
from cifar100x.runs.study import Study
from cifar100x.runs.terms import Terms
from cifar100x.verdict.comparison import Comparison, compare_results, refuse_unknown_baseline


def write_report(study: Study, cache: str | None, folds: int | None = None, **terms: Any) -> Comparison:
    """Compare all finished runs of a study; write tables, verdict, figures and page.

    Args:
        study: whose runs are compared.
        cache: folder of image stores, if it is not the usual one.
        folds: how many of the first repetition are compared; all there are by default.
        **terms: how it is judged, if nothing is on record yet.
    """
    results, dropped = results_of(study, folds)
    refuse_unknown_baseline((study.agreement.terms or Terms()).with_wishes(terms), results)  # before it is on record
    agreed = study.agreement.settle(terms)
    looks = study.agreement.count_look(len(next(iter(results.values()))))
    comparison = compare_results(results, agreed, looks, study.agreement.is_late, dropped)
    look = study.final.look
    plots = figures.of_comparison(comparison, training_images(comparison.results[0][0].config, cache), look)
    html = page.render(comparison, study.path.name, plots, page.encoders_of(study), look)
    with study.reporting():  # whoever writes it at the same time writes all of it before or after
        tables.write(comparison, study.report)
        for plot in plots:
            plot.write(study.report)
        with replacing(study.report / "report.html") as file:
            file.write(html)
        write_json(study.report / "verdict.json", tables.verdict(comparison))  # last: who finds it finds the rest
    return comparison


def training_images(config: Mapping[str, Any], cache: str | None) -> np.ndarray | None:
    """Images that a study's folds index, uint8 (N, 3, 32, 32), if their store is on this machine."""
    try:
        return store_of(cache_folder(cache), config["data"]).images("train")
    except (UserError, KeyError):
        return None
