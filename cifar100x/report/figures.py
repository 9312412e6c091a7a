"""Figures of runs and studies, each with its caption, a text alternative and its numbers."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import softmax

from cifar100x.classes import CLASSES, COARSE_OF_FINE, SUPERCLASSES
from cifar100x.comparison import Comparison
from cifar100x.report.tables import write_csv
from cifar100x.runs import replacing

BLUE, GREEN, GREY, ORANGE = "#3b78b5", "#2f9e5f", "#9a9a9a", "#d9822b"  # legible on white and on black
BY_SUPERCLASS = np.argsort(COARSE_OF_FINE, kind="stable")
"""The classes in the order of their superclasses."""
FEWEST_IN_BIN = 10
SVG: Any = {"svg.fonttype": "none", "svg.hashsalt": "cifar100x"}  # text stays text; equal figures give equal files


@dataclass(frozen=True)
class Plot:
    """A figure for people, its numbers for programs, and words for those who cannot see it.

    Args:
        name: of its files.
        caption: what it shows and how to read it.
        alternative: what a reader would learn from it.
        figure: the drawing.
        rows: the numbers in it, headings first.
    """

    name: str
    caption: str
    alternative: str
    figure: Figure
    rows: Sequence[Sequence[Any]]

    @cached_property
    def svg(self) -> str:
        """The drawing as SVG on a transparent ground."""
        file = io.StringIO()
        with matplotlib.rc_context(SVG):
            self.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        return file.getvalue()

    def write(self, folder: Path) -> list[Path]:
        """Write NAME.svg and NAME.csv; return their paths."""
        path = folder / f"{self.name}.svg"
        with replacing(path) as file:
            file.write(self.svg)
        return [path, write_csv(folder / f"{self.name}.csv", self.rows)]


def percent(fraction: float) -> str:
    """A fraction as people read it."""
    return f"{100 * fraction:.1f}%"


def of_comparison(c: Comparison, images: np.ndarray | None) -> list[Plot]:
    """All figures of a comparison; the one that shows images only where there are any, the forest only with pairs."""
    plots = [
        accuracy_by_fold(c), confusion(c), superclass_confusion(c), learning_curves(c), superclass_accuracy(c),
        reliability(c),
    ]  # fmt: skip
    if c.pairs:
        plots.append(differences(c))
    if images is not None:
        plots.append(confused_pairs(c, images))
    return plots


def accuracy_by_fold(c: Comparison) -> Plot:
    """The accuracy of every model on every fold, and the mean with its corrected interval."""
    figure = Figure(figsize=(1.6 + 1.1 * len(c.models), 4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(c.models))
    for fold in 100 * c.accuracies.T:
        axes.plot(places, fold, color=GREY, alpha=0.6, linewidth=0.8, marker="o", markersize=3, zorder=1)
    mean = 100 * c.accuracies.mean(axis=1)
    interval = np.abs(100 * np.stack([c.accuracy_low, c.accuracy_high]) - mean)
    colours = [GREEN if i == c.chosen else BLUE for i in places]
    for place, value, below_above, colour in zip(places, mean, interval.T, colours, strict=True):
        axes.errorbar(place, value, below_above[:, None], fmt="none", ecolor=colour, capsize=4, zorder=2)
        axes.annotate(f"{value:.1f}", (place, value), (7, 4), textcoords="offset points", fontsize=9)
    axes.scatter(places, mean, c=colours, zorder=3)
    axes.margins(x=0.08)
    axes.set_xticks(places, c.models)
    axes.set_ylabel("accuracy on held-out images, %")
    _bare(axes)
    return Plot(
        "accuracy",
        "Accuracy on the held-out images. Grey lines join the same fold; bars are 95% intervals of the mean, corrected "
        f"for the training images that folds share. {c.models[c.chosen]} is chosen.",
        f"The means run from {mean.min():.1f}% to {mean.max():.1f}%.",
        figure,
        [("model", *(f"fold{k}" for k in range(c.accuracies.shape[1])), "mean", "low", "high")]
        + [
            (model, *c.accuracies[i], c.accuracies[i].mean(), c.accuracy_low[i], c.accuracy_high[i])
            for i, model in enumerate(c.models)
        ],
    )


def differences(c: Comparison) -> Plot:
    """A forest plot: every pairwise difference with its corrected interval."""
    pairs = sorted(c.pairs, key=lambda p: abs(p.difference))
    figure = Figure(figsize=(7.5, 1 + 0.26 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-100 * c.rope, 100 * c.rope, color=GREY, alpha=0.25, linewidth=0)
    axes.axvline(0, color=GREY, linewidth=0.8)
    labels, rows = [], []
    for place, p in enumerate(pairs):
        sign = 1 if p.difference >= 0 else -1
        low, middle, high = sorted(100 * sign * v for v in (p.ci_low, p.difference, p.ci_high))
        better, worse = (p.model_a, p.model_b)[::sign]
        colour = GREEN if p.p_holm < 0.05 else BLUE if p.p < 0.05 else ORANGE
        axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
        axes.plot(middle, place, "o", color=colour, markersize=4)
        labels.append(f"{better} − {worse}")
        rows.append((better, worse, middle / 100, low / 100, high / 100, p.p, p.p_holm))
    axes.set_yticks(range(len(pairs)), labels, fontsize=8)
    axes.set_ylim(-0.7, len(pairs) - 0.3)
    axes.set_xlabel("difference of accuracy, points")
    _bare(axes)
    proven = sum(p.p_holm < 0.05 for p in pairs)
    return Plot(
        "forest",
        "Every pairwise difference with its corrected 95% interval, smallest at the bottom. Green stands after Holm's "
        "correction for the number of pairs, blue only without it, orange not at all; the grey band is the region of "
        f"practical equivalence, ±{100 * c.rope:g} points.",
        f"{proven} of {len(pairs)} differences stand after both corrections.",
        figure,
        [("better", "worse", "difference", "low", "high", "p", "p_holm"), *reversed(rows)],
    )


def confusion(c: Comparison) -> Plot:
    """The 100x100 confusion matrix of the chosen model, ruled by superclass (the paper's Fig. 1)."""
    counts = c.confusion(c.chosen)[np.ix_(BY_SUPERCLASS, BY_SUPERCLASS)]
    figure = Figure(figsize=(9, 8.4), layout="constrained")
    axes = figure.subplots()
    _matrix(axes, _shares(counts), figure)
    size = len(CLASSES) // len(SUPERCLASSES)
    for edge in range(size, len(CLASSES), size):
        axes.axhline(edge - 0.5, color=GREY, linewidth=0.4)
        axes.axvline(edge - 0.5, color=GREY, linewidth=0.4)
    centres = np.arange(len(SUPERCLASSES)) * size + (size - 1) / 2
    axes.set_xticks(centres, _plain(SUPERCLASSES), rotation=90, fontsize=8)
    axes.set_yticks(centres, _plain(SUPERCLASSES), fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    wrong = c.predicted[c.chosen] != c.labels
    coarse = np.array(COARSE_OF_FINE)
    inside = (coarse[c.predicted[c.chosen]] == coarse[c.labels])[wrong].mean() if wrong.any() else 0.0
    by_chance = (size - 1) / (len(CLASSES) - 1)
    names = [CLASSES[i] for i in BY_SUPERCLASS]
    return Plot(
        "confusion",
        f"What {c.models[c.chosen]} takes for what, all folds together: share of each true class (a row) by predicted "
        "class, the five classes of a superclass side by side.",
        f"{percent(inside)} of the errors stay inside the superclass; by chance it would be {percent(by_chance)}.",
        figure,
        [("true \\ predicted", *names), *((name, *row) for name, row in zip(names, counts.tolist(), strict=True))],
    )


def superclass_confusion(c: Comparison) -> Plot:
    """The confusion matrix of the chosen model summed to the 20 superclasses."""
    of = np.array(COARSE_OF_FINE)
    counts = np.zeros((len(SUPERCLASSES), len(SUPERCLASSES)), int)
    np.add.at(counts, (of[c.labels], of[c.predicted[c.chosen]]), 1)
    shares = _shares(counts)
    figure = Figure(figsize=(9, 8.4), layout="constrained")
    axes = figure.subplots()
    _matrix(axes, shares, figure)
    _write_cells(axes, shares, least=0.005)
    axes.set_xticks(range(len(SUPERCLASSES)), _plain(SUPERCLASSES), rotation=90, fontsize=8)
    axes.set_yticks(range(len(SUPERCLASSES)), _plain(SUPERCLASSES), fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    names, kept = _plain(SUPERCLASSES), np.diag(shares)
    easiest, hardest = np.nanargmax(kept), np.nanargmin(kept)
    return Plot(
        "superclass-confusion",
        f"The same, summed to superclasses: percent of the images of a row's superclass that {c.models[c.chosen]} puts "
        "into a column's.",
        f"Best kept: {names[easiest]}, {percent(shares[easiest, easiest])}; worst: {names[hardest]}, "
        f"{percent(shares[hardest, hardest])}.",
        figure,
        [("true \\ predicted", *SUPERCLASSES)]
        + [(name, *row) for name, row in zip(SUPERCLASSES, counts.tolist(), strict=True)],
    )


def confused_pairs(c: Comparison, images: np.ndarray, rows: int = 5, columns: int = 4) -> Plot:
    """The class pairs that the chosen model confuses most, with the surest wrong image each way.

    Args:
        c: the comparison.
        images: uint8 (N, 3, 32, 32), of the whole split.
        rows: pairs down the page.
        columns: pairs across.
    """
    predicted, confidences = c.predicted[c.chosen], c.confidences[c.chosen]
    counts = c.confusion(c.chosen)
    both = np.triu(counts + counts.T, k=1)
    first, second = np.unravel_index(np.argsort(-both, axis=None, kind="stable")[: rows * columns], both.shape)
    figure = Figure(figsize=(2.6 * columns, 1.75 * rows), layout="constrained")
    cells = figure.subplots(rows, 2 * columns, squeeze=False)
    classes, table = _plain(CLASSES), []
    for place, (a, b) in enumerate(zip(first, second, strict=True)):
        for side, (true, wrong) in enumerate(((a, b), (b, a))):
            axes = cells[place // columns, 2 * (place % columns) + side]
            axes.axis("off")
            such = np.flatnonzero((c.labels == true) & (predicted == wrong))
            if len(such):
                surest = such[confidences[such].argmax()]
                axes.imshow(images[c.index[surest]].transpose(1, 2, 0), interpolation="nearest")
            axes.set_title(f"{classes[true]}\n→ {classes[wrong]}: {counts[true, wrong]}", fontsize=7)
        table.append((classes[a], classes[b], counts[a, b], counts[b, a]))
    return Plot(
        "confused-pairs",
        f"The {len(table)} pairs of classes that {c.models[c.chosen]} confuses most, how often each way, and the wrong "
        "image it was surest of.",
        f"Most confused: {', '.join(f'{a} with {b} ({ab + ba} times)' for a, b, ab, ba in table[:3])}.",
        figure,
        [("class_a", "class_b", "a_taken_for_b", "b_taken_for_a"), *table],
    )


def learning_curves(c: Comparison) -> Plot:
    """Accuracy and cross-entropy by epoch, mean and range of the folds (the paper's Fig. 2)."""
    columns = min(4, len(c.models))
    bands = -(-len(c.models) // columns)
    figure = Figure(figsize=(1 + 2.3 * columns, 4.4 * bands), layout="constrained")
    panels = figure.subplots(2 * bands, columns, sharex=True, squeeze=False)
    for kind in (0, 1):
        for axes in panels[kind::2].flat:
            axes.sharey(panels[kind, 0])
    for axes in panels.T.reshape(columns, bands, 2).swapaxes(0, 1).reshape(-1, 2)[len(c.models) :].flat:
        axes.axis("off")
    rows: list[tuple[Any, ...]] = []
    for i, (model, runs) in enumerate(zip(c.models, c.runs, strict=True)):
        histories = [run.history for run in runs]
        epochs = [row["epoch"] for row in histories[0]]
        for j, metric in enumerate(("accuracy", "cross_entropy")):
            axes = panels[2 * (i // columns) + j, i % columns]
            axes.set_title(f"{model}: {metric.replace('_', '-')}", fontsize=9)
            for stage, colour in (("train", ORANGE), ("val", BLUE)):
                values = np.array([[row[f"{stage}_{metric}"] for row in history] for history in histories])
                low, mean, high = values.min(axis=0), values.mean(axis=0), values.max(axis=0)
                axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
                axes.plot(epochs, mean, color=colour, linewidth=1.4, label=stage)
                rows += [(model, metric, stage, *values) for values in zip(epochs, mean, low, high, strict=True)]
            _bare(axes)
    figure.supxlabel("epoch", fontsize=10)
    panels[1, 0].set_yscale("log")
    for set_formatter in (panels[1, 0].yaxis.set_major_formatter, panels[1, 0].yaxis.set_minor_formatter):
        set_formatter("{x:g}")
    panels[0, 0].legend(frameon=False, fontsize=8)
    last = [(model, runs[0].metrics) for model, runs in zip(c.models, c.runs, strict=True)]
    widest = max(last, key=lambda m: m[1]["train"]["accuracy"] - m[1]["val"]["accuracy"])
    gap = widest[1]["train"]["accuracy"] - widest[1]["val"]["accuracy"]
    return Plot(
        "learning-curves",
        "Learning curves: mean over the folds and their range, on the training images (while they were trained on) and "
        "on the held-out ones.",
        f"The gap between training and held-out accuracy is widest for {widest[0]}: {100 * gap:.0f} points on fold 0.",
        figure,
        [("model", "metric", "stage", "epoch", "mean", "low", "high"), *rows],
    )


def superclass_accuracy(c: Comparison) -> Plot:
    """The accuracy of every model in every superclass."""
    order = np.argsort(-c.superclass_accuracies[c.chosen], kind="stable")
    values = c.superclass_accuracies[:, order].T
    names = _plain([SUPERCLASSES[i] for i in order])
    figure = Figure(figsize=(3.2 + 0.85 * len(c.models), 6.4), layout="constrained")
    axes = figure.subplots()
    _matrix(axes, values, figure)
    _write_cells(axes, values)
    axes.set_xticks(range(len(c.models)), c.models, rotation=30, ha="right", fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    return Plot(
        "superclasses",
        f"Accuracy (fine classes) in each superclass, percent, ordered by {c.models[c.chosen]}.",
        f"Easiest for {c.models[c.chosen]}: {names[0]}, {percent(values[0, c.chosen])}; hardest: {names[-1]}, "
        f"{percent(values[-1, c.chosen])}.",
        figure,
        [("superclass", *c.models), *((name, *row) for name, row in zip(names, values.tolist(), strict=True))],
    )


def reliability(c: Comparison) -> Plot:
    """Confidence against accuracy of every model."""
    columns = min(4, len(c.models))
    lines = -(-len(c.models) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.5 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    rows: list[tuple[Any, ...]] = []
    for axes in panels.flat[len(c.models) :]:
        axes.axis("off")
    for axes, model, calibration in zip(panels.flat, c.models, c.calibrations, strict=False):
        count, confidence, accuracy = calibration.reliability.T
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        enough = count >= FEWEST_IN_BIN
        axes.plot(confidence[enough], accuracy[enough], color=BLUE, marker="o", markersize=3, linewidth=1.2)
        axes.set_title(f"{model}: {calibration.error:.2f}", fontsize=9)
        _bare(axes)
        rows += [(model, *bin_) for bin_ in zip(count.astype(int), confidence, accuracy, strict=True)]
    figure.supxlabel("confidence", fontsize=10)
    figure.supylabel("accuracy", fontsize=10)
    errors = [calibration.error for calibration in c.calibrations]
    worst, best = int(np.argmax(errors)), int(np.argmin(errors))
    return Plot(
        "reliability",
        f"How sure the models are against how often they are right, in bins of at least {FEWEST_IN_BIN} images; on the "
        "grey line confidence could be believed. The number is the expected calibration error.",
        f"Farthest off: {c.models[worst]}, {c.calibrations[worst].error:.2f}; nearest: {c.models[best]}, "
        f"{c.calibrations[best].error:.2f}.",
        figure,
        [("model", "count", "confidence", "accuracy"), *rows],
    )


def most_confident_errors(
    images: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray,
    class_names: Sequence[str],
    rows: int = 4,
    columns: int = 6,
) -> Figure:
    """Show the images whose wrong prediction has the highest probability, most confident first.

    Args:
        images: uint8 (N, 3, 32, 32).
        labels: (N,) true classes.
        logits: (N, C).
        class_names: C names.
        rows: images down the page.
        columns: images across.
    """
    probabilities = softmax(logits, axis=1)
    predicted = logits.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][: rows * columns]
    figure = Figure(figsize=(columns * 1.6, rows * 2), layout="constrained")
    for axes, i in zip(figure.subplots(rows, columns).flat, [*worst, *[None] * (rows * columns)], strict=False):
        axes.axis("off")
        if i is not None:
            axes.imshow(images[i].transpose(1, 2, 0))
            certainty = probabilities[i, predicted[i]]
            axes.set_title(f"{class_names[predicted[i]]} {certainty:.0%}\nis {class_names[labels[i]]}", fontsize=8)
    return figure


def _shares(counts: np.ndarray) -> np.ndarray:
    """Counts as shares of their row; a row without any is nan."""
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(axis=1, keepdims=True)


def _matrix(axes: Axes, values: np.ndarray, figure: Figure) -> None:
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=max(0.01, float(np.nanmax(values))), aspect="auto")
    figure.colorbar(image, ax=axes, shrink=0.5, format=lambda share, _: f"{100 * share:.0f}%")


def _write_cells(axes: Axes, values: np.ndarray, least: float = 0.0) -> None:
    """Write shares as percent into the cells of a matrix, light on dark and dark on light."""
    middle = np.nanmax(values) / 2
    for (i, j), value in np.ndenumerate(values):
        if value >= least:
            colour = "white" if value > middle else "#333333"
            axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color=colour)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _plain(names: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]
