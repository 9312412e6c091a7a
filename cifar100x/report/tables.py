"""The tables of a comparison, as CSV for programs and as text for people."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cifar100x.disk.writing import replacing
from cifar100x.report.numbers import interval
from cifar100x.verdict.comparison import Comparison, LeftBehind
from cifar100x.verdict.early_stopping import EarlyStopping
from cifar100x.verdict.pairs import Outcome, Pair

MOST_COLUMNS = 12  # of a square table; in a window no more than it has room for
STYLE: dict[str, Any] = {
    "box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False,
    "title_justify": "left", "caption_justify": "left",
}  # fmt: skip
WIDEST = 1000  # characters of a table that nobody sees in a window

Rows = list[tuple[Any, ...]]
"""Of a table, the names of its columns first."""


def tables_of(c: Comparison) -> dict[str, Rows]:
    """The tables of a comparison, by name. Accuracies and differences are fractions, cross-entropies nats."""
    num_folds = c.accuracies.shape[1]
    of_models = zip(c.models, c.accuracies, c.accuracy_low, c.accuracy_high, c.cross_entropies, strict=True)
    return {
        "table1": [
            ("model", "accuracy_mean", "accuracy_low", "accuracy_high", "cross_entropy_mean", "folds"),
            *(
                (model, float(accuracy.mean()), float(low), float(high), float(cross_entropy.mean()), num_folds)
                for model, accuracy, low, high, cross_entropy in of_models
            ),
        ],
        "differences": _square(c.models, c.differences),
        "bounds": _square(c.models, c.bounds),
        "pairs": _records(Pair, c.pairs),
        "calibration": [
            ("model", "calibration_error", "cross_entropy", "temperature", "scaled_cross_entropy"),
            *(
                (model, k.error, k.cross_entropy, k.temperature, k.scaled_cross_entropy)
                for model, k in zip(c.models, c.calibrations, strict=True)
            ),
        ],
        "early-stopping": _records(EarlyStopping, c.early_stopping),
        "eliminated": _records(LeftBehind, c.eliminated),
    }


def write(c: Comparison, folder: Path) -> None:
    """Write the tables as CSV."""
    for name, rows in tables_of(c).items():
        write_csv(folder / f"{name}.csv", rows)


def _records(kind: type[Any], records: Iterable[Any]) -> Rows:
    """Records of one dataclass as rows, its fields first."""
    return [tuple(field.name for field in fields(kind)), *map(astuple, records)]


def verdict(c: Comparison) -> dict[str, Any]:
    """What verdict.json says."""
    return {
        "chosen": c.models[c.chosen],
        "row_winners": {model: c.models[winner] for model, winner in zip(c.models, c.winners, strict=True)},
        "survives_correction": {
            model: c.survives(winner, i)
            for i, (model, winner) in enumerate(zip(c.models, c.winners, strict=True))
            if winner != i
        },
        "terms": asdict(c.terms),
        "better_than": c.others(Outcome.A_BETTER),
        "worse_than": c.others(Outcome.B_BETTER),
        "equivalent_to": c.others(Outcome.EQUIVALENT),
        "undecided": c.others(Outcome.UNDECIDED),
        "unbeaten": c.unbeaten,
        "pairs_tested": c.num_tested,
        "corrected_for": c.num_tests,
        "eliminated": [e.model for e in c.eliminated],
        "folds": c.accuracies.shape[1],
        "runs": len(c.results[0]),  # of each model: with several seeds, more than folds
    }


@dataclass(frozen=True)
class Probe:
    """Linear probes of one representation, one on each fold, with the corrected 95% interval of their mean."""

    representation: str
    dimensions: int
    accuracies: np.ndarray  # (K,) fractions
    accuracy_low: float
    accuracy_high: float


def write_probes(probes: list[Probe], path: Path) -> Path:
    """Write what probes found; return the path."""
    heading = ("representation", "dimensions", "accuracy_mean", "accuracy_low", "accuracy_high", "folds")
    rows = (
        (p.representation, p.dimensions, p.accuracies.mean(), p.accuracy_low, p.accuracy_high, len(p.accuracies))
        for p in probes
    )
    return write_csv(path, [heading, *rows])


def show_probes(probes: list[Probe], images: str, path: Path, console: Console) -> None:
    """Print the accuracies of probes, what images they are of, and where they were written."""
    table = Table(
        title=f"Linear probes of an encoder, {images}",
        caption="means over the held-out folds; intervals are corrected for the training images that folds share",
        **STYLE,
    )
    _add_columns(table, ("representation", "dimensions", "accuracy %", "95% interval"), named="representation")
    for p in probes:
        bounds = interval(p.accuracy_low, p.accuracy_high)
        table.add_row(p.representation, f"{p.dimensions:,}", f"{100 * p.accuracies.mean():.2f}", bounds)
    _print(table, console)
    console.print(f"wrote {path}", highlight=False, soft_wrap=True)


def _square(models: list[str], matrix: np.ndarray) -> Rows:
    return [("", *models), *((model, *row) for model, row in zip(models, matrix.tolist(), strict=True))]


def write_csv(path: Path, rows: Iterable[Iterable[Any]]) -> Path:
    """Write rows, headings first; return the path."""
    with replacing(path) as file:
        csv.writer(file).writerows(rows)
    return path


def show(c: Comparison, study: str, answer: Sequence[str], console: Console) -> None:
    """Print the tables and the verdict.

    Args:
        c: the comparison.
        study: its name.
        answer: the verdict in sentences.
        console: where to print.
    """
    shown = [_table1(c, study)]
    if c.eliminated:
        shown.append(_eliminated(c))
    if c.decisions:
        shown.append(_decisions(c))
    room = (console.width - 14) // 7 if console.is_terminal else MOST_COLUMNS
    square = 1 < len(c.models) <= min(room, MOST_COLUMNS)
    if square:
        title = "Differences of accuracy, row minus column, in points (Table II)"
        shown.append(_matrix(c, c.differences, title))
    if square and c.accuracies.shape[1] > 1:
        title = "Their 95% upper bounds (equation 3); a row's smallest names its winner"
        shown.append(_matrix(c, c.bounds, title, mark=c.winners))
    for table in shown:
        _print(table, console)
    for sentence in answer:
        console.print(sentence, highlight=False)


def _print(table: Table, console: Console) -> None:
    """Print a table: in a window that is too narrow names are folded; in a file or a pipe it is as wide as it is."""
    if not console.is_terminal:
        needed = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
        console = Console(file=console.file, width=needed, markup=False)
    console.print(table, "")


def _add_columns(table: Table, headings: Iterable[str], named: str = "model") -> None:
    """Add the columns of a table: names to the left, numbers to the right and whole."""
    for heading in headings:
        if heading == named:
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True)


def _table1(c: Comparison, study: str) -> Table:
    table = Table(
        title=f"Table I: study {study}, {', '.join(c.in_common)}",
        caption="means over the held-out folds; intervals, corrected for shared training images, are each model's "
        "own: what ranks models are the differences",
        **STYLE,
    )
    _add_columns(table, ("", "model", "parameters", "accuracy %", "95% interval", "cross-entropy", "folds"))
    for i, model in enumerate(c.models):
        table.add_row(
            str(i + 1),
            model,
            f"{c.parameters(i):,}",
            f"{100 * c.accuracies[i].mean():.2f}",
            interval(c.accuracy_low[i], c.accuracy_high[i]),
            f"{c.cross_entropies[i].mean():.3f}",
            str(c.accuracies.shape[1]),
            style="bold" if i == c.chosen else None,
        )
    return table


def _eliminated(c: Comparison) -> Table:
    table = Table(
        title=f"Eliminated before the last fold; beside {c.models[c.chosen]} on the folds that both have",
        caption="leads of the chosen one in points; intervals, corrected for shared images, are each pair's own",
        **STYLE,
    )
    _add_columns(table, ("model", "folds", "accuracy %", "behind by", "95% interval", "chance to overtake"))
    for e in c.eliminated:
        table.add_row(
            e.model, str(e.folds), f"{100 * e.accuracy:.2f}", f"{100 * e.lead:.1f}",
            interval(e.ci_low, e.ci_high), f"{e.chance:.2g}",
        )  # fmt: skip
    return table


def _decisions(c: Comparison) -> Table:
    """What the models differ in besides their networks."""
    table = Table(title="What differs besides the network", **STYLE)
    for heading in ("", "model", *c.decisions):
        table.add_column(heading, justify="right" if heading == "" else "left", no_wrap=True)
    for i, model in enumerate(c.models):
        table.add_row(str(i + 1), model, *(values[i] for values in c.decisions.values()))
    return table


def _matrix(c: Comparison, matrix: np.ndarray, title: str, mark: np.ndarray | None = None) -> Table:
    """A square matrix in percentage points, columns by number so that eight of them fit a terminal."""
    table = Table(title=title, **STYLE)
    _add_columns(table, ("", "model", *(str(i + 1) for i in range(len(c.models)))))
    for i, model in enumerate(c.models):
        cells = [Text(f"{100 * value:+.1f}") for value in matrix[i]]
        if mark is not None:
            cells[mark[i]] = Text(f"{cells[mark[i]]}*", style="bold green")
        table.add_row(str(i + 1), model, *cells)
    return table
