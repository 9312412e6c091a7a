"""Figures of runs and studies."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import softmax

from cifar100x.report.tables import Comparison
from cifar100x.runs import replacing


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


def accuracy_by_fold(results: Comparison) -> Figure:
    """Show the accuracy of every model on every fold, the folds joined, and the mean with its corrected interval."""
    figure = Figure(figsize=(1.6 + 1.1 * len(results.models), 4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(results.models))
    percent = 100 * results.accuracies
    for fold in percent.T:
        axes.plot(places, fold, color="0.75", linewidth=0.8, marker="o", markersize=3, zorder=1)
    mean = percent.mean(axis=1)
    interval = np.abs(100 * np.stack([results.accuracy_low, results.accuracy_high]) - mean)
    colours = ["tab:green" if i == results.chosen else "tab:blue" for i in places]
    for place, value, below_above, colour in zip(places, mean, interval.T, colours, strict=True):
        axes.errorbar(place, value, below_above[:, None], fmt="none", ecolor=colour, capsize=4, zorder=2)
    axes.scatter(places, mean, c=colours, zorder=3)
    for place, value in zip(places, mean, strict=True):
        axes.annotate(f"{value:.1f}", (place, value), (7, 4), textcoords="offset points", fontsize=9)
    axes.margins(x=0.08)
    axes.set_xticks(places, results.models)
    axes.set_ylabel("accuracy on held-out images, %")
    axes.set_title(
        f"Each grey line is one fold; bars are 95% intervals. Chosen: {results.models[results.chosen]}", fontsize=10
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def write(figure: Figure, path: Path) -> Path:
    """Write a figure in the format that its suffix names; return the path."""
    with replacing(path, "wb") as file:
        figure.savefig(file, format=path.suffix[1:], dpi=150)
    return path
