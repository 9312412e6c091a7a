"""Start a command through Hydra, and turn what users get wrong into one line and an exit status."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from hydra import version
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from cifar100x.app.arguments import checked
from cifar100x.app.command_line import CommandLine
from cifar100x.app.configs import CONF, check_added, groups, plain
from cifar100x.app.help import help_text
from cifar100x.errors import UsageError, is_interrupt, user_message

FAILURE, USAGE, INTERRUPTED = 1, 2, 130


def launch(command: Callable[..., None], name: str, takes: Any = None, goes_on: str = "") -> None:
    """Run a command with the config that the command line asks for.

    A mistyped key or choice exits with status 2 before anything heavy is imported.

    Args:
        command: is called with the keys of the config.
        name: of its config.
        takes: a TypedDict of these keys; by default they are the command's own parameters.
        goes_on: what to tell a user who interrupts it.
    """
    see_working_folder()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let exceptions through: they are told here
    with one_line_errors(f"interrupted{goes_on}"):
        line = CommandLine(sys.argv[1:], name)
        if line.flags.help:
            print(help_text(name, line.folders))
            return

        found: list[DictConfig] = []  # none where Hydra only shows something, or a sweep has run
        try:
            version.setbase("1.3")
            _run_hydra(line.flags, get_args_parser(), found.append, config_path=str(CONF), config_name=name)
            configs = [plain(composed) for composed in found]
        except (HydraException, OmegaConfBaseException) as error:
            raise UsageError(line.explain(error)) from error
        for config in configs:
            check_added(line.overrides, config, groups(line.folders))
            command(**checked(config, takes or command))


def see_working_folder() -> None:
    """Import modules from the working folder, as `python -m` does and a console script does not."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


@contextmanager
def one_line_errors(when_interrupted: str = "interrupted") -> Iterator[None]:
    """Turn what users get wrong into one line and an exit status, and Ctrl-C too; a bug keeps its traceback."""
    try:
        yield
    except Exception as error:
        if message := user_message(error):
            _exit(message, USAGE if isinstance(error, UsageError) else FAILURE)
        raise
    except BaseException as error:
        if not is_interrupt(error):
            raise
        _exit(when_interrupted, INTERRUPTED)


def _exit(message: str, status: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
