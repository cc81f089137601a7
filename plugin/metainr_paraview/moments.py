"""Two inputs over time: which steps of the one belong to which of the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metainr_core.errors import SettingsError


@dataclass(frozen=True)
class Moment:
    """A time that both inputs have. ``step``: of the reference, or of the reconstruction when only
    that has steps. ``first``, ``second``: the step to read of reference and reconstruction."""

    step: int
    time: float
    first: int
    second: int


def moments(times: Sequence[float], others: Sequence[float]) -> list[Moment]:
    """The times that reference and reconstruction have in common.

    An input without times is the same at every time. Where both are, there is one moment, 0.
    Raises SettingsError when there is no common time.
    """
    from metainr_core.comparison import same_times

    if not times and not others:
        return [Moment(0, 0.0, 0, 0)]
    if not others:
        return [Moment(step, time, step, 0) for step, time in enumerate(times)]
    if not times:
        return [Moment(step, time, 0, step) for step, time in enumerate(others)]
    found = [Moment(a, times[a], a, b) for a, b in same_times(times, others).items()]
    if not found:
        raise SettingsError(
            "no time is in both inputs: the Reference has"
            f" {min(times):g} to {max(times):g}, the Reconstruction"
            f" {min(others):g} to {max(others):g}; choose runs of one series"
        )
    return found


def nearest(found: Sequence[Moment], time: float | None) -> Moment:
    """The moment nearest to a time; for None the first."""
    return found[0] if time is None else min(found, key=lambda moment: abs(moment.time - time))
