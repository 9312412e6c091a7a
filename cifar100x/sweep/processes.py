"""A job as a process of its own. Nothing here imports torch, so what a job may see is settled before it does."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from cifar100x.disk.writing import appending

POLL_SECONDS = 0.1
STOP_SECONDS = 30.0  # that a job has to stop in good order
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1  # prctl.h


@dataclass(frozen=True)
class JobProcess:
    """A job that is to run as a process.

    Attributes:
        module: that is run, as with `python -m`.
        arguments: of its command line.
        folder: that it runs in; absolute.
        log: that its output is appended to, from `folder`.
        input: what it reads on standard input.
        environment: variables that it has beside those of who starts it.
    """

    module: str
    arguments: Sequence[str]
    folder: str
    log: str
    input: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def run(self) -> int:
        """Run it to its end and return its exit status, negative if a signal ended it.

        It ends with the thread that called, too, however that ends: as if by Ctrl-C.
        """
        signal.signal(signal.SIGINT, signal.default_int_handler)  # so that a cancelled task of Ray stops
        command = [sys.executable, "-m", self.module, *self.arguments]
        log = Path(self.folder, self.log)
        with appending(log) as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | self.environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                preexec_fn=_end_with_parent,
            )
            try:
                with suppress(BrokenPipeError), process.stdin as pipe:  # type: ignore[union-attr]
                    pipe.write(self.input)
                while process.poll() is None:
                    time.sleep(POLL_SECONDS)
            finally:
                _end(process)
        return process.returncode

    def with_environment(self, **variables: str) -> Self:
        """The same with more variables in its environment."""
        return replace(self, environment=self.environment | variables)

    def last_words(self) -> str:
        """The last line that it said; empty if there is none."""
        try:
            lines = Path(self.folder, self.log).read_text(errors="replace").splitlines()
        except OSError:  # where its log could not be made, neither was it
            return ""
        return lines[-1] if lines else ""


def _end(process: subprocess.Popen) -> None:
    """Ask it to stop, if it has not; kill it if it does not answer, or if nobody wants to wait for that any more."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except BaseException:
        process.kill()
        raise


def _end_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for warning in (signal.SIGUSR1, signal.SIGUSR2):  # Slurm's, that time is up: the parent deals with it
        signal.signal(warning, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # Ray's workers block it
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def ending(status: int) -> str:
    """What to say of an exit status that is not 0."""
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    return f"killed by {name}" + (", perhaps for want of memory" if -status == signal.SIGKILL else "")
