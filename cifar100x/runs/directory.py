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
so whoever reads one reads a whole one. The status of a finished run names its place and the SHA-256 of every file, and
whoever reads a file of it holds it against that.
"""

import csv
import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml

from cifar100x.data.classes import CIFAR100, Classes
from cifar100x.disk.checking import is_whole_zip, refuse_link, sha256_of
from cifar100x.disk.reading import DAMAGED, load_yaml, mapping_of, rows_of
from cifar100x.disk.writing import replacing
from cifar100x.errors import UserError
from cifar100x.runs import identity
from cifar100x.runs.owner import LostRunError, Owner, RunHeldError, is_held, owned
from cifar100x.runs.result import Look, Predictions, Result, accuracy
from cifar100x.stopping import is_interrupt

ELIMINATED = "eliminated"  # the state of a run that a race does without
INTERRUPTED = "interrupted"  # the error of a run that was asked to stop
LOCK_SECONDS = 1.0  # how long to wait for a lock that somebody may only be probing
CHECKPOINT = "checkpoints/last.ckpt"
SEALED = (
    "config.yaml", "metrics.json", "predictions.npz", "classes.json", "history.csv", "test.npz", "reconstructions.png",
    CHECKPOINT,
)  # fmt: skip
"""Files that the status of a finished run holds the SHA-256 of."""
FOLD = re.compile(r"fold\d+")
"""Name of the folder of a run that holds out a fold."""
LARGEST = {".yaml": 1 << 20, ".npz": 4 << 30, ".ckpt": 4 << 30}
LARGEST_OTHER = 64 << 20
"""Bytes of a file that a run may have written; YAML takes seconds a megabyte."""
ROUNDING = 1e-6  # of an accuracy that was computed on a device in float32
OF_LOOK = ("metrics.json", "test.npz")
"""Those that a look at the test split writes again."""


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoint = path / CHECKPOINT
        self.log = path / "log.txt"
        self.note: str | None = None  # what was found amiss and mended
        self._owner: Owner | None = None

    # --- Writing -----------------------------------------------------------------------------------------------------

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
            with self.replacing("config.yaml", "wb") as file:
                file.write(_as_written(config))
            clock = time.monotonic()  # that of the wall may jump
            started = {"started": self.status.get("started") or _now(), "sessions": self.status.get("sessions", [])}
            self._write_status(state="running", **started)
            try:
                yield True
            except BaseException as error:
                message = INTERRUPTED if is_interrupt(error) else str(error) or type(error).__name__
                with suppress(LostRunError):
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
        if self.checkpoint.exists():
            self.checkpoint.replace(self.checkpoint.with_suffix(".damaged"))
        self.note = (
            f"{self.checkpoint} was damaged, and is set aside as {self.checkpoint.stem}.damaged: it starts again"
        )

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
        with owned(self.path, LOCK_SECONDS if patience is None else patience) as self._owner:
            try:
                yield
            finally:
                self._owner = None

    @contextmanager
    def replacing(self, name: str, mode: str = "w") -> Iterator[IO[Any]]:
        """Open a file of the run that takes the place of an earlier one once it is complete.

        Raises:
            LostRunError: the directory is not this process's any more.
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
                self._write_status(state="failed", error=error, started=started, finished=_now())

    def mark_eliminated(self, **why: Any) -> None:
        """Say why a run is not trained, as `Eliminated` has it; no effect on one that is finished or in training."""
        with suppress(RunHeldError), self._held():
            if not self.is_done:
                self._write_status(state=ELIMINATED, **why)

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
        """Write one row an epoch; the keys of the first name the columns."""
        with self.replacing("history.csv") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def tell_progress(self, epochs: float) -> None:
        """Say how many epochs are done, for those who watch: what a crash would lose of it is of no use to anyone."""
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

    # --- Reading -----------------------------------------------------------------------------------------------------

    @property
    def is_held(self) -> bool:
        """Whether a process is training here at this moment."""
        return is_held(self.path)

    @property
    def status(self) -> dict[str, Any]:
        """State, error and times; empty where no run ever started."""
        try:
            found = self._read("status.json", json.load)
            return found if isinstance(found, dict) and isinstance(found.get("files", {}), dict) else {}
        except UserError:
            raise
        except (ValueError, FileNotFoundError):  # cut short, or gone this moment: nobody knows how the run ended
            return {}

    @property
    def is_done(self) -> bool:
        """Whether it is finished."""
        return self.status.get("state") == "done"

    @property
    def is_whole(self) -> bool:
        """Whether it is finished, and all its files are as it left them."""
        return self.is_done and not self.damaged

    @property
    def damaged(self) -> list[str]:
        """The files of a finished run that are absent, or not those that it finished with."""
        files: dict[str, str] = self.status.get("files", {})
        return [n for n, sha in files.items() if not (self.path / n).exists() or sha256_of(self.path / n) != sha]

    @property
    def config(self) -> dict[str, Any]:
        """What was chosen, in today's schema; empty where no run ever started."""
        parse = mapping_of(load_yaml)
        return self._read("config.yaml", lambda file: identity.upgraded_config(parse(file), str(self.path))) or {}

    @property
    def metrics(self) -> dict[str, Any]:
        """The contents of metrics.json; empty until the run is evaluated."""
        parse = mapping_of(json.load)
        return self._read("metrics.json", lambda file: identity.upgraded_metrics(parse(file), str(self.path))) or {}

    @property
    def classes(self) -> Classes:
        """What the labels of a classifier mean; runs that did not write it down knew CIFAR-100 alone."""
        found = self._read("classes.json", mapping_of(json.load))
        return Classes.of(found) if found else CIFAR100

    @property
    def history(self) -> list[dict[str, float]]:
        """One row an epoch; empty before the first."""
        return self._read("history.csv", rows_of) or []

    @property
    def progress(self) -> float:
        """How many epochs are done, as it was last told; 0 where it never was."""
        try:
            return self._read(".progress", lambda file: float(file.read())) or 0.0
        except ValueError:  # it is not kept from a crash
            return 0.0

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
        return self._read("reconstructions.png", lambda file: file.read())

    @property
    def result(self) -> Result:
        """What a finished classifier's run left.

        Raises:
            UserError: it lies in the place of another run, or its files do not belong together.
        """
        self._refuse_misplaced()
        for name in self.status.get("files", ("metrics.json", "predictions.npz")):
            if name != CHECKPOINT:
                self.verified(name)
        result = Result(str(self.path), self.config, self.metrics, self.history, self.predictions, self.classes)
        if what := result.amiss:
            raise UserError(f"{self.path}: {what}: the command that trained this run makes its files anew")
        said, found = result.metrics["val"]["accuracy"], accuracy(result.predictions)
        if abs(said - found) > ROUNDING:
            raise UserError(
                f"{self.path}: metrics.json says that {said:.4f} are right, of its predictions {found:.4f} are: they "
                "do not belong together; the command that trained it makes them anew"
            )
        return result

    def _refuse_misplaced(self) -> None:
        """Raise UserError if these are the files of another run, copied or moved here."""
        metrics = self.metrics  # those of earlier versions say it too
        place = self.status.get("run") or f"{metrics.get('model')}/fold{metrics.get('fold')}"
        if place != self._place:
            raise UserError(
                f"{self.path} holds the files of the run {place}: move them to where they belong, or elsewhere"
            )

    @property
    def _place(self) -> str:
        """Where the run lies in its study."""
        return f"{self.path.parent.name}/{self.path.name}" if FOLD.fullmatch(self.path.name) else self.path.name

    def verified(self, name: str) -> Path:
        """The path of a file; of a finished run one that is still what it finished with.

        Raises:
            UserError: it is absent or another, or a checkpoint without a seal whose own checksums are wrong.
        """
        path = self.path / name
        refuse_link(path)
        expected = self.status.get("files", {}).get(name)
        if not path.exists():
            raise UserError(f"{path} is absent: the command that trained this run makes it anew")
        if expected and (found := sha256_of(path)) != expected:
            raise UserError(
                f"{path} is not what the run finished with (SHA-256 {found[:12]}, expected {expected[:12]}): restore "
                "it, or let the command that trained this run make it anew"
            )
        if not expected and name == CHECKPOINT and not is_whole_zip(path):
            raise UserError(f"{path} is damaged: the command that trained this run makes it anew")
        return path

    def _predictions(self, name: str) -> Predictions:
        with self._opened(name) as file, np.load(file) as arrays:
            if (unpacked := sum(member.file_size for member in arrays.zip.infolist())) > LARGEST[".npz"]:
                raise UserError(f"{self.path / name} unpacks to {unpacked:,} bytes: no run wrote it")
            return Predictions(arrays["index"], arrays["label"], arrays["logits"].astype(np.float32))

    def _read(self, name: str, parse: Callable[[IO[bytes]], Any]) -> Any:
        """What is in a file; None where it never was."""
        if not (self.path / name).exists() and not (name in SEALED and name in self.status.get("files", {})):
            return None
        with self._opened(name) as file:
            return parse(file)

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file of the run for reading.

        Raises:
            UserError: it is absent, damaged, or not the one that the run finished with.
        """
        path = self.path / name
        if name not in SEALED:
            refuse_link(path)
            with path.open("rb") as file:
                yield file
            return
        most = LARGEST.get(path.suffix, LARGEST_OTHER)
        if path.exists() and path.stat().st_size > most:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes, expected at most {most:,}: no run wrote it")
        self.verified(name)
        try:
            with path.open("rb") as file:
                yield file
        except DAMAGED as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path} is damaged ({error}): the command that trained this run makes it anew") from error


def _as_written(config: dict[str, Any]) -> bytes:
    """A config as it is in config.yaml."""
    return yaml.safe_dump({"schema": identity.CONFIG_SCHEMA, **config}, sort_keys=False, encoding="utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
