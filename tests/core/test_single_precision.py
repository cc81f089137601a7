"""What float32 makes of values."""

from __future__ import annotations

import numpy as np
import pytest

from metainr_core.single_precision import LARGEST, is_small, may_round, rounding, too_large


def field() -> np.ndarray:
    return np.linspace(-1, 1, 120).reshape(3, 4, 5, 2)


@pytest.mark.parametrize(
    ("value", "small"), [(0.0, True), (LARGEST, True), (-LARGEST * 1.01, False), (np.nan, False)]
)
def test_small_values_are_numbers_within_half_of_float32(value: float, small: bool) -> None:
    values = field().astype(np.float32)
    values[1, 2, 3, 1] = value
    assert is_small(values) is small


def test_what_is_too_large_is_counted_and_named() -> None:
    values = field()
    assert too_large(values) == ""
    values[0, 0, 0, 0], values[2, 1, 3, 1], values[2, 2, 2, 0] = np.inf, 1e300, -1e39
    assert too_large(values) == (
        "2 values too large for float32 networks, such as 1e+300 at x, y, z = (3, 1, 2)"
    )


@pytest.mark.parametrize(
    ("kind", "may"),
    [("?", False), ("u1", False), ("i2", False), ("f2", False), ("f4", False), (">f4", False),
     ("i4", True), ("u8", True), ("f8", True)],
)  # fmt: skip
def test_types_whose_values_are_measured(kind: str, may: bool) -> None:
    assert may_round(np.dtype(kind)) is may


def test_the_rounding_is_that_of_the_component_that_loses_most() -> None:
    original = field() * [1, 1000] + [1e6, 0]
    off, share = rounding(original, original.astype(np.float32))
    exact = np.abs(original - original.astype(np.float32))[..., 0]
    assert off == exact.max()
    assert share == pytest.approx(exact.max() / np.ptp(original[..., 0]))
    # Whole numbers up to 2^24 lose nothing; a constant has no range; replaced values do not count.
    whole = np.arange(2**24 - 120, 2**24).reshape(3, 4, 5, 2)
    assert rounding(whole, whole.astype(np.float32)) == (0, 0)
    constant = np.full((3, 4, 5, 1), 1e9 + 1)
    assert rounding(constant, constant.astype(np.float32))[1] == 0
    holed = field()
    holed[0, 0, 0] = np.nan
    assert rounding(holed, np.nan_to_num(holed, nan=7).astype(np.float32))[1] < 1e-6
