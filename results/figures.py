"""Figures of the page."""

from pathlib import Path

from matplotlib.figure import Figure

from cifar100x.report.page import PAPER
from cifar100x.report.plot import BLUE, GREEN, GREY, Plot, bare
from cifar100x.runs.study import Study

CURVES = {
    "Arch1-Hyp1, the paper's recipe": ("readings/arch1-hyp1", BLUE, "-"),
    "Arch1-Hyp1, modern": ("recipes/arch1-hyp1-modern", BLUE, "--"),
    "ResNet-20, the paper's recipe": ("recipes/resnet20", GREEN, "-"),
    "ResNet-20, modern": ("recipes/resnet20-modern", GREEN, "--"),
}
"""What is drawn: study and candidate, colour, line."""


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
