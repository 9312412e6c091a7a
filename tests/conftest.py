"""Fixtures: a cache, a command line run in this process, and a tiny CIFAR-100 in every form people have."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from filelock import FileLock

from cifar100x import compare, stopping, train
from cifar100x.data.classes import CLASSES, COARSE_OF_FINE, SUPERCLASSES
from cifar100x.data.store import Split
from cifar100x.runs.directory import RunDirectory
from cifar100x.stopping import SIGNALS

for number in SIGNALS:  # what nohup or a shell in the background has ignored, the commands under test would inherit
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

TINY = (
    "data=synthetic", "data.train_per_class=2", "data.test_per_class=0", "folds.num=2", "trainer=cpu",
    "trainer.max_epochs=2", "width.multiplier=0.03125",
)  # fmt: skip
"""A run of a second: 200 drawings in two folds, filters 1, 2, 4, 4."""
TINY_PRETRAINING = (*TINY, "model=autoencoder", "held_out=50")


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def command(monkeypatch, capsys, cache, tmp_path):
    """Run an entry point as from a shell in an empty folder: status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFAR100X_CACHE", str(cache))
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def run(main, *arguments):
        monkeypatch.setattr(sys, "argv", [main.__module__, *arguments])
        try:
            main()
            status = 0
        except SystemExit as error:
            status = error.code
        finally:
            for number, handler in handlers.items():  # processes that tests start would ignore what this one does
                signal.signal(number, handler)
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Make figures but draw none, which takes longer than all else of a report; fixtures that are shared draw them."""
    from cifar100x.report.plot import Plot  # here, and not for the process that only hands tests out

    monkeypatch.setattr(Plot, "svg", "<svg/>")


@pytest.fixture(scope="session", autouse=True)
def without_others_work() -> Iterator[None]:
    """Leave out two things that take most of the time of a tiny run and are not ours.

    Hydra composes every config twice, at first only to see what hydra.mode says; and matplotlib draws for TensorBoard.
    """
    from hydra._internal.hydra import Hydra

    get_mode = Hydra.get_mode

    def mode_if_said(self, config_name, overrides):
        return get_mode(self, config_name, overrides) if any("hydra.mode" in o for o in overrides) else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", mode_if_said)
        patch.setattr("torch.utils.tensorboard.writer.figure_to_image", lambda *_: np.zeros((3, 2, 2), np.uint8))
        yield


@pytest.fixture
def train_command(command):
    return lambda *arguments: command(train.main, *arguments)


@pytest.fixture
def compare_command(command):
    return lambda *arguments: command(compare.main, *arguments)


TESTED = (*(a for a in TINY if "test_per_class" not in a), "data.test_per_class=1")
"""The same, with a test split of 100 drawings."""


@contextmanager
def in_folder(folder: Path, cache: Path) -> Iterator[Callable[..., None]]:
    """Run entry points as from a shell in a folder, for fixtures that several tests share."""

    def run(main: Callable[[], None], *arguments: str) -> None:
        patch.setattr(sys, "argv", ["", *arguments])
        main()

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("CIFAR100X_CACHE", str(cache))
        yield run


def made_once(tmp_path_factory, cache: Path, name: str, *commands: tuple) -> Path:
    """A folder in which commands have run, once for all processes of a session; their image stores are in the cache."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            made = tmp_path_factory.mktemp("study")
            with in_folder(made, made / "cache") as run:
                for main, *arguments in commands:
                    run(main, *arguments)
            made.rename(folder)
    shutil.copytree(folder / "cache", cache, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def compared_study(tmp_path_factory, cache) -> Path:
    """A folder with a study of two models on two folds, compared; for tests that change nothing, or copy it."""
    sweep = (*TESTED, "-m", "fold=0,1", "model=arch1,arch2", "learning_rate=1e-2")
    return made_once(tmp_path_factory, cache, "compared", (train.main, *sweep), (compare.main, "study=default"))


@pytest.fixture(scope="session")
def one_run(tmp_path_factory, cache) -> Path:
    """A folder with the run of TINY."""
    return made_once(tmp_path_factory, cache, "one-run", (train.main, *TINY))


@pytest.fixture(scope="session")
def one_encoder(tmp_path_factory, cache) -> Path:
    """A folder with the run of TINY_PRETRAINING."""
    return made_once(tmp_path_factory, cache, "one-encoder", (train.main, *TINY_PRETRAINING))


@pytest.fixture
def finished(one_run, command) -> None:
    """The run of TINY in the current folder, as training it leaves it."""
    shutil.copytree(one_run / "runs", "runs", dirs_exist_ok=True)


@pytest.fixture
def pretrained(one_encoder, command) -> None:
    """The run of TINY_PRETRAINING in the current folder, as training it leaves it."""
    shutil.copytree(one_encoder / "runs", "runs", dirs_exist_ok=True)


def unseal(run: RunDirectory) -> None:
    """Take the digests out of a finished run's status, as somebody would who edits its files, or an earlier version."""
    status = {name: value for name, value in run.status.items() if name != "files"}
    (run.path / "status.json").write_text(json.dumps(status))


@contextmanager
def in_background(arguments, cache) -> Iterator[subprocess.Popen]:
    """A training command in a process of its own, killed at the end with all that it started, if it still runs."""
    shell = [sys.executable, "-m", "cifar100x.train", *arguments]
    environment = os.environ | {"CIFAR100X_CACHE": str(cache)}
    process = subprocess.Popen(shell, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for member in (process, *family):
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.communicate()


@contextmanager
def before_checkpoint(epoch: int, act: Callable[[], None]) -> Iterator[None]:
    """Act once, in a training in this process, just before the checkpoint of an epoch is written."""
    from cifar100x.training.callbacks import DurableCheckpointIO  # here, and not for the process that hands tests out

    save = DurableCheckpointIO.save_checkpoint

    def disturbed(io, checkpoint, path, storage_options=None):
        if checkpoint["epoch"] + 1 == epoch:
            patch.undo()
            act()
        save(io, checkpoint, path, storage_options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DurableCheckpointIO, "save_checkpoint", disturbed)
        yield


@pytest.fixture
def trained_and_killed(train_command):
    """Train, and put runs/ back to what a kill in the second epoch, its checkpoint not yet written, leaves there.

    What was trained is moved to whole/.
    """

    def train_and_kill(*arguments: str) -> None:
        with before_checkpoint(2, lambda: shutil.copytree("runs", "killed", ignore=shutil.ignore_patterns(".owner"))):
            assert train_command(*arguments)[0] == 0
        Path("runs").rename("whole")
        Path("killed").rename("runs")

    return train_and_kill


@contextmanager
def signalled(number: signal.Signals) -> Iterator[None]:
    """A training in this process has a signal once it has a checkpoint."""
    with pytest.MonkeyPatch.context() as patch, before_checkpoint(2, lambda: signal.raise_signal(number)):
        patch.setattr(stopping.LAST, "time", -math.inf)  # as in a process of its own, where it is the only one
        patch.setattr(stopping.LAST, "by", signal.SIGINT)
        yield


@pytest.fixture(scope="session")
def tiny_cifar() -> dict[str, Split]:
    """Two training images and one test image of each class, ordered by class."""

    def split(per_class: int, seed: int) -> Split:
        fine = np.repeat(np.arange(len(CLASSES)), per_class)
        images = np.random.default_rng(seed).integers(0, 256, (len(fine), 3, 32, 32), dtype=np.uint8)
        return Split(images, fine, np.array(COARSE_OF_FINE)[fine])

    return {"train": split(2, 0), "test": split(1, 1)}


def png_name(split: str, index: int, fine: int, superclass_folders: bool = False) -> str:
    superclass = f"{SUPERCLASSES[COARSE_OF_FINE[fine]]}/" if superclass_folders else ""
    return f"cifar100/{split}/{superclass}{CLASSES[fine]}/{CLASSES[fine]}_s_{index:06d}.png"


def no_store_in(cache: Path) -> bool:
    """Whether a cache holds neither a store nor a part of one."""
    return not [path for path in cache.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real images."""
    folder = Path(os.environ.get("CIFAR100X_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "cifar100-png-train.tar.gz").exists():
        pytest.skip(
            f"no real images: {folder}/cifar100-png-train.tar.gz is absent (CIFAR100X_TEST_DATA names the folder)"
        )
    return folder
