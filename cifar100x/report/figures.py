"""Figures of a comparison."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy import special

from cifar100x.report.confusions import confused_pairs, confusion, superclass_confusion, test_confusion
from cifar100x.report.numbers import percent
from cifar100x.report.plot import BLUE, GREEN, GREY, NARROWEST, ORANGE, Plot, bare, draw_matrix, plain, write_cells
from cifar100x.runs.result import Look, Predictions
from cifar100x.verdict import calibration
from cifar100x.verdict.comparison import Comparison
from cifar100x.verdict.pairs import Outcome

FEWEST_IN_BIN = 10
MANY_MODELS = 12  # from here on, names are turned and only some points have one
MOST_PAIRS = 45  # that a figure shows; of more, those with the baseline, or else with the chosen model


@matplotlib.rc_context({"text.parse_math": False})  # a dollar in the name of a class is a dollar
def of_comparison(c: Comparison, images: np.ndarray | None, look: Look | None) -> list[Plot]:
    """All figures of a comparison, as far as there are images, pairs, superclasses and a look at the test split."""
    plots = [accuracy_by_fold(c), confusion(c), learning_curves(c), reliability(c)]
    if c.operations is not None:
        plots.append(cost(c, c.operations))
    if c.classes.superclasses:
        plots += [superclass_confusion(c), superclass_accuracy(c)]
    if c.pairs:
        plots.append(differences(c))
    if images is not None:
        plots.append(confused_pairs(c, images))
    if look and look.predictions:
        plots += [test_confusion(look, look.predictions, c.classes), test_reliability(look, look.predictions)]
    return plots


def accuracy_by_fold(c: Comparison) -> Plot:
    """The accuracy of every model on every fold, and the mean with its corrected interval."""
    many = len(c.models) > MANY_MODELS
    width = max(NARROWEST, 1.6 + (0.3 if many else 1.1) * len(c.models))
    verdict = (
        "Grey lines join the same fold; bars are 95% intervals of each mean alone, corrected for the training images "
        "that folds share: models saw the same folds, so what ranks them are the intervals of their differences. "
        f"{c.models[c.chosen]} is chosen."
        if c.accuracies.shape[1] > 1
        else f"There is one fold: nothing is decided, and {c.models[c.chosen]} has the highest accuracy on it."
    )
    figure = Figure(figsize=(width, 5 if many else 4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(c.models))
    for fold in 100 * c.accuracies.T:
        axes.plot(places, fold, color=GREY, alpha=0.6, linewidth=0.8, marker="o", markersize=3, zorder=1)
    mean = 100 * c.accuracies.mean(axis=1)
    interval = np.abs(100 * np.stack([c.accuracy_low, c.accuracy_high]) - mean)
    colours = [GREEN if i == c.chosen else BLUE for i in places]
    for place, value, below_above, colour in zip(places, mean, interval.T, colours, strict=True):
        if np.isfinite(below_above).all():
            axes.errorbar(place, value, below_above[:, None], fmt="none", ecolor=colour, capsize=4, zorder=2)
        if not many:
            axes.annotate(f"{value:.1f}", (place, value), (7, 4), textcoords="offset points", fontsize=9)
    axes.scatter(places, mean, c=colours, zorder=3)
    axes.margins(x=0.08)
    axes.set_xticks(places, c.models, rotation=90 if many else 0, fontsize=8 if many else 10)
    axes.set_ylabel("accuracy on held-out images, %")
    bare(axes)
    return Plot(
        "accuracy",
        f"Accuracy on the held-out images. {verdict}",
        f"The means run from {mean.min():.1f}% to {mean.max():.1f}%.",
        figure,
        [("model", *(f"fold{k}" for k in range(c.accuracies.shape[1])), "mean", "low", "high")]
        + [
            (model, *c.accuracies[i], c.accuracies[i].mean(), c.accuracy_low[i], c.accuracy_high[i])
            for i, model in enumerate(c.models)
        ],
    )


def cost(c: Comparison, operations: np.ndarray) -> Plot:
    """The accuracy of every model against what its training cost, and the frontier that no other model passes."""
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots()
    mean = 100 * c.accuracies.mean(axis=1)
    by_cost = np.lexsort((-mean, operations))
    best = np.maximum.accumulate(mean[by_cost])
    frontier = [i for i, so_far in zip(by_cost, best, strict=True) if mean[i] == so_far]
    frontier = [i for place, i in enumerate(frontier) if not place or mean[i] > mean[frontier[place - 1]]]
    axes.plot(operations[frontier], mean[frontier], color=GREY, linewidth=1, drawstyle="steps-post", zorder=1)
    for i, model in enumerate(c.models):
        colour = GREEN if i == c.chosen else BLUE if i in frontier else ORANGE
        axes.plot(operations[i], mean[i], "o", color=colour, zorder=2)
        if len(c.models) <= MANY_MODELS or i in frontier or i == c.chosen:
            beside = np.abs(np.log10(operations / operations[i])) < 0.4
            below = (beside & (mean > mean[i]) & (mean < mean[i] + 0.08 * np.ptp(mean))).any()  # a name stands above
            offset = (5, -11 if below else 4)
            axes.annotate(model, (operations[i], mean[i]), offset, textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.18)
    axes.set_xlabel("operations of one training")
    axes.set_ylabel("accuracy on held-out images, %")
    bare(axes)
    seconds = [np.mean([result.metrics["train_seconds"] for result in results]) for results in c.results]
    return Plot(
        "cost",
        "Accuracy against cost. On the grey line lie the models that none beats with fewer operations; a "
        f"multiplication and an addition are two. {c.models[c.chosen]} is in green.",
        f"On the frontier: {', '.join(c.models[i] for i in frontier)}.",
        figure,
        [("model", "parameters", "training_operations", "train_seconds", "accuracy", "on_frontier")]
        + [
            (model, c.parameters(i), operations[i], seconds[i], mean[i] / 100, i in frontier)
            for i, model in enumerate(c.models)
        ],
    )


def differences(c: Comparison) -> Plot:
    """A forest plot: every pairwise difference with its corrected interval."""
    focus = c.terms.baseline or c.models[c.chosen]
    shown = c.pairs if len(c.pairs) <= MOST_PAIRS else [p for p in c.pairs if focus in (p.model_a, p.model_b)]
    which = "Every pairwise difference" if shown is c.pairs else f"The differences between {focus} and all others"
    pairs = sorted(shown, key=lambda p: abs(p.difference))
    figure = Figure(figsize=(7.5, 1 + 0.26 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-100 * c.terms.rope, 100 * c.terms.rope, color=GREY, alpha=0.25, linewidth=0)
    axes.axvline(0, color=GREY, linewidth=0.8)
    labels, rows = [], []
    for place, p in enumerate(pairs):
        sign = 1 if p.difference >= 0 else -1
        low, middle, high = sorted(100 * sign * v for v in (p.ci_low, p.difference, p.ci_high))
        better, worse = (p.model_a, p.model_b)[::sign]
        colour = GREEN if p.better else BLUE if p.outcome == Outcome.EQUIVALENT else ORANGE
        axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
        axes.plot(middle, place, "o", color=colour, markersize=4)
        labels.append(f"{better} − {worse}")
        rows.append((better, worse, middle / 100, low / 100, high / 100, p.p, p.p_holm, p.outcome))
    axes.set_yticks(range(len(pairs)), labels, fontsize=8)
    axes.set_ylim(-0.7, len(pairs) - 0.3)
    axes.set_xlabel("difference of accuracy, points")
    bare(axes)
    return Plot(
        "forest",
        f"{which}{' with its corrected 95% interval' if c.accuracies.shape[1] > 1 else ''}, smallest at the bottom. "
        "In green pairs one is better, also "
        f"after Holm's adjustment for {c.num_tests} tests; blue ones are equivalent, within the grey band of "
        f"±{100 * c.terms.rope:g} points; orange ones are undecided or were not to be tested.",
        f"One is better in {sum(p.better is not None for p in c.pairs)} of {c.num_tested} tested pairs.",
        figure,
        [("better", "worse", "difference", "low", "high", "p", "p_holm", "outcome"), *reversed(rows)],
    )


def learning_curves(c: Comparison) -> Plot:
    """Accuracy and cross-entropy by epoch, mean and range of the folds (the paper's Fig. 2)."""
    columns = min(4, len(c.models))
    bands = -(-len(c.models) // columns)
    figure = Figure(figsize=(max(NARROWEST, 1 + 2.3 * columns), 4.4 * bands), layout="constrained")
    panels = figure.subplots(2 * bands, columns, sharex=True, squeeze=False)
    for kind in (0, 1):
        for axes in panels[kind::2].flat:
            axes.sharey(panels[kind, 0])
    for axes in panels.T.reshape(columns, bands, 2).swapaxes(0, 1).reshape(-1, 2)[len(c.models) :].flat:
        axes.axis("off")
    rows: list[tuple[Any, ...]] = []
    for i, (model, results) in enumerate(zip(c.models, c.results, strict=True)):
        histories = [result.history for result in results]
        epochs = [row["epoch"] for row in histories[0]]
        for j, metric in enumerate(("accuracy", "cross_entropy")):
            axes = panels[2 * (i // columns) + j, i % columns]
            axes.set_title(f"{model}: {metric.replace('_', '-')}", fontsize=9)
            for stage, colour in (("train", ORANGE), ("val", BLUE)):
                values = np.array([[row[f"{stage}_{metric}"] for row in history] for history in histories])
                low, mean, high = values.min(axis=0), values.mean(axis=0), values.max(axis=0)
                axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
                marker = "o" if len(epochs) == 1 else None  # a line needs two points
                axes.plot(epochs, mean, color=colour, linewidth=1.4, marker=marker, label=stage)
                rows += [(model, metric, stage, *values) for values in zip(epochs, mean, low, high, strict=True)]
            bare(axes)
    figure.supxlabel("epoch", fontsize=10)
    panels[1, 0].set_yscale("log")
    for set_formatter in (panels[1, 0].yaxis.set_major_formatter, panels[1, 0].yaxis.set_minor_formatter):
        set_formatter("{x:g}")
    panels[0, 0].legend(frameon=False, fontsize=8)
    last = [(model, results[0].metrics) for model, results in zip(c.models, c.results, strict=True)]
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
    names = plain([c.classes.superclasses[i] for i in order])
    last = np.flatnonzero(np.isfinite(values[:, c.chosen]))[-1]  # those without held-out images are sorted to the end
    many = len(c.models) > MANY_MODELS
    width = max(NARROWEST, 3.2 + (0.5 if many else 0.85) * len(c.models))
    figure = Figure(figsize=(width, 6.4), layout="constrained")
    axes = figure.subplots()
    draw_matrix(axes, values, figure)
    write_cells(axes, values)
    axes.set_xticks(range(len(c.models)), c.models, rotation=90 if many else 30, ha="right", fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    return Plot(
        "superclasses",
        f"Accuracy (fine classes) in each superclass, percent, ordered by {c.models[c.chosen]}.",
        f"Easiest for {c.models[c.chosen]}: {names[0]}, {percent(values[0, c.chosen])}; hardest: {names[last]}, "
        f"{percent(values[last, c.chosen])}.",
        figure,
        [("superclass", *c.models), *((name, *row) for name, row in zip(names, values.tolist(), strict=True))],
    )


def reliability(c: Comparison) -> Plot:
    """Confidence against accuracy of every model on the held-out images."""
    found = {m: (k.reliability, k.error) for m, k in zip(c.models, c.calibrations, strict=True)}
    return _reliability("reliability", "How sure the models are against how often they are right", found)


def test_reliability(look: Look, predictions: Predictions) -> Plot:
    """The same of the final network on the test split."""
    probabilities = special.softmax(predictions.logits, axis=1)
    judged = probabilities.max(axis=1), probabilities.argmax(axis=1) == predictions.label
    found = {look.model: (calibration.reliability(*judged), calibration.expected_calibration_error(*judged))}
    who = f"On the test split, how sure {look.model} is against how often it is right"
    return _reliability("test-reliability", who, found)


def _reliability(name: str, who: str, found: dict[str, tuple[np.ndarray, float]]) -> Plot:
    """Confidence against accuracy, of each model (bins, 3) with its expected calibration error."""
    columns = min(4, len(found))
    lines = -(-len(found) // columns)
    figure = Figure(figsize=(max(NARROWEST, 2.4 * columns), 2.5 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    rows: list[tuple[Any, ...]] = []
    for axes in panels.flat[len(found) :]:
        axes.axis("off")
    for axes, (model, (bins, error)) in zip(panels.flat, found.items(), strict=False):
        count, confidence, accuracy = bins.T
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        enough = count >= FEWEST_IN_BIN
        axes.plot(confidence[enough], accuracy[enough], color=BLUE, marker="o", markersize=3, linewidth=1.2)
        axes.set_title(f"{model}: {error:.2f}", fontsize=9)
        bare(axes)
        rows += [(model, *bin_) for bin_ in zip(count.astype(int), confidence, accuracy, strict=True)]
    figure.supxlabel("confidence", fontsize=10)
    figure.supylabel("accuracy", fontsize=10)
    errors = {model: error for model, (_, error) in found.items()}
    worst, best = max(errors, key=errors.__getitem__), min(errors, key=errors.__getitem__)
    said = f"Farthest off: {worst}, {errors[worst]:.2f}; nearest: {best}, {errors[best]:.2f}."
    return Plot(
        name,
        f"{who}, in bins of at least {FEWEST_IN_BIN} images; on the grey line confidence could be believed. The number "
        "is the expected calibration error.",
        said if len(found) > 1 else "",
        figure,
        [("model", "count", "confidence", "accuracy"), *rows],
    )
