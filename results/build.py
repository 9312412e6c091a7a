"""Make tables, figures and README.md from the files in results/runs: python -m results.build"""

import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import jinja2

import cifar100x
from cifar100x.app.opened import OpenedStudy
from cifar100x.report.numbers import interval
from cifar100x.report.page import PAPER

HERE = Path(__file__).parent
STUDIES = {"readings": 1, "search": 1}
"""Which there are, and how many folds of each are compared; None for all."""


def compare(runs: Path, study: str, folds: int | None) -> None:
    """Compare a study by the public command, which writes tables and figures beside its runs."""
    command = [sys.executable, "-m", "cifar100x.compare", f"study={study}", f"runs={runs}", f"folds={folds or 'null'}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (runs / study / "report" / "report.html").unlink()  # large, and made by the command above


def described(study: OpenedStudy) -> list[dict[str, Any]]:
    """What the page says of each candidate of a study; accuracies are fractions."""
    early = {row["model"]: row for row in study.tables["early-stopping"]}
    found = []
    for row, results in zip(study.tables["table1"], study.comparison.results, strict=True):
        histories = [result.history for result in results]
        best = [max(history, key=lambda epoch: epoch["val_accuracy"]) for history in histories]
        metrics = results[0].metrics
        found.append(
            {
                **row,
                "paper": PAPER.get(row["model"]),
                "early": early[row["model"]],
                "best_accuracy": sum(epoch["val_accuracy"] for epoch in best) / len(best),
                "best_epoch": sum(epoch["epoch"] for epoch in best) / len(best),
                "train_accuracy": sum(history[-1]["train_accuracy"] for history in histories) / len(histories),
                "parameters": metrics["parameters"],
                "operations": metrics["training_operations"],
                "epochs": metrics["epochs"],
                "environment": metrics["environment"],
                "hours": sum(_hours(history) for history in histories),
            }
        )
    return found


def _hours(history: list[dict[str, float]]) -> float:
    """Of a training; from the median epoch, since a few were halted while something else was measured."""
    return median(epoch["seconds"] for epoch in history) * len(history) / 3600


def page(runs: Path) -> str:
    """README.md, from compared studies."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters.update(
        percent=lambda fraction: f"{100 * fraction:.2f}", points=lambda share: f"{100 * share:+.1f}"
    )
    studies = {name: cifar100x.open_study(runs / name, folds=folds) for name, folds in STUDIES.items()}
    rows = {name: described(study) for name, study in studies.items()}
    environments = {str(row["environment"]): row["environment"] for of_study in rows.values() for row in of_study}
    return environment.get_template("page.md.jinja").render(
        interval=interval,
        studies=studies,
        rows={name: {row["model"]: row for row in of_study} for name, of_study in rows.items()},
        environments=[environments[name] for name in sorted(environments)],
        hours={name: sum(row["hours"] for row in of_study) for name, of_study in rows.items()},
    )


if __name__ == "__main__":
    for name, folds in STUDIES.items():
        compare(HERE / "runs", name, folds)
    (HERE / "README.md").write_text(page(HERE / "runs"))
    print(f"wrote {HERE / 'README.md'}, and tables and figures in {HERE / 'runs'}")
