"""The one exception whose message is written for the user, not for the programmer."""


class UserError(ValueError):
    """Bad input: the message says what was found, what was expected and what to do.

    Entry points print it as one line and exit with status 1; no traceback is shown.
    """
