"""Locks between processes, on file systems that may refuse them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

UNLOCKABLE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def locked(path: Path, patience: float = -1) -> Iterator[None]:
    """Hold the lock of a file, which is made if it is absent; where the file system has no locks, nothing is held.

    Args:
        path: of the file.
        patience: seconds to wait for one that is held; -1 for as long as it takes.

    Raises:
        filelock.Timeout: another process still holds it.
    """
    lock = FileLock(path, timeout=patience)
    try:
        lock.acquire()
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in UNLOCKABLE:
            raise
    try:
        yield
    finally:
        lock.release()
