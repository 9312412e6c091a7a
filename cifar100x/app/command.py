"""Start a command through Hydra, and turn what users get wrong into one line and an exit status.

Hydra and all that knows it is imported when a command is under way and can be stopped.
"""

import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from signal import SIGINT, SIGPIPE
from typing import TYPE_CHECKING, Any, NoReturn

from cifar100x.errors import UsageError, printable, user_message
from cifar100x.ranks import forget_ranks, is_rank
from cifar100x.stopping import (
    LAST,
    forget_requests,
    heed_requests,
    ignore_signals,
    is_interrupt,
    stop_in_good_order,
)

if TYPE_CHECKING:
    from omegaconf import DictConfig

FAILURE, USAGE = 1, 2
TOLD = ("cifar100x", "torch", "lightning", "hydra-core")
"""Packages whose versions `--version` tells."""
PACKAGE = Path(__file__).resolve().parents[1]


def launch(command: Callable[..., None], name: str, takes: Any = None, goes_on: str = "") -> None:
    """Run a command with the config that the command line asks for.

    A mistyped key or choice exits with status 2 before anything heavy is imported.

    Args:
        command: is called with the keys of the config.
        name: of its config.
        takes: a TypedDict of these keys; by default they are the command's own parameters.
        goes_on: what to tell a user who interrupts it.
    """
    with one_line_errors(goes_on):
        if sys.argv[1:] == ["--version"]:  # Hydra would tell its own alone
            print(", ".join(f"{package} {metadata.version(package)}" for package in TOLD))
            return
        import yaml
        from hydra import version
        from hydra._internal.utils import _run_hydra, get_args_parser
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        from cifar100x.app.arguments import checked
        from cifar100x.app.command_line import CommandLine
        from cifar100x.app.configs import CONF, check_added, check_reading, groups, plain
        from cifar100x.app.help import help_text
        from cifar100x.runs.identity import flat

        os.environ["HYDRA_FULL_ERROR"] = "1"  # let exceptions through: they are told here
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
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UsageError(f"a config in {line.folders[0]} cannot be read: {' '.join(str(error).split())}") from error
        for config in configs:
            see_working_folder(bool(config.get("trust")) or any(key.endswith("_target_") for key in flat(config)))
            check_added(line.overrides, config, groups(line.folders))
            check_reading(line.overrides, [config])
            heed_requests()
            command(**checked(config, takes or command))


def see_working_folder(wanted: bool = True) -> None:
    """Import modules from the working folder, after all others: what the user names may lie there."""
    if wanted and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def hide_working_folder() -> None:
    """Import nothing from the working folder, whose `hydra_plugins` Hydra would; unless this package lies in it."""
    if Path.cwd() != PACKAGE.parent:
        sys.path[:] = [path for path in sys.path if path and Path(path).resolve() != Path.cwd()]


@contextmanager
def one_line_errors(goes_on: str = "") -> Iterator[None]:
    """Turn what users get wrong, and a request to stop, into one line and an exit status; a bug keeps its traceback.

    Args:
        goes_on: what to tell a user who stops the command.
    """
    try:
        hide_working_folder()
        forget_ranks()
        forget_requests()
        stop_in_good_order()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # where a locale lacks a character
        yield
        sys.stdout.flush()
    except BaseException as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads_on():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + SIGPIPE)
        if is_interrupt(error):
            ignore_signals()
            by = "interrupted" if LAST.by == SIGINT else f"stopped by {LAST.by.name}"
            _exit(f"{by}{goes_on}", 128 + LAST.by)  # as shells have it
        if message := user_message(error):
            _exit(message, USAGE if isinstance(error, UsageError) else FAILURE)
        raise


def _nobody_reads_on() -> bool:
    """Whether the reader of the output has gone, as after `| head`."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in output.poll(0))


def _exit(message: str, status: int) -> NoReturn:
    if not is_rank():  # the first process of a run speaks for all
        print(f"error: {printable(message)}", file=sys.stderr)
    sys.exit(status)
