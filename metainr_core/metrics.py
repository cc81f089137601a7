"""How far a reconstruction is from its original."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def psnr(mean_squared_error: float, value_range: float) -> float:
    """Peak signal-to-noise ratio in dB: 20 log10(range / rmse); infinite without error.

    ``value_range``: highest minus lowest value of the volume, or of the series for the
    series-range PSNR. An error in a constant field gives minus infinity.
    """
    if mean_squared_error == 0:
        return math.inf
    if value_range == 0:
        return -math.inf
    return 20 * math.log10(value_range) - 10 * math.log10(mean_squared_error)


@dataclass(frozen=True)
class Errors:
    """Mean squared and largest absolute error, in the data's units."""

    mean_squared: float
    largest: float

    @classmethod
    def between(cls, original: np.ndarray, reconstruction: np.ndarray) -> Errors:
        """Of two arrays of one shape, over all voxels and components."""
        total, largest = 0.0, 0.0
        # Slab by slab: float64 differences of a whole volume would triple the memory.
        for a, b in zip(original, reconstruction, strict=True):
            difference = a.astype(np.float64) - b
            total += float(np.vdot(difference, difference))
            largest = max(largest, float(np.abs(difference).max()))
        return cls(total / original.size, largest)
