"""The tables of a comparison, as CSV for programs and as text for people."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from cifar100x.runs import replacing

STYLE: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}


@dataclass(frozen=True)
class Comparison:
    """What is known of M models on K folds. Accuracies are fractions; matrices (M, M) are row minus column."""

    models: list[str]
    parameters: list[int]
    accuracies: np.ndarray  # (M, K)
    accuracy_low: np.ndarray  # (M,) corrected 95% interval of the mean
    accuracy_high: np.ndarray
    cross_entropies: np.ndarray  # (M, K)
    differences: np.ndarray  # (M, M) mean over the folds: the paper's Table II
    bounds: np.ndarray  # (M, M) the paper's equation 3
    winners: np.ndarray  # (M,) which model beats the row's by the paper's rule
    chosen: int


def write(results: Comparison, folder: Path) -> list[Path]:
    """Write table1.csv, differences.csv, bounds.csv and verdict.json; return their paths."""
    models = results.models
    table1 = [
        ("model", "accuracy_mean", "accuracy_low", "accuracy_high", "cross_entropy_mean", "folds"),
        *(
            (
                model,
                results.accuracies[i].mean(),
                results.accuracy_low[i],
                results.accuracy_high[i],
                results.cross_entropies[i].mean(),
                results.accuracies.shape[1],
            )
            for i, model in enumerate(models)
        ),
    ]
    verdict = {
        "chosen": models[results.chosen],
        "row_winners": {model: models[winner] for model, winner in zip(models, results.winners, strict=True)},
    }
    with replacing(folder / "verdict.json") as file:
        json.dump(verdict, file, indent=1)
    return [
        _write_csv(folder / "table1.csv", table1),
        _write_csv(folder / "differences.csv", _square(models, results.differences)),
        _write_csv(folder / "bounds.csv", _square(models, results.bounds)),
        folder / "verdict.json",
    ]


@dataclass(frozen=True)
class Probe:
    """Linear probes of one representation, one on each fold, with the corrected 95% interval of their mean."""

    representation: str
    dimensions: int
    accuracies: np.ndarray  # (K,) fractions
    accuracy_low: float
    accuracy_high: float


def write_probes(probes: list[Probe], folder: Path) -> Path:
    """Write probe.csv; return its path."""
    heading = ("representation", "dimensions", "accuracy_mean", "accuracy_low", "accuracy_high", "folds")
    rows = (
        (p.representation, p.dimensions, p.accuracies.mean(), p.accuracy_low, p.accuracy_high, len(p.accuracies))
        for p in probes
    )
    return _write_csv(folder / "probe.csv", [heading, *rows])


def show_probes(probes: list[Probe], study: str, path: Path, console: Console) -> None:
    """Print the accuracies of probes and where they were written."""
    table = Table(
        title=f"Linear probes of an encoder, folds of study {study}",
        title_justify="left",
        caption="means over the held-out folds; intervals are corrected for the training images that folds share",
        caption_justify="left",
        **STYLE,
    )
    for heading in ("representation", "dimensions", "accuracy %", "95% interval"):
        table.add_column(heading, justify="left" if heading == "representation" else "right", no_wrap=True)
    for p in probes:
        interval = f"{100 * p.accuracy_low:.1f} to {100 * p.accuracy_high:.1f}"
        table.add_row(p.representation, f"{p.dimensions:,}", f"{100 * p.accuracies.mean():.2f}", interval)
    console.print(table, "")
    console.print(f"wrote {path}", highlight=False, soft_wrap=True)


def _square(models: list[str], matrix: np.ndarray) -> list[tuple[Any, ...]]:
    return [("", *models), *((model, *row) for model, row in zip(models, matrix.tolist(), strict=True))]


def _write_csv(path: Path, rows: Iterable[Iterable[Any]]) -> Path:
    with replacing(path) as file:
        csv.writer(file).writerows(rows)
    return path


def show(results: Comparison, study: str, metrics: dict[str, Any], files: list[Path], console: Console) -> None:
    """Print the tables, the verdict and where they were written.

    Args:
        results: the comparison.
        study: its name.
        metrics: of one of the runs, for what all have in common.
        files: what was written.
        console: where to print.
    """
    console.print(_table1(results, study, metrics), "")
    title = "Differences of mean accuracy, row minus column, in points (the paper's Table II)"
    console.print(_matrix(results, results.differences, title), "")
    title = "95% upper bounds of the differences (equation 3); the row's smallest, marked, names its winner"
    console.print(_matrix(results, results.bounds, title, mark=results.winners), "")
    chosen = results.models[results.chosen]
    wins = int((results.winners == results.chosen).sum())
    console.print(f"Chosen by the row rule: [bold]{chosen}[/bold], winner of {wins} of {len(results.models)} rows.")
    if np.sum(np.bincount(results.winners) == wins) > 1:
        console.print("Other models win as many rows; of these it is the most accurate.")
    console.print("The folds share training images, so these bounds are narrower than they should be.\n")
    for path in files:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)


def _table1(results: Comparison, study: str, metrics: dict[str, Any]) -> Table:
    table = Table(
        title=f"Table I: study {study}, reading {metrics['reading']}, {metrics['epochs']} epochs, "
        f"data {metrics['data']['name']}",
        title_justify="left",
        caption="means over the held-out folds; intervals are corrected for the training images that folds share",
        caption_justify="left",
        **STYLE,
    )
    for heading in ("", "model", "parameters", "accuracy %", "95% interval", "cross-entropy", "folds"):
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for i, model in enumerate(results.models):
        table.add_row(
            str(i + 1),
            model,
            f"{results.parameters[i]:,}",
            f"{100 * results.accuracies[i].mean():.2f}",
            f"{100 * results.accuracy_low[i]:.1f} to {100 * results.accuracy_high[i]:.1f}",
            f"{results.cross_entropies[i].mean():.3f}",
            str(results.accuracies.shape[1]),
            style="bold" if i == results.chosen else None,
        )
    return table


def _matrix(results: Comparison, matrix: np.ndarray, title: str, mark: np.ndarray | None = None) -> Table:
    """Print a square matrix in percentage points, columns by number so that eight of them fit a terminal."""
    table = Table(title=title, title_justify="left", **STYLE)
    table.add_column("", justify="right")
    table.add_column("model")
    for i in range(len(results.models)):
        table.add_column(str(i + 1), justify="right")
    for i, model in enumerate(results.models):
        cells = [f"{100 * value:+.2f}" for value in matrix[i]]
        if mark is not None:
            cells[mark[i]] = f"[bold green]{cells[mark[i]]}*[/bold green]"
        table.add_row(str(i + 1), model, *cells)
    return table
