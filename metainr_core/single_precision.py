"""What becomes of values that are taken as float32."""

from __future__ import annotations

import numpy as np

# Half of what float32 holds: networks overshoot, and differences are float32 too.
LARGEST = float(np.finfo(np.float32).max) / 2


def is_small(values: np.ndarray) -> bool:
    """Whether all of ``(nz, …)`` are numbers up to ``LARGEST``.

    Slab by slab, without a mask of the whole volume. NaN is not within anything.
    """
    return all(slab.min() >= -LARGEST and slab.max() <= LARGEST for slab in values)


def too_large(values: np.ndarray) -> str:
    """How many of ``(nz, ny, nx, components)`` are finite and above ``LARGEST``, or nothing."""
    large = np.isfinite(values) & (np.abs(values) > LARGEST)
    if not large.any():
        return ""
    z, y, x, c = np.unravel_index(int(large.argmax()), large.shape)
    example = f"{float(values[z, y, x, c]):.3g} at x, y, z = {int(x), int(y), int(z)}"
    return f"{np.count_nonzero(large)} values too large for float32 networks, such as {example}"


def may_round(dtype: np.dtype) -> bool:
    """Whether float32 does not hold all of its values."""
    return dtype.itemsize >= 4 and dtype.newbyteorder("=") != np.float32


def rounding(original: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """By how much ``values``, the float32 of ``original``, are off: at most, and that relative to
    the range of the component where this is worst (0 where it is constant).

    Both ``(nz, ny, nx, components)``. What was not finite, and replaced, does not count.
    """
    off = np.zeros(original.shape[3])
    low, high = off + np.inf, off - np.inf
    for slab, rounded in zip(original, values, strict=True):
        exact = np.where(np.isfinite(slab), slab, rounded).astype(np.float64)
        off = np.maximum(off, np.abs(exact - rounded).max((0, 1)))
        low, high = np.minimum(low, exact.min((0, 1))), np.maximum(high, exact.max((0, 1)))
    share = np.divide(off, high - low, out=np.zeros_like(off), where=high > low)
    worst = int(share.argmax())
    return float(off[worst]), float(share[worst])
