"""Errors that are the user's doing and not the programmer's."""


class UserError(ValueError):
    """Bad input: the message says what was found, what was expected and what to do.

    Entry points print it as one line and exit with status 1; no traceback is shown.
    """


def is_interrupt(error: BaseException) -> bool:
    """Whether the user pressed Ctrl-C; Lightning turns that into an exit."""
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt)
    )
