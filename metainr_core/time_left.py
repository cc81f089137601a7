"""How long something still takes, for people who wait for it."""

from __future__ import annotations

_MINUTES, _HOURS = 100, 100 * 60  # seconds from which on a time is told in these


def time_left(seconds: float, share: float) -> str:
    """``35 s left`` when `share` of the work (0 to 1) took so many seconds; empty at share 0."""
    if share <= 0:
        return ""
    left = seconds * (1 - share) / share
    if left < _MINUTES:
        return f"{left:.0f} s left"
    if left < _HOURS:
        return f"{left / 60:.0f} min left"
    return f"{left / 3600:.1f} h left"
