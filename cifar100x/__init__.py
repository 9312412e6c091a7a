"""Which of these networks is really better? A cross-validated study of CIFAR-100 classifiers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cifar100x.app.opened import OpenedStudy


def open_study(path: str | Path, trust: Sequence[str] = (), folds: int | None = None) -> "OpenedStudy":
    """Open the results of a study, to look at and to use; nothing of it is changed.

    Args:
        path: of its folder, as in runs/mine.
        trust: packages whose networks may be made, beside this one's and torchvision's.
        folds: how many of the first repetition are compared, where not all are trained; all there are by default.

    Raises:
        UserError: there is no such study.
    """
    from cifar100x.app.opened import OpenedStudy

    return OpenedStudy(Path(path), trust, folds)
