"""Start an entry point through Hydra, and turn what users get wrong into one line and an exit status."""

import difflib
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cifar100x.config import CONF
from cifar100x.errors import is_interrupt, user_message
from cifar100x.runs import RunHeldError

FAILURE, USAGE, INTERRUPTED = 1, 2, 130
OPTIONAL_GROUPS = ("candidate", "experiment", "launch")


def launch(task: Callable[[DictConfig], None], config_name: str) -> None:
    """Run a task with the config that the command line asks for, once or as a sweep.

    A mistyped key or choice exits with status 2 before anything is written. In a sweep a run that fails says so at
    once, the others go on, and the exit status is 1.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let exceptions through: they are reported here
    _quiet()
    overrides = [argument for argument in sys.argv[1:] if "=" in argument and not argument.startswith("-")]
    flags = [argument for argument in sys.argv[1:] if argument not in overrides]
    sys.argv[1:] = flags + overrides  # Hydra's parser takes them in this order only

    def reporting(config: DictConfig) -> None:
        _quiet()  # here too: the run may be in another process than its launcher
        try:
            task(config)
        except Exception as error:
            hydra_config = HydraConfig.get()
            if hydra_config.mode == RunMode.RUN:
                _exit_on(error)
                raise
            if isinstance(error, RunHeldError):
                print(f"left to another sweep: {' '.join(hydra_config.overrides.task)}", flush=True)
                raise
            message = user_message(error) or f"{type(error).__name__}: {error}"
            print(f"error: {' '.join(hydra_config.overrides.task)}: {message}", file=sys.stderr, flush=True)
            raise  # for the launcher, which goes on with the other runs

    with one_line_errors("interrupted: the same command goes on from the last finished epoch"):
        check_overrides(overrides, config_name)
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(reporting)()


@contextmanager
def one_line_errors(when_interrupted: str = "interrupted") -> Iterator[None]:
    """Turn what users get wrong into one line and an exit status, and Ctrl-C too; a bug keeps its traceback."""
    try:
        yield
    except Exception as error:
        _exit_on(error)
        raise
    except BaseException as error:
        if not is_interrupt(error):
            raise
        _exit(when_interrupted, INTERRUPTED)


def _exit_on(error: Exception) -> None:
    """Exit if the error is the user's, with status 2 if it lies in the command line; return if it is a bug."""
    if message := user_message(error):
        _exit(message, FAILURE)
    if isinstance(error, HydraException | OmegaConfBaseException) and not isinstance(error, InstantiationException):
        _exit(_first_line(error), USAGE)


def check_overrides(arguments: list[str], config_name: str) -> None:
    """Exit with status 2 if an override names a key or a choice that does not exist, naming the nearest that does."""
    try:
        overrides = OverridesParser.create().parse_overrides(arguments)
    except HydraException as error:
        _exit(_first_line(error), USAGE)
    choices_of = groups()
    plain = [o for o in overrides if not (o.is_add() or o.is_delete() or o.key_or_group.startswith("hydra"))]
    of_groups = {o.key_or_group: _choices(o) for o in plain if o.key_or_group in choices_of and not _is_glob(o)}
    for group, choices in of_groups.items():
        for choice in choices:
            if choice not in choices_of[group] and not (choice == "null" and group in OPTIONAL_GROUPS):
                _exit_nearest(f"{group}={choice}: no such choice", choice, choices_of[group])
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        known = hydra.compose(config_name, [f"{group}={choices[0]}" for group, choices in of_groups.items()])
    keys = [*_keys(OmegaConf.to_container(known, resolve=False)), *choices_of]  # type: ignore[arg-type]
    for key in (o.key_or_group for o in plain):
        if key not in keys:
            _exit_nearest(f"{key}: no such key", key, keys)


def groups() -> dict[str, list[str]]:
    """The choices of every config group."""
    return {d.name: sorted(f.stem for f in d.glob("*.yaml")) for d in sorted(CONF.iterdir()) if d.is_dir()}


def _choices(override: Override) -> list[str]:
    if override.is_sweep_override():
        return [str(choice) for choice in override.sweep_string_iterator()]
    return [str(override.value() if override.value() is not None else "null")]


def _is_glob(override: Override) -> bool:
    return isinstance(override.value(), Glob)


def _keys(config: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """All dotted keys, those of branches too."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def _exit_nearest(problem: str, word: str, known: list[str]) -> None:
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.0)[0]
    _exit(f"{problem}; did you mean {nearest!r}?", USAGE)


def _first_line(error: BaseException) -> str:
    """Hydra's and OmegaConf's messages as one line, with the value and key they speak of."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    key = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("full_key:")), None)
    message = re.sub(r"\s+", " ", lines[0] if lines else type(error).__name__)
    return f"{key}: {message}" if key else message


def _exit(message: str, status: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)


def _quiet() -> None:
    """Silence advice of libraries that a user can do nothing about."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", module="torchmetrics.*")
