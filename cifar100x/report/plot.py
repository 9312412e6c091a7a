"""A figure with its caption, a text alternative and its numbers, and what figures have in common."""

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

from cifar100x.disk.writing import replacing
from cifar100x.report.tables import write_csv

BLUE, GREEN, GREY, ORANGE = "#3b78b5", "#2f9e5f", "#9a9a9a", "#d9822b"  # legible on white and on black
NARROWEST = 5.6  # inches of a figure: the page stretches what is smaller, and its text
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

    def write(self, folder: Path) -> None:
        """Write NAME.svg and NAME.csv."""
        with replacing(folder / f"{self.name}.svg") as file:
            file.write(self.svg)
        write_csv(folder / f"{self.name}.csv", self.rows)


def shares(counts: np.ndarray) -> np.ndarray:
    """Counts as shares of their row; a row without any is nan."""
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(axis=1, keepdims=True)


def draw_matrix(axes: Axes, values: np.ndarray, figure: Figure) -> None:
    """Draw shares as a heat map with its scale."""
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=max(0.01, float(np.nanmax(values))), aspect="auto")
    figure.colorbar(image, ax=axes, shrink=0.5, format=lambda share, _: f"{100 * share:.0f}%")


def write_cells(axes: Axes, values: np.ndarray, least: float = 0.0) -> None:
    """Write shares as percent into the cells of a matrix, light on dark and dark on light."""
    middle = np.nanmax(values) / 2
    for (i, j), value in np.ndenumerate(values):
        if value >= least:
            colour = "white" if value > middle else "#333333"
            axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color=colour)


def bare(axes: Axes) -> None:
    """Leave out the frame above and to the right."""
    axes.spines[["top", "right"]].set_visible(False)


def plain(names: Sequence[str]) -> list[str]:
    """Class names as people write them."""
    return [name.replace("_", " ") for name in names]
