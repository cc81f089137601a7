"""How far a reconstruction is from its original, voxel by voxel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .extras import extra

# The window of Wang et al. (2004): a Gaussian of this width, cut to 11 voxels along each axis.
_SIGMA = 1.5
_RADIUS = 5
_SLAB_VOXELS = 1 << 21


def magnitude(values: np.ndarray) -> np.ndarray:
    """The scalars ``(nz, ny, nx)`` of ``(nz, ny, nx, components)``: the only one, or the length."""
    return values[..., 0] if values.shape[3] == 1 else np.linalg.norm(values, axis=3)


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
    """Mean squared, largest absolute and mean absolute error, in the data's units (squared)."""

    mean_squared: float
    largest: float
    mean: float

    @classmethod
    def between(cls, original: np.ndarray, reconstruction: np.ndarray) -> Errors:
        """Of two arrays of one shape, over all voxels and components."""
        squared, absolute, largest = 0.0, 0.0, 0.0
        # Slab by slab: float64 differences of a whole volume would triple the memory.
        for a, b in zip(original, reconstruction, strict=True):
            difference = np.abs(a.astype(np.float64) - b)
            squared += float(np.vdot(difference, difference))
            absolute += float(difference.sum())
            largest = max(largest, float(difference.max()))
        return cls(squared / original.size, largest, absolute / original.size)


def ssim(original: np.ndarray, reconstruction: np.ndarray, value_range: float) -> float:
    """Mean structural similarity index of two volumes, 1 for equal ones.

    That of Wang, Bovik, Sheikh and Simoncelli (IEEE TIP 13(4), 2004) in three dimensions:
    Gaussian window of sigma 1.5 and 11 voxels along each axis, K1 0.01, K2 0.03, population
    variances. Both arrays: ``(nz, ny, nx, components)``; the mean is over components, and over
    the voxels whose window lies inside the volume; along an axis of fewer than 11 voxels over all
    of them, with the values mirrored at its ends. ``value_range``: highest minus lowest value that
    the original may have; where it is 0 the answer is 1 for equal volumes and 0 for others.
    Raises MetaINRError where SciPy is missing.
    """
    if value_range == 0:
        return float(np.array_equal(original, reconstruction))
    total, count = 0.0, 0
    components = original.shape[3]
    nz, ny, nx = original.shape[:3]
    inside = [slice(_RADIUS, n - _RADIUS) if n > 2 * _RADIUS else slice(0, n) for n in (nz, ny, nx)]
    height = max(1, _SLAB_VOXELS // (ny * nx))
    for component in range(components):
        for first in range(inside[0].start, inside[0].stop, height):
            last = min(first + height, inside[0].stop)
            # The slab, and as much around it as its windows see.
            low, high = max(first - _RADIUS, 0), min(last + _RADIUS, nz)
            a, b = (
                v[low:high, ..., component].astype(np.float64) for v in (original, reconstruction)
            )
            found = _similarity(a, b, value_range)[first - low : last - low, inside[1], inside[2]]
            total += float(found.sum())
            count += found.size
    return total / count


def _similarity(a: np.ndarray, b: np.ndarray, value_range: float) -> np.ndarray:
    filters: Any = extra("scipy.ndimage", "SSIM")

    def mean(values: np.ndarray) -> np.ndarray:
        return filters.gaussian_filter(values, _SIGMA, truncate=_RADIUS / _SIGMA)

    mean_a, mean_b = mean(a), mean(b)
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    covariance = mean(a * b) - product
    variances = mean(a * a + b * b) - squares
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    return (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
