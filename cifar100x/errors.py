"""Errors that are the user's doing and not the programmer's."""

import errno

FULL = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG)
OF_PLACES = (
    errno.ENOENT, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO, errno.ESTALE,
    errno.ENOLCK,
)  # fmt: skip
"""Errors of the system that say something of the place that the user named, or of its disk, and not of the program."""


class UserError(ValueError):
    """Bad input: the message says what was found, what was expected and what to do.

    Entry points print it as one line and exit with status 1; no traceback is shown.
    """


class UsageError(UserError):
    """Something that a command line or a config says cannot be meant. Entry points exit with status 2."""


def printable(text: str) -> str:
    """A text of unknown origin as a terminal may have it: what would steer the terminal is spelt out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def user_message(error: BaseException) -> str | None:
    """What to tell the user of an error, or None if it is a bug, which deserves its traceback."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in FULL:
            return f"cannot write {cause.filename or 'a file'}: {cause.strerror}; free the disk or write elsewhere"
        if isinstance(cause, PermissionError):
            return f"no permission for {cause.filename or 'a file'}: change its owner or mode, or name another place"
        if isinstance(cause, OSError) and cause.errno in OF_PLACES:
            return f"cannot use {cause.filename or 'a file'}: {cause.strerror}; name another place"
        cause = cause.__cause__
    return None
