"""What a run leaves in its directory, as everybody reads it.

    status.json                      running, done or failed, done is written last; or eliminated, from a race
    config.yaml                      everything that was chosen
    metrics.json, predictions.npz    the result
    classes.json                     what a classifier's labels mean
    history.csv                      one row an epoch
    test.npz                         of the final run: index, label, logits of the test split, and of the folds' vote
    log.txt                          what its process said, if a sweep started it, and the traceback of a failure
    checkpoints/last.ckpt            weights, and while unfinished all it takes to go on

A pre-training has reconstructions.png in place of predictions. The status of a finished run names its place and the
SHA-256 of every file of its result, `SEALED`, and whoever reads one of them holds it against that.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from cifar100x.data.classes import CIFAR100, Classes
from cifar100x.disk.checking import is_whole_zip, sha256_of
from cifar100x.disk.owner import is_held
from cifar100x.disk.reading import (
    DAMAGED,
    MOST_BYTES,
    load_yaml,
    mapping_of,
    open_npz,
    read_json,
    refuse_strange,
    rows_of,
)
from cifar100x.errors import UserError
from cifar100x.runs import identity
from cifar100x.runs.result import Look, Predictions, Result, accuracy

CHECKPOINT = "checkpoints/last.ckpt"
SEALED = (
    "config.yaml", "metrics.json", "predictions.npz", "classes.json", "history.csv", "test.npz", "reconstructions.png",
    CHECKPOINT,
)  # fmt: skip
"""Files that the status of a finished run holds the SHA-256 of."""
FOLD = re.compile(r"fold\d+")
"""Name of the folder of a run that holds out a fold."""
LARGEST = {".yaml": 1 << 20, ".npz": 4 << 30, ".ckpt": 16 << 30}
"""Bytes of a file that a run may have written, where it is not as usual; YAML takes seconds a megabyte."""
OF_ELIMINATION: dict[str, Any] = {"after": int, "leader": str, "behind": int | float, "chance": int | float}
"""What the status of a run says that a race did without."""
ELIMINATED = "eliminated"  # the state of a run that a race does without
INTERRUPTED = "interrupted"  # the error of a run that was asked to stop
ROUNDING = 1e-6  # of an accuracy that was computed on a device in float32


class RunRecord:
    """The files of one run, to be read."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoint = path / CHECKPOINT
        self.log = path / "log.txt"

    @property
    def is_held(self) -> bool:
        """Whether a process is training here at this moment."""
        return is_held(self.path)

    @property
    def status(self) -> dict[str, Any]:
        """State, error and times; empty where no run ever started."""
        try:
            return _checked_status(read_json(self.path / "status.json"))
        except UserError:
            raise
        except (*DAMAGED, FileNotFoundError, NotADirectoryError):
            # cut short, or gone this moment: nobody knows how the run ended
            return {}

    @property
    def state(self) -> str:
        """How far it is: running, done, failed or eliminated; stopped, if it was interrupted or killed; else empty."""
        status = self.status
        state = status.get("state", "")
        interrupted = state == "failed" and status.get("error") == INTERRUPTED
        return "stopped" if interrupted or (state == "running" and not self.is_held) else state

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

        def parse(file: IO[bytes]) -> dict[str, Any]:
            found = identity.upgraded_metrics(mapping_of(json.load)(file), str(self.path))
            if strange := [name for name in ("fold", "folds") if not isinstance(found.get(name), int | None)]:
                raise ValueError(f"{strange[0]} is {found[strange[0]]!r}")
            return found

        return self._read("metrics.json", parse) or {}

    @property
    def classes(self) -> Classes:
        """What the labels of a classifier mean; runs that did not write it down knew CIFAR-100 alone."""

        def parse(file: IO[bytes]) -> Classes:
            try:
                return Classes.of(mapping_of(json.load)(file))
            except UserError as error:
                raise UserError(f"{self.path / 'classes.json'}: {error}") from error

        return self._read("classes.json", parse) or CIFAR100

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
        refuse_strange(path, LARGEST.get(path.suffix, MOST_BYTES))
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
        with self._opened(name) as file, open_npz(file, LARGEST[".npz"]) as arrays:
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
        self.verified(name)
        try:
            with path.open("rb") as file:
                yield file
        except DAMAGED as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path} is damaged ({error}): the command that trained this run makes it anew") from error


def _checked_status(found: Any) -> dict[str, Any]:
    """A status as it was read; ValueError if it is none. Of the files that it names, those that a run has."""
    if not isinstance(found, dict) or not isinstance(files := found.get("files", {}), dict):
        raise ValueError("it holds no names and values")
    if found.get("state") == ELIMINATED and not all(isinstance(found.get(n), k) for n, k in OF_ELIMINATION.items()):
        raise ValueError("it does not say why the run was eliminated")
    return found | ({"files": {name: files[name] for name in SEALED if name in files}} if "files" in found else {})
