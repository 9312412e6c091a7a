"""Whose a folder is: a lock, and beside it an owner's name, for file systems whose locks are refused or not shared.

NFS with `local_lock` and Lustre with `localflock` grant a lock to one process a node; others refuse it. So a process
that holds a folder also signs a file in it, again and again, and looks before each write whether the signature is still
its own: a folder that was deleted and made anew, or taken over while it was suspended, is not written to any more.
"""

import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
from filelock import Timeout

from cifar100x.disk.locking import locked
from cifar100x.disk.reading import DAMAGED, read_json
from cifar100x.disk.writing import write_json
from cifar100x.errors import UserError

BEAT_SECONDS = 15.0
LOOK_SECONDS = 0.2  # between two looks whether a folder that no lock holds is free
STALE_SECONDS = 120.0  # after which an owner on another machine that does not sign any more is taken for dead


class HeldError(Exception):
    """Another process holds a folder.

    Args:
        who: it is, in words.
        folder: that it holds.
    """

    def __init__(self, who: str, folder: Path):
        super().__init__(f"{who} is at work in {folder}")
        self.who = who


class LostError(UserError):
    """A folder is not this process's any more."""


class Owner:
    """The signature of a process in a folder.

    Args:
        folder: that it holds.
    """

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / ".owner"
        self.token = secrets.token_hex(16)

    def sign(self) -> None:
        """Write it, in place of one whose owner is dead."""
        process = psutil.Process()
        write_json(
            self.path,
            {"host": _host(), "boot": _boot(), "pid": process.pid, "since": process.create_time(), "token": self.token},
        )

    @property
    def holds(self) -> bool:
        """Whether the folder is still this process's."""
        return _read(self.path).get("token") == self.token

    def check(self) -> None:
        """Raise LostError if it is not."""
        if not self.holds:
            raise LostError(
                f"{self.folder} was deleted or taken over by another process while this one was at it: this one "
                "stops, and has not written to it since; start it again where it is to go"
            )

    def beat(self, ended: threading.Event) -> None:
        """Sign again and again."""
        while not ended.wait(BEAT_SECONDS):
            try:
                os.utime(self.path)
            except OSError:
                return  # it is gone: the next write says so


@contextmanager
def owned(folder: Path, patience: float = -1) -> Iterator[Owner]:
    """Hold a folder.

    Args:
        folder: which must be there.
        patience: seconds to wait for one that is held; -1 for as long as it takes.

    Raises:
        HeldError: another process still holds it.
    """
    with ExitStack() as held:
        until = time.monotonic() + patience if patience >= 0 else math.inf
        try:
            held.enter_context(locked(folder / ".lock", patience))  # where there are none, signatures must do
        except Timeout as error:
            raise HeldError(living_owner(folder) or "another process", folder) from error
        while (who := living_owner(folder)) is not None:
            if time.monotonic() >= until:
                raise HeldError(who, folder)
            time.sleep(LOOK_SECONDS)
        owner, ended = Owner(folder), threading.Event()
        owner.sign()
        beating = threading.Thread(target=owner.beat, args=(ended,), daemon=True)
        beating.start()
        try:
            yield owner
        finally:
            ended.set()
            if owner.holds:
                owner.path.unlink()


def is_held(folder: Path) -> bool:
    """Whether a process is at work in a folder at this moment."""
    if living_owner(folder) is not None:
        return True
    if not (folder / ".lock").exists():
        return False
    try:
        with locked(folder / ".lock", patience=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def living_owner(folder: Path) -> str | None:
    """Who has signed a folder and may still be at it, in words; None if nobody is.

    On this machine a process lives or does not. Of another one it is known only that it has lately signed, by the clock
    of the file system.
    """
    path = folder / ".owner"
    found = _read(path)
    if not found:
        return None
    who = f"process {found['pid']} of {found['host']}"
    if found["host"] == _host():
        return who if found["boot"] == _boot() and _lives(found["pid"], found["since"]) else None
    try:
        silent = _now_of(folder) - path.stat().st_mtime
    except FileNotFoundError:  # it has just ended
        return None
    return (
        f"{who} (silent for {silent:.0f} s; taken for dead after {STALE_SECONDS:.0f})"
        if silent < STALE_SECONDS
        else None
    )


def _lives(pid: int, since: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - since) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _now_of(folder: Path) -> float:
    """The time on the clock that dates a folder's files."""
    try:
        (folder / ".lock").touch()
        return (folder / ".lock").stat().st_mtime
    except OSError:
        return time.time()


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, *DAMAGED):
        return {}
    return found if isinstance(found, dict) and {"host", "boot", "pid", "since", "token"} <= found.keys() else {}


def _host() -> str:
    return socket.gethostname()


def _boot() -> str:
    """Which start of this machine it is; empty where nobody says."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
