"""What users of Lightning bring along: loggers, callbacks, and options of its trainer."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import lightning as L
from hydra.utils import get_object
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Checkpoint,
    EarlyStopping,
    LearningRateFinder,
    ProgressBar,
    StochasticWeightAveraging,
    Timer,
)
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler

from cifar100x.app.arguments import maker
from cifar100x.app.schema import BAR, EPOCHS, Device
from cifar100x.errors import UsageError, UserError

REFUSED = {
    Checkpoint: "a run keeps its own checkpoint",
    EarlyStopping: "the held-out fold would choose the epoch; the report says what early stopping would have given",
    ProgressBar: BAR,
    Timer: EPOCHS,
    LearningRateFinder: "it keeps a checkpoint where a run has its own; a sweep over learning_rate finds one",
    BatchSizeFinder: "it keeps a checkpoint where a run has its own; a sweep over data.batch_size finds one",
    StochasticWeightAveraging: "it averages after the checkpoint is written; recipe.averaging takes WeightAveraging",
}
PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


def trainer_options(config: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The options of Lightning's trainer that a config names beside our own; a profiler writes to the run's folder."""
    options = {name: value for name, value in config["trainer"].items() if name not in Device.__annotations__}
    if name := options.get("profiler"):
        options["profiler"] = PROFILERS[name](dirpath=folder, filename="profile")
    return options


def loggers_of(config: Mapping[str, Any], **about: str) -> Callable[[], list[Logger]]:
    """What makes the loggers of a config; `{name}` in their values stands for what is told about the run."""
    return _makers(config.get("logger"), "logger", Logger, about)


def callbacks_of(config: Mapping[str, Any], **about: str) -> Callable[[], list[L.Callback]]:
    """What makes the callbacks of a config, in the same way.

    Raises:
        UsageError: one that would change what a run leaves.
    """
    return _makers(config.get("callbacks"), "callbacks", L.Callback, about)


def _makers(nodes: Mapping[str, Any] | None, key: str, kind: type, about: Mapping[str, str]) -> Callable[[], list[Any]]:
    makers = {}
    for name, node in (nodes or {}).items():
        where = f"{key}.{name}"
        if not isinstance(node, Mapping):
            raise UsageError(f"{where} is {node!r}, expected a node with the name of a class as its _target_")
        makers[where] = maker(_told(node, where, about), where)
        if isinstance(target := get_object(node["_target_"]), type):  # else it is known once it has made one
            _refuse_other(target, where, kind)
    return partial(_made, makers, kind)


def _refuse_other(made: Any, key: str, kind: type) -> None:
    """Raise UsageError for a class, or what it made, that is not of the kind, or would break what a run leaves."""
    found = made if isinstance(made, type) else type(made)
    if not issubclass(found, kind):
        raise UsageError(f"{key}: {found.__name__} is no {kind.__name__} of Lightning's")
    for refused, reason in REFUSED.items():
        if issubclass(found, refused):
            raise UsageError(f"{key}: {found.__name__} cannot be chosen: {reason}")


def _made(makers: Mapping[str, Callable[[], Any]], kind: type) -> list[Any]:
    try:
        made = {key: make() for key, make in makers.items()}
    except ModuleNotFoundError as error:
        raise UserError(f"{', '.join(makers)}: {' '.join(str(error).split())}") from error
    for key, one in made.items():
        _refuse_other(one, key, kind)
    return list(made.values())


def _told(value: Any, key: str, about: Mapping[str, str]) -> Any:
    """A value with what is told about the run in place of `{name}`."""
    if isinstance(value, Mapping):
        return {name: _told(inner, f"{key}.{name}", about) for name, inner in value.items()}
    if isinstance(value, list):
        return [_told(inner, key, about) for inner in value]
    try:
        return value.format(**about) if isinstance(value, str) else value
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        known = ", ".join(f"{{{name}}}" for name in about)
        raise UsageError(f"{key} is {value!r}, expected none in braces but {known}") from error
