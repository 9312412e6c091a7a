"""Writing so that whoever reads a file reads a whole one, also after a crash or a power cut."""

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cifar100x.errors import FULL, UserError

NO_LINK = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` once it is complete and on the disk; until then nothing changes.

    It is written beside its place under a name that nobody can foresee, so that two writers do not meet and no link
    leads elsewhere.

    Raises:
        UserError: it cannot be written there.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o666)
        with open(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:  # noqa: PTH123
            yield file
        put_in_place(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(cannot_write(path, error)) from error
        raise


def put_in_place(partial: Path, path: Path) -> None:
    """Give a file or folder that is complete its name: after a power cut it is there whole, or not at all."""
    for part in (*partial.rglob("*"), partial):
        _put_on_disk(part)
    partial.replace(path)
    _put_on_disk(path.parent)  # the name, too


def _put_on_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def appending(path: Path) -> IO[bytes]:
    """Open a file, which is made if it is absent, to write at its end; never through a link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_LINK, 0o666)
    return open(descriptor, "ab")  # noqa: PTH123


def cannot_write(path: object, error: OSError) -> str:
    """What to tell the user of a file that the system does not let be written."""
    remedy = "mend the file system or write elsewhere"
    if isinstance(error, PermissionError):
        remedy = "change its folder's owner or mode, or write elsewhere"
    elif error.errno in FULL:
        remedy = "free the disk or write elsewhere"
    elif error.errno == errno.ENAMETOOLONG:
        remedy = "choose shorter names"
    return f"cannot write {path}: {error.strerror or error}; {remedy}"


def write_json(path: Path, content: Any) -> None:
    """Write a file of JSON in place of what was there."""
    with replacing(path) as file:
        json.dump(content, file, indent=1)
