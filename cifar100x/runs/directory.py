"""The directory of one run, for the process that trains it: held by one at a time, written so that it stays whole.

Every file is written beside its place and moved there, so whoever reads one reads a whole one; which files there are
`cifar100x.runs.record` says. A finished run is sealed: the digests of its files are in its status.
"""

import csv
import hashlib
import json
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml

from cifar100x.data.classes import Classes
from cifar100x.disk.checking import is_whole_zip, refuse_link, sha256_of
from cifar100x.disk.owner import HeldError, LostError, Owner, owned
from cifar100x.disk.writing import replacing
from cifar100x.errors import UserError
from cifar100x.runs import identity
from cifar100x.runs.record import CHECKPOINT, ELIMINATED, INTERRUPTED, SEALED, RunRecord
from cifar100x.runs.result import Predictions
from cifar100x.stopping import is_interrupt

LOCK_SECONDS = 1.0  # how long to wait for a lock that somebody may only be probing
OF_LOOK = ("metrics.json", "test.npz")
"""Those that a look at the test split writes again."""


class RunHeldError(UserError):
    """Another process is training in this directory."""


class RunDirectory(RunRecord):
    """The files of one run, to be written too."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.note: str | None = None  # what was found amiss and mended
        self._owner: Owner | None = None

    @contextmanager
    def session(self, config: dict[str, Any]) -> Iterator[bool]:
        """Hold the directory for one run and keep its status; yield whether there is anything to do.

        Of a finished run that is not whole any more, what can be computed again is.

        Args:
            config: the resolved config of the run, plain containers only.

        Raises:
            RunHeldError: another process holds it.
            UserError: it belongs to a run of another config, or was taken from this process meanwhile.
        """
        with self._held():
            self.refuse_other_config(config)
            damaged = self.damaged
            if self.is_done and not damaged:
                yield False
                return
            if CHECKPOINT in damaged or not is_whole_zip(self.checkpoint):
                self._set_checkpoint_aside()
            for partial in self.path.rglob(".*.partial"):  # of a process that was killed while it wrote
                partial.unlink(missing_ok=True)
            with self.replacing("config.yaml", "wb") as file:
                file.write(_as_written(config))
            clock = time.monotonic()  # that of the wall may jump
            started = {"started": self.status.get("started") or _now(), "sessions": self.status.get("sessions", [])}
            self._write_status(state="running", **started)
            try:
                yield True
            except BaseException as error:
                message = INTERRUPTED if is_interrupt(error) else str(error) or type(error).__name__
                with suppress(LostError):
                    started["sessions"] = self.status.get("sessions", [])
                    self._write_status(state="failed", error=message, **started, finished=_now())
                raise
            took = {"started": started["started"], "finished": _now(), "seconds": time.monotonic() - clock}
            self.finish({"state": "done", **took})

    def finish(self, status: dict[str, Any]) -> None:
        """Write the status of a finished run, with its place and the digests of the files that are there."""
        self._write_status(**status, **self._seal())

    def _set_checkpoint_aside(self) -> None:
        """Rename a damaged checkpoint, if it is not gone, so that the run starts again."""
        found = "is gone"
        if self.checkpoint.exists():
            self.checkpoint.replace(self.checkpoint.with_suffix(".damaged"))
            found = f"was damaged, and is set aside as {self.checkpoint.stem}.damaged"
        self.note = f"{self.checkpoint} {found}: it starts again"

    @contextmanager
    def amending(self) -> Iterator[None]:
        """Hold a finished run, once nobody else does, while a look is taken; if that is cut short, it has no seal."""
        with self._held(patience=-1):
            status = {name: value for name, value in self.status.items() if name not in ("error", "run", "files")}
            self._write_status(**status, **self._seal(without=OF_LOOK))
            yield
            self.finish(status)

    @contextmanager
    def _held(self, patience: float | None = None) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            try:
                self._owner = held.enter_context(owned(self.path, LOCK_SECONDS if patience is None else patience))
            except HeldError as error:
                raise RunHeldError(f"{error}: wait for it or choose another study=NAME") from error
            try:
                yield
            finally:
                self._owner = None

    @contextmanager
    def replacing(self, name: str, mode: str = "w") -> Iterator[IO[Any]]:
        """Open a file of the run that takes the place of an earlier one once it is complete.

        Raises:
            LostError: the directory is not this process's any more.
        """
        if self._owner:
            self._owner.check()
        with replacing(self.path / name, mode) as file:
            yield file

    def begin(self, environment: dict[str, Any]) -> None:
        """Note code, libraries and hardware of a session of the run, beside those of earlier ones."""
        status = self.status
        self._write_status(**{**status, "sessions": [*status.get("sessions", []), {"started": _now(), **environment}]})

    def _seal(self, without: Collection[str] = ()) -> dict[str, Any]:
        """Place and digests of the files that are there."""
        there = [name for name in SEALED if name not in without and (self.path / name).exists()]
        return {"run": self._place, "files": {name: sha256_of(self.path / name) for name in there}}

    def mark_failed(self, error: str) -> None:
        """Say why a run ended unfinished, if it could not say so itself; no effect while a process is training."""
        with suppress(RunHeldError), self._held():
            status = self.status
            if status.get("state") not in ("done", "failed") or status["error"] == INTERRUPTED:
                started = status.get("started") or _now()
                ended = {"state": "failed", "error": error, "started": started, "finished": _now()}
                self._write_status(**status | ended)

    def mark_eliminated(self, **why: Any) -> None:
        """Say why a run is not trained, as `Eliminated` has it; no effect on one that is finished or in training."""
        with suppress(RunHeldError), self._held():
            if not self.is_done:
                self._write_status(**self.status | {"state": ELIMINATED, "error": None} | why)

    def record(self, metrics: dict[str, Any], predictions: Predictions | None = None) -> None:
        """Write the result; only a classifier has predictions."""
        if predictions is not None:
            with self.replacing("predictions.npz", "wb") as file:
                np.savez(file, index=predictions.index, label=predictions.label, logits=predictions.logits)
        self._write_json("metrics.json", {"schema": identity.METRICS_SCHEMA, **metrics})

    def write_classes(self, classes: Classes) -> None:
        """Write what the labels of a classifier mean, for all who use its network."""
        self._write_json("classes.json", vars(classes))

    def write_look(self, predictions: Predictions, ensemble: np.ndarray) -> None:
        """Write what was predicted of the test split, and log probabilities (N, C) of the folds' networks voting."""
        with self.replacing("test.npz", "wb") as file:
            np.savez(
                file, index=predictions.index, label=predictions.label, logits=predictions.logits, ensemble=ensemble
            )

    def write_pictures(self, png: bytes) -> None:
        """Write what an autoencoder makes of some images."""
        with self.replacing("reconstructions.png", "wb") as file:
            file.write(png)

    def write_history(self, rows: Sequence[dict[str, float]]) -> None:
        """Write one row an epoch; the keys of the first name the columns, and what only later ones have is left out."""
        with self.replacing("history.csv") as file:
            writer = csv.DictWriter(file, list(rows[0]), extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    def tell_progress(self, epochs: float) -> None:
        """Say how many epochs are done, for those who watch; it need not outlive a crash."""
        if self._owner:
            self._owner.check()
        partial = self.path / ".progress.partial"
        partial.write_text(str(epochs))
        partial.replace(self.path / ".progress")

    def _write_status(self, **status: Any) -> None:
        self._write_json("status.json", {"error": None, **status})

    def _write_json(self, name: str, content: Any) -> None:
        with self.replacing(name) as file:
            json.dump(content, file, indent=1)

    def refuse_other_config(self, config: dict[str, Any]) -> None:
        """Raise UserError if this directory has links or another config's results; without any it may be taken over."""
        for path in self.path.rglob("*"):
            if not path.resolve().is_relative_to(self.path.resolve()):  # loggers may have links among their own files
                refuse_link(path)
        if not (self.checkpoint.exists() or self.is_done):
            return
        path, expected = self.path / "config.yaml", self.status.get("files", {}).get("config.yaml")
        if not path.exists() or (expected and sha256_of(path) != expected):
            if hashlib.sha256(_as_written(config)).hexdigest() == expected:
                return  # it is this one, and will be written anew
            raise UserError(
                f"{path} is absent or damaged, and nobody can tell whether this is the run that is asked for: restore "
                "it, or choose another study=NAME"
            )
        there, here = identity.of_run(self.config), identity.of_run(config)
        if different := identity.differing(there, here):
            changes = ", ".join(f"{key} ({there.get(key)} there, {here.get(key)} now)" for key in different)
            raise UserError(
                f"{self.path} holds a run of another configuration, differing in {changes}: choose another name=NAME "
                "or study=NAME"
            )


def _as_written(config: dict[str, Any]) -> bytes:
    """A config as it is in config.yaml."""
    return yaml.safe_dump({"schema": identity.CONFIG_SCHEMA, **config}, sort_keys=False, encoding="utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
