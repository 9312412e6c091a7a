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
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
        with open(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:  # noqa: PTH123
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)  # the new name, too, is to outlive a power cut
        os.fsync(folder)
        os.close(folder)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(cannot_write(path, error)) from error
        raise


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
