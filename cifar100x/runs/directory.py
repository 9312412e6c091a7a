"""The directory of one run: the only module that knows the names of its files.

    status.json                      running, done or failed, done is written last; or eliminated, from a race
    config.yaml                      everything that was chosen
    metrics.json, predictions.npz    the result
    classes.json                     what a classifier's labels mean
    history.csv                      one row an epoch
    test.npz                         of the final run: index, label, logits of the test split, and of the folds' vote
    log.txt                          what its process said, if a sweep started it, and the traceback of a failure
    checkpoints/last.ckpt            weights, and while unfinished all it takes to go on

A pre-training has reconstructions.png in place of predictions. Every file is written beside its place and moved there,
so whoever reads one reads a whole one.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml
from filelock import FileLock, Timeout

from cifar100x.data.classes import CIFAR100, Classes
from cifar100x.disk.writing import replacing, write_json
from cifar100x.errors import UserError, is_interrupt
from cifar100x.runs import identity
from cifar100x.runs.result import Look, Predictions, Result

ELIMINATED = "eliminated"  # the state of a run that a race does without
INTERRUPTED = "interrupted"  # the error of a run that was stopped by Ctrl-C
LOCK_SECONDS = 1.0  # how long to wait for a lock that somebody may only be probing


class RunHeldError(UserError):
    """Another process is training in this directory."""


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoint = path / "checkpoints" / "last.ckpt"
        self.log = path / "log.txt"

    # --- Writing -----------------------------------------------------------------------------------------------------

    @contextmanager
    def session(self, config: dict[str, Any]) -> Iterator[bool]:
        """Hold the directory for one run and keep its status; yield whether there is anything to do.

        Args:
            config: the resolved config of the run, plain containers only.

        Raises:
            RunHeldError: another process holds it.
            UserError: it belongs to a run of another config.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / ".lock", timeout=LOCK_SECONDS):
                self.refuse_other_config(config)
                if self.is_done:
                    yield False
                    return
                with replacing(self.path / "config.yaml") as file:
                    yaml.safe_dump({"schema": identity.CONFIG_SCHEMA, **config}, file, sort_keys=False)
                started = self.status.get("started") or _now()
                self._write_status(state="running", started=started)
                try:
                    yield True
                except BaseException as error:
                    message = INTERRUPTED if is_interrupt(error) else str(error) or type(error).__name__
                    self._write_status(state="failed", error=message, started=started, finished=_now())
                    raise
                self._write_status(state="done", started=started, finished=_now())
        except Timeout as error:
            raise RunHeldError(
                f"another process is training in {self.path}: wait for it or choose another study=NAME"
            ) from error

    def mark_failed(self, error: str) -> None:
        """Say why a run ended unfinished, if it could not say so itself; no effect while a process is training."""
        self.path.mkdir(parents=True, exist_ok=True)
        with suppress(Timeout), FileLock(self.path / ".lock", timeout=0):
            status = self.status
            if status.get("state") not in ("done", "failed") or status["error"] == INTERRUPTED:
                started = status.get("started") or _now()
                self._write_status(state="failed", error=error, started=started, finished=_now())

    def mark_eliminated(self, **why: Any) -> None:
        """Say why a run is not trained, as `Eliminated` has it; no effect on one that is finished or in training."""
        self.path.mkdir(parents=True, exist_ok=True)
        with suppress(Timeout), FileLock(self.path / ".lock", timeout=0):
            if not self.is_done:
                self._write_status(state=ELIMINATED, **why)

    def record(self, metrics: dict[str, Any], predictions: Predictions | None = None) -> None:
        """Write the result; only a classifier has predictions."""
        if predictions is not None:
            with replacing(self.path / "predictions.npz", "wb") as file:
                np.savez(file, index=predictions.index, label=predictions.label, logits=predictions.logits)
        write_json(self.path / "metrics.json", {"schema": identity.METRICS_SCHEMA, **metrics})

    def write_classes(self, classes: Classes) -> None:
        """Write what the labels of a classifier mean, for all who use its network."""
        write_json(self.path / "classes.json", vars(classes))

    def write_look(self, predictions: Predictions, ensemble: np.ndarray) -> None:
        """Write what was predicted of the test split, and log probabilities (N, C) of the folds' networks voting."""
        with replacing(self.path / "test.npz", "wb") as file:
            np.savez(
                file, index=predictions.index, label=predictions.label, logits=predictions.logits, ensemble=ensemble
            )

    def write_pictures(self, png: bytes) -> None:
        """Write what an autoencoder makes of some images."""
        with replacing(self.path / "reconstructions.png", "wb") as file:
            file.write(png)

    def write_history(self, rows: Sequence[dict[str, float]]) -> None:
        """Write one row an epoch; the keys of the first name the columns."""
        with replacing(self.path / "history.csv") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def tell_progress(self, epochs: float) -> None:
        """Say how many epochs are done, for those who watch: what a crash would lose of it is of no use to anyone."""
        partial = self.path / ".progress.partial"
        partial.write_text(str(epochs))
        partial.replace(self.path / ".progress")

    def _write_status(self, **status: Any) -> None:
        write_json(self.path / "status.json", {"error": None, **status})

    def refuse_other_config(self, config: dict[str, Any]) -> None:
        """Raise UserError if this directory holds results of another config; one without any may be taken over."""
        if not (self.checkpoint.exists() or self.is_done):
            return
        there, here = identity.of_run(self.config), identity.of_run(config)
        if different := identity.differing(there, here):
            changes = ", ".join(f"{key} ({there.get(key)} there, {here.get(key)} now)" for key in different)
            raise UserError(
                f"{self.path} holds a run of another configuration, differing in {changes}: "
                "choose another study=NAME or delete the directory"
            )

    # --- Reading -----------------------------------------------------------------------------------------------------

    @property
    def is_held(self) -> bool:
        """Whether a process is training here at this moment."""
        if not (self.path / ".lock").exists():
            return False
        try:
            with FileLock(self.path / ".lock", timeout=0):
                return False
        except Timeout:
            return True

    @property
    def status(self) -> dict[str, Any]:
        """State, error and times; empty where no run ever started."""
        return self._read("status.json", json.load) or {}

    @property
    def is_done(self) -> bool:
        """Whether it is finished."""
        return self.status.get("state") == "done"

    @property
    def config(self) -> dict[str, Any]:
        """What was chosen, in today's schema; empty where no run ever started."""
        return identity.upgraded_config(self._read("config.yaml", yaml.safe_load) or {}, str(self.path))

    @property
    def metrics(self) -> dict[str, Any]:
        """The contents of metrics.json; empty until the run is evaluated."""
        return identity.upgraded_metrics(self._read("metrics.json", json.load) or {}, str(self.path))

    @property
    def classes(self) -> Classes:
        """What the labels of a classifier mean; runs that did not write it down knew CIFAR-100 alone."""
        found = self._read("classes.json", json.load)
        return Classes.of(found) if found else CIFAR100

    @property
    def history(self) -> list[dict[str, float]]:
        """One row an epoch; empty before the first."""
        rows = self._read("history.csv", lambda file: list(csv.DictReader(file))) or []
        return [{key: int(value) if key == "epoch" else float(value) for key, value in row.items()} for row in rows]

    @property
    def progress(self) -> float:
        """How many epochs are done, as it was last told; 0 where it never was."""
        return self._read(".progress", lambda file: float(file.read())) or 0.0

    @property
    def predictions(self) -> Predictions:
        """What the run says about its held-out fold."""
        return self._predictions("predictions.npz")

    @property
    def look(self) -> Look | None:
        """What the last look at the test split found, if there was one."""
        if "test_looks" not in self.metrics:
            return None
        kept = self._predictions("test.npz") if (self.path / "test.npz").exists() else None
        return Look(self.metrics["model"], self.metrics, kept)

    @property
    def pictures(self) -> bytes | None:
        """PNG of what an autoencoder makes of some images; None for other runs."""
        path = self.path / "reconstructions.png"
        return path.read_bytes() if path.exists() else None

    @property
    def result(self) -> Result:
        """What a finished classifier's run left."""
        return Result(str(self.path), self.config, self.metrics, self.history, self.predictions, self.classes)

    def _predictions(self, name: str) -> Predictions:
        with np.load(self.path / name) as arrays:
            return Predictions(arrays["index"], arrays["label"], arrays["logits"])

    def _read(self, name: str, parse: Callable[[IO[str]], Any]) -> Any:
        try:
            with (self.path / name).open() as file:
                return parse(file)
        except FileNotFoundError:
            return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
