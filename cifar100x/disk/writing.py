"""Writing so that whoever reads a file reads a whole one, also after a crash or a power cut."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cifar100x.errors import UserError


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` once it is complete and on the disk; until then nothing changes.

    Raises:
        UserError: there is no permission to write there.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open(mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)  # the new name, too, is to outlive a power cut
        os.fsync(folder)
        os.close(folder)
    except BaseException as error:
        if partial.is_file():
            partial.unlink()
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
            raise UserError(
                f"cannot write {path}: {error.strerror}; change its folder's owner or mode, or write elsewhere"
            ) from error
        raise


def write_json(path: Path, content: Any) -> None:
    """Write a file of JSON in place of what was there."""
    with replacing(path) as file:
        json.dump(content, file, indent=1)
