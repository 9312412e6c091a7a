"""Name what is on images: python -m cifar100x.predict runs/demo/arch2-hyp3 photo.jpg."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cifar100x.errors import UserError, printable

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

Predicted = dict[str, list[dict[str, str | float | None]]]
"""Of each image, its likeliest classes with superclass and probability."""


def predict(run: Path, images: Sequence[Path], top: int, trusted: Sequence[str] = ()) -> Predicted:
    """The likeliest classes of each image with their probabilities; the folds of a model vote together.

    Args:
        run: a run directory, or a model directory with its folds.
        images: files of any size and mode.
        top: how many classes.
        trusted: packages whose networks may be made.

    Raises:
        UserError: no finished run there, or a file that is no image.
    """
    import numpy as np
    import torch

    from cifar100x.app.parts import make_net, trusting
    from cifar100x.runs.networks import classifiers, load_network, vote

    pixels = torch.from_numpy(np.stack([read(path) for path in images]))
    voters = classifiers(run)
    classes = voters[0].classes
    probabilities = vote((load_network(found, trusting(make_net, trusted)) for found in voters), pixels)
    if probabilities.shape[1] > len(classes):
        raise UserError(f"{run} answers with {probabilities.shape[1]} classes, its classes.json names {len(classes)}")
    best = probabilities.topk(min(top, len(classes)))
    return {
        str(path): [
            {"class": classes.names[c], "superclass": classes.superclass(c), "probability": p}
            for p, c in zip(values, indices, strict=True)
        ]
        for path, values, indices in zip(images, best.values.tolist(), best.indices.tolist(), strict=True)
    }


def read(path: Path) -> "np.ndarray":
    """Read an image file of any size and mode as uint8 (3, 32, 32), upright.

    Raises:
        UserError: it does not exist or is no image.
    """
    from cifar100x.data.resize import decode

    try:
        with path.open("rb") as file:
            return decode(str(path), file, upright=True)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error


def show(predictions: Predicted, console: "Console") -> None:
    """Print a table of each image's classes."""
    from rich.table import Table

    from cifar100x.report.tables import STYLE

    table = Table(**STYLE)
    table.add_column("image", overflow="fold")
    has_superclasses = any(found["superclass"] for classes in predictions.values() for found in classes)
    names = ("class", "superclass") if has_superclasses else ("class",)
    for heading in names:
        table.add_column(heading, no_wrap=True)
    table.add_column("probability", justify="right")
    for image, classes in predictions.items():
        for place, found in enumerate(classes):
            what = [str(found[key]).replace("_", " ") for key in names]
            last = place == len(classes) - 1
            table.add_row("" if place else printable(image), *what, f"{found['probability']:.1%}", end_section=last)
    console.print(table)


def main() -> None:
    """Entry point of the command line."""
    parser = argparse.ArgumentParser(prog="python -m cifar100x.predict", description="Name what is on images.")
    parser.add_argument("run", type=Path, help="a run (runs/STUDY/MODEL/fold0), or a model, whose folds vote together")
    parser.add_argument("images", type=Path, nargs="+", metavar="image", help="a file of any size and mode")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many classes (5)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="whose networks may be made")
    arguments = parser.parse_args()
    if arguments.top < 1:
        parser.error(f"--top is {arguments.top}, expected at least 1")

    from rich.console import Console

    from cifar100x.app.command import one_line_errors, see_working_folder

    with one_line_errors():
        see_working_folder(bool(arguments.trust))
        predictions = predict(arguments.run, arguments.images, arguments.top, arguments.trust)
        if arguments.json:
            print(json.dumps(predictions, indent=1))
        else:
            show(predictions, Console(markup=False))


if __name__ == "__main__":
    main()
