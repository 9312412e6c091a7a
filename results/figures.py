"""Figures of the page."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from cifar100x.report.page import PAPER
from cifar100x.report.plot import BLUE, GREEN, GREY, Plot, bare
from cifar100x.runs.study import Study
from results.claims import Rows

CURVES = {
    "Arch1-Hyp1, the paper's recipe": ("readings/arch1-hyp1", BLUE, "-"),
    "Arch1-Hyp1, one of five units dropped": ("readings/arch1-hyp1-keep80", BLUE, ":"),
    "Arch1-Hyp1, modern": ("modern/arch1-hyp1-modern", BLUE, "--"),
    "ResNet-20, the paper's recipe": ("recipes/resnet20", GREEN, "-"),
    "ResNet-20, modern": ("gpu-modern/resnet20-modern", GREEN, "--"),
}
"""What is drawn by epoch: study and candidate, colour, line."""
TRAINED = {
    "here, the paper's recipe": (
        "gpu-table1/arch1-hyp1",
        "gpu-table1/arch1-hyp2",
        "gpu-table1/arch2-hyp1",
        "gpu-table1/arch2-hyp2",
        "gpu-table1/t-arch1",
        "readings/arch1-hyp1-keep80",
        "recipes/resnet20",
        "encoders/t-arch2",
    ),
    "here, the recipe modern": ("modern/arch1-hyp1-modern", "gpu-modern/resnet20-modern"),
}
"""What is drawn by operations: how it was trained, study and candidate."""
BESIDE = {"arch1-hyp2": ("center", (0, 6)), "arch2-hyp2": ("center", (0, 6))}
"""Where a name stands that would meet another to the left of its point: alignment and offset."""


def recipes(runs: Path) -> Plot:
    """Accuracy on the images of fold 0 by epoch, of the same networks trained as in the paper and as today."""
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots()
    rows = []
    for name, (place, colour, line) in CURVES.items():
        study, candidate = place.split("/")
        history = Study(runs / study).run(candidate, 0).history
        if not history:
            continue
        epochs, accuracy = [row["epoch"] for row in history], [row["val_accuracy"] for row in history]
        axes.plot(epochs, [100 * a for a in accuracy], line, color=colour, linewidth=1.6, label=name)
        rows += [(name, *row) for row in zip(epochs, accuracy, strict=True)]
    best = 100 * max(accuracy for accuracy, _ in PAPER.values())
    axes.axhline(best, color=GREY, linewidth=0.9)
    axes.annotate(
        "the paper's best network, 155 million parameters", (50, best), (0, 4), textcoords="offset points", ha="right",
        fontsize=8, color=GREY,
    )  # fmt: skip
    axes.set(xlabel="epoch", ylabel="accuracy on held-out images, %", xlim=(0, 51), ylim=(0, None))
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    bare(axes)
    return Plot(
        "recipes",
        "Accuracy on the 10,000 held-out images of fold 0 by epoch.",
        f"The last accuracies are {', '.join(f'{name} {100 * last[name]:.1f}%' for name in last)}."
        if (last := {name: accuracy for name, _, accuracy in rows})
        else "There are no runs.",
        figure,
        [("candidate", "epoch", "accuracy"), *rows],
    )


def operations(rows: Rows, of_paper: Mapping[str, float]) -> Plot:
    """Accuracy against the operations of one training: the paper's networks by its Table I, and those trained here.

    Args:
        rows: of each candidate of each study.
        of_paper: what a training of each of the paper's networks takes.
    """
    points = [("Table I of the paper", name, of_paper[name], PAPER[name][0]) for name in PAPER if name in of_paper]
    for recipe, places in TRAINED.items():
        for study, name in (place.split("/") for place in places):
            if row := rows.get(study, {}).get(name):
                points.append((recipe, name, row["operations"], row["accuracy_mean"]))
    of_both = {name: y for kind, name, _, y in points if kind in TRAINED and name in of_paper}
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    for kind, colour in zip(("Table I of the paper", *TRAINED), (GREY, BLUE, GREEN), strict=True):
        of_kind = [(name, x, 100 * y) for found, name, x, y in points if found == kind]
        axes.plot([x for _, x, _ in of_kind], [y for *_, y in of_kind], "o", color=colour, label=kind)
        for name, x, y in of_kind:
            if kind not in TRAINED and name in of_both:
                axes.plot([x, x], [100 * PAPER[name][0], 100 * of_both[name]], color=GREY, linewidth=0.8, zorder=0)
                continue
            end, beside = BESIDE.get(name, ("right", (-6, -3))) if kind in TRAINED else ("center", (0, -12))
            axes.annotate(name, (x, y), beside, textcoords="offset points", ha=end, fontsize=8, color=colour)
    axes.set(xscale="log", xlabel="operations of one training", ylabel="accuracy on held-out images, %")
    axes.margins(x=0.15, y=0.12)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    bare(axes)
    kind, name, x, y = max(points, key=lambda point: point[-1])
    return Plot(
        "operations",
        "Accuracy on held-out images against the operations of one training; a multiplication and an addition are two.",
        f"The most accurate is {name}, {kind}, with {100 * y:.1f}% after {x:.1e} operations.",
        figure,
        [("trained", "candidate", "training_operations", "accuracy"), *points],
    )
