"""Stopping in good order: Ctrl-C, SIGTERM and SIGHUP raise KeyboardInterrupt, which lets go of everything that is held.

Nothing heavy is imported, so that a command can be stopped while it still imports.
"""

import math
import signal
import time
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN_SECONDS = 1.0  # a second signal sooner than that says nothing new


@dataclass
class Request:
    """The last request to stop that this process has had.

    Attributes:
        by: the signal; that of Ctrl-C, as long as there was none.
        time: when, on the monotonic clock.
    """

    by: signal.Signals = signal.SIGINT
    time: float = -math.inf


LAST = Request()


def forget_requests() -> None:
    """Begin a command: what ended an earlier one in this process is past."""
    LAST.by, LAST.time = signal.SIGINT, -math.inf


def heed_requests() -> None:
    """Raise KeyboardInterrupt if there was a request to stop that nobody has heeded.

    Some libraries swallow whatever is raised while they are imported.
    """
    if LAST.time > -math.inf:
        raise KeyboardInterrupt


def stop_in_good_order() -> None:
    """Raise KeyboardInterrupt at signals that ask a process to end; one that is ignored, as under nohup, stays so."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def ignore_signals() -> None:
    """Ignore them from here on: this process ends by itself."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _stop(number: int, _: FrameType | None) -> None:
    now, before = time.monotonic(), LAST.time
    if now - before > AGAIN_SECONDS:
        LAST.by, LAST.time = signal.Signals(number), now
        raise KeyboardInterrupt


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is a request to stop, or what a library made of one: Lightning an exit, torch another error."""
    chain: list[BaseException | None] = []
    cause: BaseException | None = error
    while cause not in chain:  # one that is raised anew may stand behind itself
        if isinstance(cause, KeyboardInterrupt):
            return True
        chain.append(cause)
        cause = cause and (cause.__cause__ or cause.__context__)
    return False
