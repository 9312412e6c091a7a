"""Numbers and names as people read them."""

from collections.abc import Sequence
from math import isfinite

MOST_NAMES = 7  # in one sentence


def percent(fraction: float) -> str:
    """A fraction in percent."""
    return f"{100 * fraction:.1f}%"


def points(fraction: float) -> str:
    """A share in points, without more digits than it has."""
    return f"{100 * fraction:g}"


def interval(low: float, high: float, digits: int = 1, sign: str = "", scale: float = 100) -> str:
    """Both ends of an interval, without a unit; a dash for that of one fold, which has none."""
    return f"{scale * low:{sign}.{digits}f} to {scale * high:{sign}.{digits}f}" if isfinite(low) else "–"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them; of many, the first."""
    if not names:
        return ""
    if len(names) > MOST_NAMES:
        return f"{', '.join(names[: MOST_NAMES - 1])} and {len(names) - MOST_NAMES + 1} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
