"""Where the curves of a run go: Lightning's loggers, with epochs for steps."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
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


class CSV(CSVLogger):
    """metrics.csv in the folder csv of a run; what it held before a run goes on stays.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: str):
        super().__init__(folder, name="", version="csv")
        path = Path(self.log_dir, "metrics.csv")
        self.earlier = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []

    def resume(self, epochs: int) -> None:
        """Take back what was logged beyond so many epochs; before anything is logged."""
        self.earlier = [row for row in self.earlier if int(row["step"]) <= epochs]
        self._experiment = None  # Lightning may have saved what there was

    @property
    def experiment(self) -> Any:
        """Lightning's writer, which begins by removing the file."""
        new = self._experiment is None
        writer = super().experiment
        if new and isinstance(writer, ExperimentWriter):
            rows: list[dict[str, Any]] = [{name: x for name, x in row.items() if x} for row in self.earlier]
            writer.metrics = [row for row in rows if not any(name.startswith("final/") for name in row)]
        return writer


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
