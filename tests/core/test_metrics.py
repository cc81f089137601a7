"""PSNR, errors and SSIM against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metainr_core import metrics
from metainr_core.metrics import Errors, psnr, ssim


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
    assert found.mean == pytest.approx(0.75 / 180, rel=1e-5)
    assert found.mean_squared == pytest.approx((0.25 + 0.0625) / 180, rel=1e-5)
    assert Errors.between(original, original) == Errors(0.0, 0.0, 0.0)


def test_small_errors_on_a_large_offset_are_not_lost() -> None:
    original = np.full((2, 2, 2, 1), 2**20, np.float32)
    assert Errors.between(original, original + np.float32(0.125)).largest == 0.125


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="zip"):
        Errors.between(np.zeros((2, 2, 2, 1)), np.zeros((3, 2, 2, 1)))


def noisy(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = np.cumsum(rng.standard_normal(shape), axis=2).astype(np.float32)
    return a, a + rng.normal(0, 0.5, shape).astype(np.float32)


def windowed_ssim(a: np.ndarray, b: np.ndarray, value_range: float) -> float:
    """The formula, window by window, in plain loops: ``(nz, ny, nx)``, all at least 11."""
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.einsum("i,j,k->ijk", line, line, line)
    window /= window.sum()
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    found = []
    for z, y, x in np.ndindex(*(n - 10 for n in a.shape)):
        p, q = (v[z : z + 11, y : y + 11, x : x + 11].astype(np.float64) for v in (a, b))
        mean_p, mean_q = np.sum(window * p), np.sum(window * q)
        var_p, var_q = (np.sum(window * (v - m) ** 2) for v, m in ((p, mean_p), (q, mean_q)))
        cov = np.sum(window * (p - mean_p) * (q - mean_q))
        found.append(
            (2 * mean_p * mean_q + c1)
            * (2 * cov + c2)
            / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2))
        )
    return float(np.mean(found))


@pytest.mark.parametrize("slab", [1 << 21, 200])
def test_ssim_agrees_with_plain_loops(slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    monkeypatch.setattr(metrics, "_SLAB_VOXELS", slab)
    a, b = noisy((15, 13, 14, 1))
    expected = windowed_ssim(a[..., 0], b[..., 0], float(np.ptp(a)))
    assert ssim(a, b, float(np.ptp(a))) == pytest.approx(expected, rel=1e-9)
    assert 0.2 < expected < 0.99


def test_ssim_is_one_for_equal_volumes_and_falls_with_noise() -> None:
    pytest.importorskip("scipy")
    a, b = noisy((12, 12, 12, 2))
    width = float(np.ptp(a))
    values = [ssim(a, a + share * (b - a), width) for share in (0, 0.3, 1, 3)]
    assert values[0] == pytest.approx(1)
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


def test_ssim_of_components_is_their_mean() -> None:
    pytest.importorskip("scipy")
    a, b = noisy((12, 13, 14, 2))
    each = [ssim(a[..., i : i + 1], b[..., i : i + 1], 3.0) for i in range(2)]
    assert ssim(a, b, 3.0) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("slab", [1 << 21, 50])
def test_ssim_of_thin_volumes(slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the volume went on, mirrored."""
    pytest.importorskip("scipy")
    monkeypatch.setattr(metrics, "_SLAB_VOXELS", slab)
    a, b = noisy((4, 13, 12, 1))
    ends = ((5, 5), (0, 0), (0, 0))
    first, second = (np.pad(v[..., 0], ends, mode="symmetric") for v in (a, b))
    assert ssim(a, b, 5.0) == pytest.approx(windowed_ssim(first, second, 5.0), rel=1e-9)
    one = np.ones((1, 1, 1, 1), np.float32)
    assert ssim(one, one, 1.0) == 1


def test_ssim_of_a_constant_volume() -> None:
    a = np.full((3, 3, 3, 1), 2.0, np.float32)
    assert ssim(a, a, 0.0) == 1
    assert ssim(a, a + 1, 0.0) == 0
