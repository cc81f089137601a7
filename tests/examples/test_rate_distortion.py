"""Rate and distortion: bounds hold, sizes fall as bounds grow, and curves are read rightly."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from benchmarks import peers, rate_distortion, rate_plot
from benchmarks.rate_plot import Point, front, psnr_at
from benchmarks.results import Results
from benchmarks.synthetic import smooth_series

from metainr_core import PretrainConfig, choose_siren
from metainr_core.device import find_device

BOUNDS = (1e-3, 1e-2, 1e-1)
NEEDED = "the benchmark compares with it: pip install pysz zfpy"


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    """``(3, 20, 20, 20, 2)``: two components with different ranges."""
    volumes = peers.read_all(smooth_series(20, 3))
    return np.concatenate([volumes, 0.3 * volumes[:, ::-1]], axis=-1)


def point(ratio: float, psnr: float) -> Point:
    return Point("", ratio, psnr, psnr, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("layout", ["z,y,x", "x,y,z", "t,z,y,x", "y,x,z,t", "ty,x,z", "z,ty,x"])
def test_a_layout_is_undone(layout: str) -> None:
    block = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    block = block if "t" in layout else block[0]
    arranged = peers.arrange(block, layout)
    assert arranged.ndim == len(layout.split(","))
    np.testing.assert_array_equal(peers.restore(arranged, layout, block.shape), block)


@pytest.mark.parametrize("layout", ["z,y,x", "t,z,y,x", "ty,x,z"])
def test_sz3_keeps_its_bound_and_shrinks_with_it(data: np.ndarray, layout: str) -> None:
    pytest.importorskip("pysz", reason=NEEDED)
    for algorithm in peers.SZ3_ALGORITHMS:
        _check(peers.measure(data, peers.sz3(algorithm), BOUNDS, layout))


@pytest.mark.parametrize("layout", ["z,y,x", "t,z,y,x"])
def test_zfp_keeps_its_bound_and_shrinks_with_it(data: np.ndarray, layout: str) -> None:
    pytest.importorskip("zfpy", reason=NEEDED)
    bounds = peers.zfp_bounds(BOUNDS, rate_plot.range_width(data))
    points = peers.measure(data, peers.zfp(), bounds, layout)
    assert min(bounds) <= min(BOUNDS)
    _check([p for p in points if p.bound < 0.1])


def _check(points: list[Point]) -> None:
    assert all(p.max_error <= p.bound * 1.001 for p in points)
    assert all(a.ratio < b.ratio and a.psnr > b.psnr for a, b in pairwise(points))
    assert all(p.ratio > 1 for p in points)


def test_an_error_above_its_bound_is_not_reported_as_a_result(data: np.ndarray) -> None:
    broken = peers.Codec("zeros", lambda block, bound: b"0", lambda s, shape: np.zeros(shape))
    with pytest.raises(RuntimeError, match="bound"):
        peers.measure(data, broken, BOUNDS, "z,y,x")


def test_psnr_at_a_ratio_is_linear_in_its_logarithm() -> None:
    points = [point(1000, 20), point(10, 40), point(100, 35)]
    assert psnr_at(points, 10) == 40
    assert psnr_at(points, 10**1.5) == pytest.approx(37.5)
    assert psnr_at(points, 10**2.5) == pytest.approx(27.5)
    assert psnr_at(points, 1000) == 20
    assert psnr_at(points, 9.9) == 40  # what is smaller than asked for will do
    assert psnr_at(points, 8) is None
    assert psnr_at(points, 1001) is None
    assert psnr_at([point(5, 30)], 5) == 30
    assert psnr_at([], 5) is None


def test_between_two_points_of_one_variant_a_poor_one_of_another_does_not_count() -> None:
    line, other = [point(10, 40), point(1000, 20)], point(11, 21)
    assert psnr_at([*line, dataclasses.replace(other, variant="other")], 100) == pytest.approx(30)


def test_only_points_that_no_other_beats_make_the_curve() -> None:
    good = [point(10, 40), point(100, 30)]
    assert front([point(9, 39), good[1], point(100, 29), good[0], point(50, 30)]) == good


def test_the_table_has_dashes_outside_a_curve() -> None:
    text = rate_plot.at_ratios({"ours": [point(10, 40), point(100, 30)]}, (5, 10, 100))
    assert text.splitlines()[2:] == ["| 5 | – |", "| 10 | 40.00 |", "| 100 | 30.00 |"]


def test_our_curve_counts_the_whole_archive() -> None:
    series = smooth_series(12, 2)
    row = rate_distortion.Setting(
        "ours",
        "prior",
        PretrainConfig(siren=choose_siren(series.grid, width=8), outer_steps=2),
        {"epochs": 1},
    )
    rows = [row, dataclasses.replace(row, name="plain", pretrain=None, encode={"init": "random"})]
    data = peers.read_all(series)
    found = {
        setting.name: point
        for setting, point in rate_distortion.ours(series, data, rows, "cpu")
        if isinstance(point, Point)
    }
    assert 0 < found["prior"].ratio < data.nbytes / 2000
    assert found["prior"].before > 0 == found["plain"].before
    assert all(p.psnr > 5 and p.seconds > 0 for p in found.values())


def test_ratios_out_of_reach_are_named_and_left_out() -> None:
    series = smooth_series(12, 2)
    rows = rate_distortion.settings(series.grid)
    assert {row.curve for row in rows} == set(rate_distortion.RATIOS)
    without = [row for row in rows if row.problem]
    assert {"30:1", "1000:1"} <= {row.name for row in without}
    # The network is small enough, the descriptions are not.
    late = dataclasses.replace(rows[0], problem="", encode={"init": "random", "target_ratio": 1e4})
    found = list(rate_distortion.ours(series, peers.read_all(series), [without[0], late], "cpu"))
    assert all(isinstance(reason, str) and "target_ratio" in reason for _, reason in found)


def test_a_series_gets_a_report(tmp_path: Path, data: np.ndarray) -> None:
    pytest.importorskip("pysz", reason=NEEDED)
    pytest.importorskip("zfpy", reason=NEEDED)
    results = Results(tmp_path)
    series = smooth_series(12, 2)
    for part in rate_distortion.PARTS:
        rate_distortion.measure(part, "waves", series, find_device("cpu"), results, True)
    curves = rate_plot.collect(json.loads(results.path.read_text()))["waves"]
    assert {"SZ3 per step", "SZ3 4-D", "ZFP per step", "ZFP 4-D", "Meta-INR"} <= set(curves)
    assert "| SZ3 per step |" in (tmp_path / "rate_distortion.md").read_text()
    pytest.importorskip("matplotlib", reason="the picture needs it; ParaView's Python brings it")
    assert rate_plot.draw(tmp_path / "a.png", {"waves": curves})
    assert (tmp_path / "a.png").stat().st_size > 10_000
