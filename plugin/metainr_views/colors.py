"""Colours and opacities that are the same for a series and its reconstruction, at every time."""

from __future__ import annotations

from typing import Any

import numpy as np
from paraview import simple

from .sources import Array, array_range, table_columns

PREFIX = "Side by side"  # of the names under which functions are registered
VOLUME, SURFACE = "Inferno (matplotlib)", "Plasma (matplotlib)"
DIFFERENCE = "Cool to Warm"
DISTANCE = (0.85, 0.85, 0.85), (1.0, 0.6, 0.2), (0.7, 0.0, 0.1)  # the lowest is seen on dark
TransferFunctions = tuple[Any, Any]  # colours and opacities


def value_functions(original: Any, array: Array, preset: str) -> TransferFunctions:
    """Over the original's values at all times.

    The median is transparent and what is far from it opaque: what fills space hides little.
    """
    low, high = array_range(original, array, all_times=True)
    middle = min(max(median(original, array), low), high)
    functions = over_range("values", preset, low, high)
    reach = max(middle - low, high - middle) or 1.0
    points: list[float] = []
    for end, shares in ((low, (1.0, 0.5, 0.2, 0.0)), (high, (0.2, 0.5, 1.0))):
        for share in shares:
            distance = share * abs(end - middle)
            opacity = 0.9 * distance / reach
            points += [middle + share * (end - middle), opacity, 0.5, 0.0]
    functions[1].Points = points
    return functions


def median(source: Any, array: Array) -> float:
    histogram = simple.Histogram(Input=source, SelectInputArray=list(array), BinCount=256)
    values, counts = list(table_columns(histogram).values())[:2]
    simple.Delete(histogram)
    return float(values[np.searchsorted(counts.cumsum(), counts.sum() / 2)])


def difference_functions(reach: float, values: TransferFunctions) -> TransferFunctions:
    """Centred at 0, which is transparent."""
    if not reach:  # nothing differs: any range will do that does not magnify rounding
        low, high = ends(values)
        reach = 1e-6 * (high - low) or 1.0
    functions = over_range("difference", DIFFERENCE, -reach, reach)
    ramp = ((-1.0, 0.9), (-0.5, 0.25), (-0.15, 0.0), (0.15, 0.0), (0.5, 0.25), (1.0, 0.9))
    functions[1].Points = [x for at, opacity in ramp for x in (at * reach, opacity, 0.5, 0.0)]
    return functions


def distance_functions(reach: float) -> TransferFunctions:
    points = [
        (at * (reach or 1.0), *rgb) for at, rgb in zip((0.0, 0.5, 1.0), DISTANCE, strict=True)
    ]
    functions = functions_named("distance")
    functions[0].RGBPoints = [value for point in points for value in point]
    return functions


def over_range(name: str, preset: str, low: float, high: float) -> TransferFunctions:
    functions = functions_named(name)
    functions[0].ApplyPreset(preset, True)
    functions[0].RescaleTransferFunction(low, high)
    return functions


def functions_named(name: str) -> TransferFunctions:
    """Functions of our own: those that the user has for the array stay as they are."""
    found = simple.GetColorTransferFunction, simple.GetOpacityTransferFunction
    colors, opacities = (get(f"{PREFIX}: {name}") for get in found)
    return colors, opacities


def ends(functions: TransferFunctions) -> tuple[float, float]:
    """The values of the first and the last colour."""
    points = functions[0].RGBPoints
    return points[0], points[-4]


def largest_shown(compare: Any, factor: float, mean: str, largest: str, all_times: bool) -> float:
    """Where the colours end: at the largest value, or at `factor` times the mean where a few
    outliers would leave all else without colour. ``mean``, ``largest``: columns' names begin so.
    """
    now = simple.GetAnimationScene().AnimationTime
    found = [0.0]
    for time in compare.TimestepValues if all_times else [now]:
        compare.UpdatePipeline(time)
        columns = table_columns(simple.OutputPort(compare, 0))
        for end in (name[len(mean) :] for name in columns if name.startswith(mean)):
            means, highest = columns[mean + end], columns[largest + end]
            known = np.isfinite(highest)  # a surface that is not there is infinitely far
            found += list(np.minimum(factor * means, highest)[known])
    compare.UpdatePipeline(now)
    return max(found)
