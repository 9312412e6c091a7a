"""Figures of what is taken for what."""

import numpy as np
from matplotlib.figure import Figure

from cifar100x.data.classes import Classes
from cifar100x.report.numbers import percent
from cifar100x.report.plot import GREY, Plot, draw_matrix, plain, shares, write_cells
from cifar100x.runs.result import Look, Predictions
from cifar100x.verdict.comparison import Comparison, confusion_counts

MOST_NAMES = 40  # that fit an axis
ROWS, COLUMNS = 5, 4  # of pairs on the page


def confusion(c: Comparison) -> Plot:
    """The confusion matrix of the chosen model on the held-out images (the paper's Fig. 1)."""
    who = f"What {c.models[c.chosen]} takes for what, all folds together"
    return _confusion("confusion", who, c.classes, c.labels, c.predicted[c.chosen])


def test_confusion(look: Look, predictions: Predictions, classes: Classes) -> Plot:
    """The same of the final network on the test split."""
    who = f"What {look.model}, trained on all images, takes for what in the test split"
    return _confusion("test-confusion", who, classes, predictions.label, predictions.logits.argmax(axis=1))


def _confusion(name: str, who: str, classes: Classes, labels: np.ndarray, predicted: np.ndarray) -> Plot:
    """A confusion matrix, ruled by superclass where there are any."""
    of = np.array(classes.superclass_of if classes.superclasses else range(len(classes)), int)
    order = np.argsort(of, kind="stable")
    counts = confusion_counts(labels, predicted, len(classes))[np.ix_(order, order)]
    figure = Figure(figsize=(9, 8.4), layout="constrained")
    axes = figure.subplots()
    draw_matrix(axes, shares(counts), figure)
    sizes = np.bincount(of)
    if classes.superclasses:
        for edge in sizes.cumsum()[:-1]:
            axes.axhline(edge - 0.5, color=GREY, linewidth=0.4)
            axes.axvline(edge - 0.5, color=GREY, linewidth=0.4)
    names = plain(classes.superclasses or classes.names)
    if len(names) <= MOST_NAMES:
        centres = sizes.cumsum() - (sizes + 1) / 2
        axes.set_xticks(centres, names, rotation=90, fontsize=8)
        axes.set_yticks(centres, names, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    listed = [classes.names[i] for i in order]
    right = f"{percent((predicted == labels).mean())} are taken for what they are."
    return Plot(
        name,
        f"{who}: share of each true class (a row) by predicted class"
        f"{', the classes of a superclass side by side' if classes.superclasses else ''}.",
        _inside(labels, predicted, of, sizes) if classes.superclasses else right,
        figure,
        [("true \\ predicted", *listed), *((name, *row) for name, row in zip(listed, counts.tolist(), strict=True))],
    )


def _inside(labels: np.ndarray, predicted: np.ndarray, of: np.ndarray, sizes: np.ndarray) -> str:
    wrong = predicted != labels
    if not wrong.any():
        return "There are no errors."
    inside = (of[predicted] == of[labels])[wrong].mean()
    by_chance = (sizes[of] - 1).mean() / (len(of) - 1)
    return f"{percent(inside)} of the errors stay inside the superclass; by chance it would be {percent(by_chance)}."


def superclass_confusion(c: Comparison) -> Plot:
    """The confusion matrix of the chosen model summed to the superclasses."""
    of, superclasses = np.array(c.classes.superclass_of), c.classes.superclasses
    counts = confusion_counts(of[c.labels], of[c.predicted[c.chosen]], len(superclasses))
    of_rows = shares(counts)
    figure = Figure(figsize=(9, 8.4), layout="constrained")
    axes = figure.subplots()
    draw_matrix(axes, of_rows, figure)
    write_cells(axes, of_rows, least=0.005)
    axes.set_xticks(range(len(superclasses)), plain(superclasses), rotation=90, fontsize=8)
    axes.set_yticks(range(len(superclasses)), plain(superclasses), fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    names, kept = plain(superclasses), np.diag(of_rows)
    easiest, hardest = np.nanargmax(kept), np.nanargmin(kept)
    return Plot(
        "superclass-confusion",
        f"The same, summed to superclasses: percent of the images of a row's superclass that {c.models[c.chosen]} puts "
        "into a column's.",
        f"Best kept: {names[easiest]}, {percent(of_rows[easiest, easiest])}; worst: {names[hardest]}, "
        f"{percent(of_rows[hardest, hardest])}.",
        figure,
        [("true \\ predicted", *superclasses)]
        + [(name, *row) for name, row in zip(superclasses, counts.tolist(), strict=True)],
    )


def confused_pairs(c: Comparison, images: np.ndarray) -> Plot:
    """The class pairs that the chosen model confuses most, with the surest wrong image each way.

    Args:
        c: the comparison.
        images: uint8 (N, 3, 32, 32), of the whole split.
    """
    predicted, confidences = c.predicted[c.chosen], c.confidences[c.chosen]
    counts = c.confusion(c.chosen)
    both = np.triu(counts + counts.T, k=1)
    most = np.argsort(-both, axis=None, kind="stable")[: ROWS * COLUMNS]
    first, second = np.unravel_index(most[both.flat[most] > 0], both.shape)
    figure = Figure(figsize=(2.6 * COLUMNS, 1.75 * ROWS), layout="constrained")
    cells = figure.subplots(ROWS, 2 * COLUMNS, squeeze=False)
    for axes in cells.flat:
        axes.axis("off")
    classes, table = plain(c.classes.names), []
    for place, (a, b) in enumerate(zip(first, second, strict=True)):
        for side, (true, wrong) in enumerate(((a, b), (b, a))):
            axes = cells[place // COLUMNS, 2 * (place % COLUMNS) + side]
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
        f"Most confused: {', '.join(f'{a} with {b} ({ab + ba} times)' for a, b, ab, ba in table[:3])}."
        if table
        else "There are no errors.",
        figure,
        [("class_a", "class_b", "a_taken_for_b", "b_taken_for_a"), *table],
    )
