"""Numbers as people read them."""

from math import isfinite


def percent(fraction: float) -> str:
    """A fraction in percent."""
    return f"{100 * fraction:.1f}%"


def points(fraction: float) -> str:
    """A share in points, without more digits than it has."""
    return f"{100 * fraction:g}"


def interval(low: float, high: float, digits: int = 1, sign: str = "", scale: float = 100) -> str:
    """Both ends of an interval, without a unit; a dash for that of one fold, which has none."""
    return f"{scale * low:{sign}.{digits}f} to {scale * high:{sign}.{digits}f}" if isfinite(low) else "–"
