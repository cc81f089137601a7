"""PSNR and errors against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metainr_core.metrics import Errors, psnr


def test_psnr_is_its_definition() -> None:
    assert psnr(0.01, 1.0) == pytest.approx(20)
    assert psnr(4.0, 200.0) == pytest.approx(40)
    assert psnr(0.0, 1.0) == math.inf
    assert psnr(0.0, 0.0) == math.inf
    assert psnr(1e-9, 0.0) == -math.inf


@pytest.mark.parametrize("size", [1e-30, 1.0, 3e38])
def test_psnr_does_not_depend_on_the_unit(size: float) -> None:
    rng = np.random.default_rng(0)
    original = rng.random((4, 5, 6, 2))
    copy = original + 0.01 * rng.standard_normal(original.shape)
    unit = np.float32(size) * original.astype(np.float32), np.float32(size) * copy
    found = Errors.between(unit[0], unit[1].astype(np.float32))
    plain = Errors.between(original, copy)
    assert psnr(found.mean_squared, size) == pytest.approx(psnr(plain.mean_squared, 1), abs=1e-3)


def test_errors_are_over_all_voxels_and_components() -> None:
    rng = np.random.default_rng(1)
    original = rng.random((3, 4, 5, 3)).astype(np.float32)
    copy = original.copy()
    copy[2, 3, 4, 1] += 0.5
    copy[0, 0, 0, 0] -= 0.25
    found = Errors.between(original, copy)
    assert found.largest == pytest.approx(0.5)
    assert found.mean_squared == pytest.approx((0.25 + 0.0625) / 180, rel=1e-5)
    assert Errors.between(original, original) == Errors(0.0, 0.0, 0.0)


def test_small_errors_on_a_large_offset_are_not_lost() -> None:
    original = np.full((2, 2, 2, 1), 2**20, np.float32)
    assert Errors.between(original, original + np.float32(0.125)).largest == 0.125


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="zip"):
        Errors.between(np.zeros((2, 2, 2, 1)), np.zeros((3, 2, 2, 1)))
