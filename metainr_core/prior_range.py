"""Whether the values of steps lie where a prior's networks can be taken in a few passes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from .errors import MetaINRWarning, PriorError
from .prior import Prior
from .series import Range, Series

# Networks give about -1 to 1. Measured (tests/RELIABILITY.md, "Odd data"): values up to 4 cost
# nothing to 2 dB, up to 10 cost 10 dB, and from 30 on nothing but the mean is learned.
_FAR, _TOO_FAR = 4.0, 1e3
# The prior's range over that of the steps, above which they are a detail to its networks.
_WIDE = 20.0


def check_prior_range(prior: Prior, series: Series, ranges: Mapping[int, Range]) -> None:
    """``ranges``: of the steps that are to start from the prior.

    Gives one MetaINRWarning when some lie so far from the values that the prior was learned from
    that fits are much worse; raises PriorError when no network would get there.
    """
    if not ranges:
        return
    centre, half = prior.value_range.scale()

    def reach(found: Range) -> float:
        ends = np.array([found.low, found.high], np.float64) - centre
        return float((np.abs(ends) / half).max())

    step = max(ranges, key=lambda s: reach(ranges[s]))
    farthest, all_steps = ranges[step], Range.union(ranges.values())
    times = reach(farthest)
    cure = "pretrain on this series with --lambda-t 1, which reads all of its steps"
    if times > _FAR:
        what = (
            f"{series.where(step)} has values from {_shown(farthest)}, the prior was learned from"
            f" {_shown(prior.value_range)}, {times:.3g} times closer to their middle"
        )
        if times > _TOO_FAR:
            raise PriorError(f"{what}; {cure}")
        warnings.warn(f"{what}: such steps get worse; {cure}", MetaINRWarning, stacklevel=3)
    elif 0 < all_steps.width < prior.value_range.width / _WIDE:
        warnings.warn(
            f"the prior was learned from values from {_shown(prior.value_range)}, and"
            f" {series.name} has only {_shown(all_steps)}: its steps get worse; {cure}",
            MetaINRWarning,
            stacklevel=3,
        )


def _shown(values: Range) -> str:
    pairs = zip(values.low, values.high, strict=True)
    return ", ".join(f"{low:.4g} to {high:.4g}" for low, high in pairs)
