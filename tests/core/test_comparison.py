"""Comparing series and archives."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
pytest.importorskip("scipy")
from metainr_core.archive import Archive
from metainr_core.comparison import (
    Match,
    common_steps,
    compare,
    compare_volumes,
    default_isovalues,
    interpolate,
    magnitude,
)
from metainr_core.config import EncodeConfig
from metainr_core.encoding import encode
from metainr_core.ensemble import EnsembleSeries, Run
from metainr_core.errors import Cancelled, MetaINRError, SettingsError
from metainr_core.grid import Grid
from metainr_core.metrics import Errors
from metainr_core.series import ArraySeries, Series


@pytest.fixture
def encoded(make_series: Any, quick: EncodeConfig, tmp_path: Any) -> tuple[Series, Archive]:
    series = make_series(steps=4)
    return series, encode(series, tmp_path / "run.minr", config=quick, steps=[0, 2, 3])


def test_figures_of_an_archive_are_its_records(encoded: tuple[Series, Archive]) -> None:
    series, archive = encoded
    found = list(compare(series, archive))
    assert [row.step for row in found] == [0, 2, 3]
    for row in found:
        record = archive.record(row.step)
        assert row.volume.psnr == pytest.approx(record.psnr)
        assert row.volume.psnr_series == pytest.approx(record.psnr_series)
        assert row.volume.max_error == pytest.approx(record.max_error)
        assert 0 < row.volume.mean_error < row.volume.max_error
        assert 0 < row.volume.ssim < 1
        assert len(row.volume.surfaces) == 3
    (one,) = compare(series, archive, steps=[2], isovalues=[0.25])
    assert one.volume.surfaces[0].isovalue == 0.25
    assert one.volume.ssim == found[1].volume.ssim


def test_a_series_equals_itself(make_series: Any) -> None:
    series = make_series(steps=2, components=3)
    for row in compare(series, series):
        assert row.volume.psnr == math.inf
        assert row.volume.ssim == pytest.approx(1)
        assert all(pair.chamfer == 0 and not pair.note for pair in row.volume.surfaces)
        data = json.loads(json.dumps(row.to_json(), allow_nan=False))
        assert data["psnr"] is None
        assert "lpips" not in data
        assert "member" not in data


def test_json_says_what_is_not_reached(make_series: Any) -> None:
    series = make_series(steps=1)
    values = series.read(0)
    found = compare_volumes(values, values - 9, series.grid, isovalues=[0.1, 77], series_width=3.0)
    one, none = found.to_json()["isosurfaces"]
    assert (one["chamfer_voxels"], one["note"]) == (None, "the reconstruction does not reach it")
    assert one["triangles_reference"] > 0 == one["triangles_reconstruction"]
    assert (none["chamfer_voxels"], none["note"]) == (0.0, "neither reaches it")


def test_perception_is_asked_for_each_step(make_series: Any) -> None:
    series = make_series(steps=2)
    answers: Iterator[float | str] = iter([0.25, "no weights"])

    def perception(a: np.ndarray, b: np.ndarray, grid: Grid) -> float | str:
        assert a.shape == b.shape == (*grid.shape, 1)
        return next(answers)

    rows = [row.to_json() for row in compare(series, series, perception=perception)]
    assert [row["lpips"] for row in rows] == [0.25, "no weights"]


def test_magnitude() -> None:
    values = np.array([3.0, 4.0], np.float32).reshape(1, 1, 1, 2)
    assert magnitude(values).shape == (1, 1, 1)
    assert magnitude(values)[0, 0, 0] == 5
    assert magnitude(values[..., :1])[0, 0, 0] == 3


def test_default_isovalues_are_quartiles() -> None:
    arrays = [np.arange(1000, dtype=np.float32).reshape(10, 10, 10) + 10 * t for t in range(3)]
    found = default_isovalues(ArraySeries(arrays))
    assert found == pytest.approx(np.quantile(np.stack(arrays), [0.25, 0.5, 0.75]))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0] * 6 + [1.0, 2.0], [0.25]), ([5.0] * 8, [5.0]), ([0.0] * 7 + [2.0], [1.0])],
)
def test_isovalues_of_a_field_with_few_values(values: list[float], expected: list[float]) -> None:
    volume = np.array(values, np.float32).reshape(2, 2, 2)
    assert default_isovalues(ArraySeries([volume])) == expected


def linear(grid: Grid) -> np.ndarray:
    """A field that linear interpolation reproduces, ``(nz, ny, nx, 1)``."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    points = grid.points(np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1))
    return (points @ [1.0, 2.0, -3.0]).reshape(*grid.shape, 1).astype(np.float32)


@pytest.mark.parametrize(
    "other",
    [
        Grid((9, 9, 9), spacing=(0.5, 0.5, 0.5)),
        Grid((3, 3, 3), spacing=(2.0, 2.0, 2.0)),
        Grid((4, 5, 3), origin=(1.0, 0.0, 2.0)),
        Grid((5, 5, 5), origin=(2.0, 2.0, -2.0)),
        Grid((4, 4, 4), association="cell"),
        Grid((5, 5, 5), spacing=(-1.0, 1.0, 1.0), origin=(4.0, 0.0, 0.0)),
        Grid((5, 5, 5), start=(2, 0, 0), origin=(-2.0, 0.0, 0.0)),
    ],
)
def test_grids_are_matched_at_the_reference(other: Grid) -> None:
    reference = Grid((5, 5, 5))
    match = Match.of(reference, other)
    assert min(match.grid.dims) >= 3
    brought = linear(other)
    if not match.same:
        brought = interpolate(brought, other, match.grid)
    kept = match.crop(linear(reference), reference)
    assert kept.shape == brought.shape == (*match.grid.shape, 1)
    inner = slice(1, -1)  # half a voxel beyond its centres cell data stays what it is
    error = Errors.between(kept[inner, inner, inner], brought[inner, inner, inner])
    assert error.largest < 1e-5
    assert match.grid.points(np.zeros((1, 3))) == pytest.approx(
        reference.points(np.subtract(match.grid.start, reference.start)[None])
    )


def test_what_matching_says() -> None:
    grid = Grid((10, 10, 10))
    assert Match.of(grid, grid).text == "one grid"
    half = replace(grid, dims=(5, 10, 10))
    text = "at 5 × 10 × 10 values, 50 % of the reference's; the reconstruction is"
    assert Match.of(grid, half).text == f"{text} interpolated linearly there"
    assert Match.of(grid, half, decodes=True).text == f"{text} decoded there"
    same = replace(grid, origin=(3.0, 0.0, 0.0), start=(-3, 0, 0))
    assert Match.of(grid, same).same


def test_grids_that_do_not_overlap() -> None:
    grid = Grid((5, 5, 5))
    with pytest.raises(
        MetaINRError, match=r"do not overlap: along y one spans 0 to 4, the other 9"
    ):
        Match.of(grid, replace(grid, origin=(0.0, 9.0, 0.0)))
    turned = replace(grid, direction=(0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    with pytest.raises(MetaINRError, match="turned against"):
        Match.of(grid, turned)


def test_an_archive_is_decoded_at_the_references_voxels(
    encoded: tuple[Series, Archive], make_series: Any
) -> None:
    _, archive = encoded
    finer = archive.grid.resampled((23, 19, 15))
    reference = make_series(dims=(23, 19, 15), grid=finer)
    found = list(compare(reference, archive, isovalues=[0.0]))
    expected = Errors.between(reference.read(2), archive.decode(2, finer))
    assert found[1].volume.max_error == expected.largest


def test_steps_are_matched_by_time(make_series: Any) -> None:
    reference = make_series(steps=4, times=[0.0, 0.1, 0.2, 0.30000000000000004])
    other = make_series(steps=3, times=[0.1, 0.3, 7.0])
    assert common_steps(reference, other) == {1: 0, 3: 1}
    with pytest.raises(SettingsError, match=r"no time step.*times 0 to 0.3, .*times 5 to 5"):
        common_steps(reference, make_series(steps=1, times=[5.0]))
    with pytest.raises(SettingsError, match="step 2 is not in both; in both are steps 1, 3"):
        list(compare(reference, other, steps=[2]))


def test_members_are_matched_by_name(make_series: Any) -> None:
    one, two = make_series(steps=2), make_series(steps=3, phase=1.0)
    both = EnsembleSeries([Run("a", one), Run("b", two)])
    assert common_steps(both, EnsembleSeries([Run("b", two)])) == {2: 0, 3: 1, 4: 2}
    assert [row.member for row in compare(both, both, steps=[1, 2])] == ["a", "b"]
    with pytest.raises(SettingsError, match=r'has no member, the reconstruction "a", "b"; name'):
        common_steps(two, both)


def test_components_must_agree(make_series: Any) -> None:
    with pytest.raises(SettingsError, match=r"has 1 components, the reconstruction 2"):
        list(compare(make_series(), make_series(components=2)))


def test_it_can_be_stopped(make_series: Any, stop_after: Callable[[int], Any]) -> None:
    series = make_series(steps=3)
    with pytest.raises(Cancelled):
        list(compare(series, series, progress=stop_after(5)))
