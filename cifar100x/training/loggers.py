"""Where the curves of a run go: Lightning's loggers, with epochs for steps."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from matplotlib.figure import Figure


class TensorBoard(TensorBoardLogger):
    """TensorBoard's files in the folder of a run, beside its other files.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: str):
        super().__init__(folder, name="", version="", default_hp_metric=False)

    def resume(self, epochs: int) -> None:
        """Take back what was logged beyond so many epochs; before anything is logged."""
        self._kwargs["purge_step"] = epochs + 1

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Wait for the end: the table of hyper-parameters has final metrics beside them."""

    def save(self) -> None:
        """Write no file beside the events: the run has one with all that was chosen."""

    def log_end(
        self, chosen: Mapping[str, Any], final: Mapping[str, float], figures: Mapping[str, Figure], epochs: int
    ) -> None:
        """Add what is known at the end: the table of hyper-parameters, and figures."""
        self.experiment.add_hparams(dict(chosen), dict(final), run_name=".", global_step=epochs)
        for name, figure in figures.items():
            self.experiment.add_figure(name, figure, epochs)


@contextmanager
def ended(loggers: Sequence[Logger]) -> Iterator[None]:
    """End what loggers began, however the block ends.

    Those that keep one run a process would else log the next run of a sweep to this one.
    """
    status = "failed"
    try:
        yield
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
            if callable(finish := getattr(getattr(logger, "_experiment", None), "finish", None)):
                finish()
