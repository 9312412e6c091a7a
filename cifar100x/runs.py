"""Studies and run directories: the only module that knows their file names.

    runs/<study>/folds.npz               the folds that all runs of the study share
    runs/<study>/sweep.json              the runs that sweeps were asked for, and the command that asked last
    runs/<study>/<model>/fold<k>/        one run
        status.json                      running, done or failed; done is written last
        config.yaml                      everything that was chosen
        metrics.json, predictions.npz    the result
        history.csv                      one row an epoch
        log.txt                          what its process said, if a sweep started it, and the traceback of a failure
        checkpoints/last.ckpt            weights, and while unfinished all it takes to go on
    runs/<study>/autoencoder/            the pre-training, as one run; reconstructions.png in place of predictions
    runs/<study>/final/                  the chosen model on all training images, judged on the test split
    runs/<study>/report/                 what a comparison writes

Every file is written beside its place and moved there, so whoever reads one reads a whole one.
"""

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml
from filelock import FileLock, Timeout

from cifar100x.errors import UserError, is_interrupt

METRICS_SCHEMA = 1
INTERRUPTED = "interrupted"  # the error of a run that was stopped by Ctrl-C
LOCK_SECONDS = 1.0  # how long to wait for a lock that somebody may only be probing


class RunHeldError(UserError):
    """Another process is training in this directory."""


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` once it is complete and on the disk; until then nothing changes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open(mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)  # the new name, too, is to outlive a power cut
        os.fsync(folder)
        os.close(folder)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Predictions:
    """What a run says about its held-out fold: indices into the train split (N,), labels (N,), logits (N, 100)."""

    index: np.ndarray
    label: np.ndarray
    logits: np.ndarray


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoint = path / "checkpoints" / "last.ckpt"
        self.log = path / "log.txt"

    # --- Writing -----------------------------------------------------------------------------------------------------

    @contextmanager
    def session(self, config: dict[str, Any], no_effect: Sequence[str] = ()) -> Iterator[bool]:
        """Hold the directory for one run and keep its status; yield whether there is anything to do.

        Args:
            config: the resolved config of the run, plain containers only.
            no_effect: dotted keys that may differ from an earlier session's config.

        Raises:
            RunHeldError: another process holds it.
            UserError: it belongs to a run of another config.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / ".lock", timeout=LOCK_SECONDS):
                self.refuse_other_config(config, no_effect)
                if self.status.get("state") == "done":
                    yield False
                    return
                with replacing(self.path / "config.yaml") as file:
                    yaml.safe_dump(config, file, sort_keys=False)
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

    def record(self, metrics: dict[str, Any], predictions: Predictions | None = None) -> None:
        """Write the result; only a classifier has predictions."""
        if predictions is not None:
            with replacing(self.path / "predictions.npz", "wb") as file:
                np.savez(file, index=predictions.index, label=predictions.label, logits=predictions.logits)
        with replacing(self.path / "metrics.json") as file:
            json.dump({"schema": METRICS_SCHEMA, **metrics}, file, indent=1)

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

    def _write_status(self, **status: Any) -> None:
        with replacing(self.path / "status.json") as file:
            json.dump({"error": None, **status}, file, indent=1)

    def refuse_other_config(self, config: dict[str, Any], no_effect: Sequence[str]) -> None:
        """Raise UserError if this directory holds results of another config; one without any may be taken over."""
        if not (self.checkpoint.exists() or self.status.get("state") == "done"):
            return
        there, here = flat(self.config), flat(config)
        if different := differing_keys(self.config, config, no_effect):
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
    def config(self) -> dict[str, Any]:
        """What was chosen; empty where no run ever started."""
        return self._read("config.yaml", yaml.safe_load) or {}

    @property
    def metrics(self) -> dict[str, Any]:
        """The contents of metrics.json; empty until the run is evaluated."""
        return self._read("metrics.json", json.load) or {}

    @property
    def history(self) -> list[dict[str, float]]:
        """One row an epoch; empty before the first."""
        rows = self._read("history.csv", lambda file: list(csv.DictReader(file))) or []
        return [{key: int(value) if key == "epoch" else float(value) for key, value in row.items()} for row in rows]

    @property
    def predictions(self) -> Predictions:
        """What the run says about its held-out fold."""
        with np.load(self.path / "predictions.npz") as arrays:
            return Predictions(arrays["index"], arrays["label"], arrays["logits"])

    @property
    def pictures(self) -> bytes | None:
        """PNG of what an autoencoder makes of some images; None for other runs."""
        path = self.path / "reconstructions.png"
        return path.read_bytes() if path.exists() else None

    def _read(self, name: str, parse: Callable[[IO[str]], Any]) -> Any:
        try:
            with (self.path / name).open() as file:
                return parse(file)
        except FileNotFoundError:
            return None


@dataclass
class Study:
    """All runs under one name."""

    path: Path
    report: Path = field(init=False)
    pretraining: RunDirectory = field(init=False)
    final: RunDirectory = field(init=False)

    def __post_init__(self) -> None:
        self.report = self.path / "report"
        self.final = RunDirectory(self.path / "final")
        self.pretraining = RunDirectory(self.path / "autoencoder")

    def run(self, model: str, fold: int) -> RunDirectory:
        """The directory of one model on one fold, which need not exist."""
        return RunDirectory(self.path / model / f"fold{fold}")

    def share_folds(self, folds: Sequence[np.ndarray], fingerprint: str) -> None:
        """Write the study's folds, or check that these are the ones written before; more may follow in a later run.

        Raises:
            UserError: runs of this study have used other folds or other data.
        """
        path = self.path / "folds.npz"
        arrays = {"data": np.array(fingerprint)} | {f"fold{k}": indices for k, indices in enumerate(folds)}
        self.path.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path / ".lock"):  # the runs of a sweep may come together
            there: dict[str, np.ndarray] = {}
            if path.exists():
                with np.load(path) as file:
                    there = dict(file)
            if not all(np.array_equal(there[name], arrays[name]) for name in arrays.keys() & there.keys()):
                counts = [len(indices) for name, indices in there.items() if name != "data"]
                raise UserError(
                    f"{path} holds {len(counts)} folds of {sum(counts)} images of data {str(there['data'])[:12]}; this "
                    f"run asks for others ({len(folds)} of {sum(map(len, folds))} of {fingerprint[:12]}), and models "
                    "are compared on the same folds only: choose another study=NAME"
                )
            if arrays.keys() > there.keys():
                with replacing(path, "wb") as out:
                    np.savez(out, **arrays)  # type: ignore[arg-type]

    def add_to_plan(self, command: str, runs: dict[str, dict[str, Any]]) -> None:
        """Note what a sweep is going to train, beside what earlier ones were.

        Args:
            command: the one that goes on with it.
            runs: `epochs` and `flops` of each, by its path below the study.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path / ".lock"):
            plan = {"command": command, "runs": self.plan.get("runs", {}) | runs}
            with replacing(self.path / "sweep.json") as file:
                json.dump(plan, file, indent=1)

    @property
    def plan(self) -> dict[str, Any]:
        """`command` and `runs`, as in `add_to_plan`; empty where there was no sweep."""
        path = self.path / "sweep.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def must_exist(self) -> None:
        """Raise UserError if there is no such study, naming those there are."""
        if not self.path.is_dir():
            others = sorted(p.name for p in self.path.parent.glob("*") if p.is_dir())
            raise UserError(
                f"there is no study {self.path}; there {'are' if others else 'is'} {', '.join(others) or 'none'}"
            )

    def finished_runs(self) -> dict[str, list[RunDirectory]]:
        """The runs of every model, in order of fold.

        Raises:
            UserError: there is no such study, or a model lacks folds or has surplus ones; all are listed.
        """
        self.must_exist()
        models: dict[str, list[RunDirectory]] = {}
        problems = []
        folds = self._folds()
        for model in sorted(p.name for p in self.path.iterdir() if p.is_dir() and any(p.glob("fold*"))):
            runs = [self.run(model, fold) for fold in range(len(folds))]
            absent = [
                f"{fold} ({run.status.get('state', 'never started')})"
                for fold, run in enumerate(runs)
                if run.status.get("state") != "done"
            ]
            surplus = {p.name for p in (self.path / model).iterdir()} - {run.path.name for run in runs}
            if absent:
                problems.append(
                    f"{model} lacks fold{'s' if len(absent) > 1 else ''} {', '.join(absent)}: train them first"
                )
            elif surplus:
                problems.append(
                    f"{model} has {', '.join(sorted(surplus))}, but there are {len(folds)} folds: remove it"
                )
            else:
                problems += [
                    f"{run.path} holds the results of other images than fold {fold}: remove it and train again"
                    for fold, run in enumerate(runs)
                    if not np.array_equal(run.predictions.index, folds[fold])
                ]
            models[model] = runs
        if problems:
            raise UserError(f"{self.path} is incomplete: {'; '.join(problems)}")
        if not models:
            raise UserError(f"{self.path} holds no runs: train some with cifar100x.train study={self.path.name}")
        return models

    @property
    def verdict(self) -> dict[str, Any]:
        """What the comparison found: the chosen model and why.

        Raises:
            UserError: the study has not been compared.
        """
        path = self.report / "verdict.json"
        if not path.exists():
            raise UserError(f"{path} is absent: compare the study first (cifar100x.compare study={self.path.name})")
        return json.loads(path.read_text())

    @property
    def probes(self) -> list[dict[str, str]]:
        """The rows of probe.csv; empty until the encoder is probed."""
        path = self.report / "probe.csv"
        if not path.exists():
            return []
        with path.open() as file:
            return list(csv.DictReader(file))

    def _folds(self) -> list[np.ndarray]:
        path = self.path / "folds.npz"
        if not path.exists():
            return []
        with np.load(path) as arrays:
            return [arrays[name] for name in arrays.files if name != "data"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def differing_keys(a: dict[str, Any], b: dict[str, Any], ignored: Sequence[str]) -> list[str]:
    """Dotted keys in which two configs differ. `ignored` are keys, or whole branches by their name with a dot."""
    a, b = flat(a), flat(b)
    branches = tuple(name for name in ignored if name.endswith("."))
    return sorted(
        key
        for key in a.keys() | b.keys()
        if key not in ignored and not key.startswith(branches) and a.get(key) != b.get(key)
    )


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dictionaries to dotted keys; lists are values."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves
