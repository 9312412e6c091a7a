"""A study: all runs under one name.

runs/<study>/folds.npz               the folds that all runs of the study share
runs/<study>/study.json              how the study is to be judged, as its first run had it
runs/<study>/sweep.json              the runs that sweeps were asked for, and the command that asked last
runs/<study>/<model>/fold<k>/        one run, as in `cifar100x.runs.record`
runs/<study>/autoencoder/            the pre-training, as one run; others have names of their own
runs/<study>/final/                  the chosen model on all training images, judged on the test split
runs/<study>/report/                 what a comparison writes
"""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cifar100x.disk.locking import locked
from cifar100x.disk.reading import DAMAGED, MOST_BYTES, open_npz, read_json, refuse_strange
from cifar100x.disk.writing import replacing, write_json
from cifar100x.errors import UserError
from cifar100x.runs.agreement import Agreement
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.record import FOLD

PRETRAINING = "autoencoder"
"""Name of a study's pre-training, unless it is given another."""
RESERVED = (PRETRAINING, "report", "final", "slurm", "study.json", "sweep.json", "folds.npz")
"""What lies in the folder of a study and is no candidate's."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,+=@-]{0,99}")
OF_NAMES = "at most 100 of A-Z, a-z, 0-9 and _.,+=@-, the first a letter, a digit or _"
"""What studies and candidates may be called: what shells, figures and pages take as it is."""


@dataclass(frozen=True)
class Folds:
    """Which images are held out when.

    Attributes:
        indices: of the images of each fold, one repetition after the other.
        fingerprint: of the data they index.
    """

    indices: Sequence[np.ndarray]
    fingerprint: str

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """As they are written."""
        return {"data": np.array(self.fingerprint)} | {f"fold{k}": fold for k, fold in enumerate(self.indices)}


@dataclass
class Study:
    """All runs under one name."""

    path: Path
    report: Path = field(init=False)
    final: RunDirectory = field(init=False)
    agreement: Agreement = field(init=False)

    def __post_init__(self) -> None:
        self.report = self.path / "report"
        self.final = RunDirectory(self.path / "final")
        self.agreement = Agreement(self.path)

    def run(self, model: str, fold: int) -> RunDirectory:
        """The directory of one model on one fold, which need not exist."""
        return RunDirectory(self.path / model / f"fold{fold}")

    def pretraining(self, name: str = PRETRAINING) -> RunDirectory:
        """The directory of a pre-training, which need not exist."""
        return RunDirectory(self.path / name)

    @property
    def pretrainings(self) -> list[RunDirectory]:
        """All finished pre-trainings, by name."""
        runs = (RunDirectory(path.parent) for path in sorted(self.path.glob("*/status.json")))
        return [run for run in runs if run.is_done and run.config.get("task") == "pretraining"]

    def refuse_other_folds(self, folds: Folds) -> None:
        """Raise UserError if runs of this study have used other folds or other data."""
        there = self._folds_file
        if not all(np.array_equal(there[name], array) for name, array in folds.arrays.items() if name in there):
            counts = [len(indices) for name, indices in there.items() if name != "data"]
            raise UserError(
                f"{self.folds_path} holds {len(counts)} folds of {sum(counts)} images of data "
                f"{str(there['data'])[:12]}; this run asks for others ({len(folds.indices)} of "
                f"{sum(map(len, folds.indices))} of {folds.fingerprint[:12]}), and models are compared on the same "
                "folds only: choose another study=NAME"
            )

    def share_folds(self, folds: Folds) -> None:
        """Write the study's folds, or check that these are the ones written before; more may follow in a later run.

        Raises:
            UserError: runs of this study have used other folds or other data.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / ".lock"):  # the runs of a sweep may come together
            self.refuse_other_folds(folds)
            if folds.arrays.keys() > self._folds_file.keys():
                with replacing(self.folds_path, "wb") as out:
                    np.savez(out, **folds.arrays)  # type: ignore[arg-type]

    def add_to_plan(self, command: str, runs: dict[str, dict[str, Any]]) -> None:
        """Note what a sweep is going to train, beside what earlier ones were.

        Args:
            command: the one that goes on with it.
            runs: `epochs` and `flops` of each, by its path below the study.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / ".lock"):
            plan = {"command": command, "runs": self.plan.get("runs", {}) | runs}
            write_json(self.path / "sweep.json", plan)

    @property
    def plan(self) -> dict[str, Any]:
        """`command` and `runs`, as in `add_to_plan`; empty where there was no sweep."""
        try:
            plan = read_json(self.path / "sweep.json")
            whole = isinstance(plan["command"], str) and all(
                {"epochs", "flops"} <= r.keys() for r in plan["runs"].values()
            )
            return plan if whole else {}
        except (FileNotFoundError, *DAMAGED):  # a damaged one is written anew by the next sweep
            return {}

    def must_exist(self) -> None:
        """Raise UserError if there is no such study, naming those there are."""
        if not self.path.is_dir():
            others = sorted(p.name for p in self.path.parent.glob("*") if p.is_dir())
            raise UserError(
                f"there is no study {self.path}; there {'are' if others else 'is'} {', '.join(others) or 'none'}"
            )

    def all_runs(self) -> list[RunDirectory]:
        """Every run of a model on a fold, finished or not, by name."""
        return [RunDirectory(path) for path in sorted(self.path.glob("*/fold*")) if FOLD.fullmatch(path.name)]

    def precision(self, task: str, run: RunDirectory) -> str | None:
        """In which precision a run was begun, or else the first one of its task, by name; None where there is none."""
        others = self.all_runs() if task == "classification" else [RunDirectory(p) for p in sorted(self.path.glob("*"))]
        for begun in (run, *others):
            with suppress(UserError):  # it is told of when it is its turn
                if begun.config.get("task") == task:
                    return begun.config["trainer"]["precision"]
        return None

    @property
    def models(self) -> dict[str, list[RunDirectory]]:
        """The runs of every model on all folds, by name, finished or not; UserError for one of a strange name."""
        names = sorted(
            p.name for p in self.path.iterdir() if p.is_dir() and any(FOLD.fullmatch(c.name) for c in p.glob("fold*"))
        )
        if strange := [name for name in names if not NAME.fullmatch(name)]:
            raise UserError(f"{self.path} holds runs in {strange[0][:120]!r}, expected {OF_NAMES}: move them elsewhere")
        num_folds = len(self.folds)
        return {name: [self.run(name, fold) for fold in range(num_folds)] for name in names}

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Write the report, one process at a time."""
        self.report.mkdir(parents=True, exist_ok=True)
        with locked(self.report / ".lock"):
            yield

    @property
    def verdict(self) -> dict[str, Any]:
        """What the comparison found: the chosen model and why.

        Raises:
            UserError: there is no such study, or it has not been compared, or has other models by now.
        """
        self.must_exist()
        path = self.report / "verdict.json"
        again = f"compare the study first (cifar100x.compare study={self.path.name})"
        if not path.exists():
            raise UserError(f"{path} is absent: {again}")
        try:
            verdict = read_json(path)
            judged = {verdict["chosen"], *verdict["row_winners"], *verdict.get("eliminated", [])}
        except DAMAGED as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path} is damaged ({error}): {again}") from error
        if others := sorted(judged ^ self.models.keys()):
            raise UserError(f"{path} was taken when {', '.join(others)} was not there, or still was: {again}")
        return verdict

    def probe_file(self, encoder: RunDirectory, images: str | None = None) -> Path:
        """Where the probes of an encoder are written; those of another study's have its name too.

        Args:
            encoder: its pre-training.
            images: name of the data set, if they are others than this study's.
        """
        name, other = encoder.path.name, encoder.path.parent
        if other.resolve() != self.path.resolve():
            name = f"{other.name}~{name}"
        of_encoder = "" if name == PRETRAINING else f"-{name}"
        return self.report / f"probe{of_encoder}{f'~{images}' if images else ''}.csv"

    def probes(self, encoder: RunDirectory, images: str | None = None) -> list[dict[str, str]]:
        """The rows of such a file; empty until the encoder is probed on those images."""
        path = self.probe_file(encoder, images)
        if not path.exists():
            return []
        with path.open() as file:
            return list(csv.DictReader(file))

    @property
    def folds(self) -> list[np.ndarray]:
        """Held-out images of each fold that runs of this study share; empty before the first run."""
        return [array for name, array in self._folds_file.items() if name != "data"]

    @property
    def folds_path(self) -> Path:
        """Where they are."""
        return self.path / "folds.npz"

    @property
    def _folds_file(self) -> dict[str, np.ndarray]:
        try:
            refuse_strange(self.folds_path)
            with open_npz(self.folds_path, MOST_BYTES) as arrays:
                return dict(arrays)
        except (FileNotFoundError, *DAMAGED):  # a damaged one is written anew
            return {}
