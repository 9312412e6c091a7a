"""A figure of what a classifier gets wrong."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.special import softmax


@matplotlib.rc_context({"text.parse_math": False})  # a dollar in the name of a class is a dollar
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
    figure = Figure(figsize=(columns * 1.6, rows * 2))
    axes = figure.add_axes((0, 0, 1, 1))  # one for all: axes of their own would take longer than a short training
    axes.axis("off")
    for place, i in enumerate(worst):
        row, column = divmod(place, columns)
        axes.imshow(
            images[i].transpose(1, 2, 0), extent=(column + 0.08, column + 0.92, row + 0.95, row + 0.28), aspect="auto"
        )
        certainty = probabilities[i, predicted[i]]
        text = f"{class_names[predicted[i]]} {certainty:.0%}\nis {class_names[labels[i]]}"
        axes.text(column + 0.5, row + 0.25, text, fontsize=8, horizontalalignment="center")
    axes.set(xlim=(0, columns), ylim=(rows, 0))  # drawing an image has moved them
    return figure
