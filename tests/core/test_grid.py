"""Grids: resampling, cropping, and where a target's values lie in the original."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metainr_core.errors import MetaINRError, SettingsError
from metainr_core.grid import IDENTITY, Grid

TURNED = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def make_grid(**changes: Any) -> Grid:
    settings: dict[str, Any] = {
        "dims": (9, 6, 4),
        "spacing": (0.5, 0.25, 2.0),
        "origin": (1.0, -2.0, 3.0),
        "start": (3, 0, -2),
    }
    return Grid(**{**settings, **changes})


def centres(grid: Grid) -> np.ndarray:
    """World positions ``(nz, ny, nx, 3)`` of the values, by VTK's definition."""
    half = 0.5 if grid.association == "cell" else 0.0
    axes = [np.arange(n) + s + half for n, s in zip(grid.dims, grid.start, strict=True)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    steps = np.stack([x, y, z], -1) * np.array(grid.spacing)
    return np.array(grid.origin) + steps @ np.reshape(grid.direction, (3, 3)).T


@pytest.mark.parametrize("association", ["point", "cell"])
@pytest.mark.parametrize("direction", [IDENTITY, TURNED])
@pytest.mark.parametrize("spacing", [(0.5, 0.25, 2.0), (-0.5, 0.25, -2.0)])
def test_the_grid_finds_itself(
    association: str, direction: tuple[float, ...], spacing: tuple[float, float, float]
) -> None:
    grid = make_grid(association=association, direction=direction, spacing=spacing)
    for found, n in zip(grid.index_coordinates(grid), grid.dims, strict=True):
        assert found.dtype == np.float64
        assert (found == np.arange(n)).all()


@pytest.mark.parametrize("direction", [IDENTITY, TURNED])
@pytest.mark.parametrize("spacing", [(0.5, 0.25, 2.0), (-0.5, 0.25, -2.0)])
def test_resampled_points_keep_the_corners(
    direction: tuple[float, ...], spacing: tuple[float, float, float]
) -> None:
    grid = make_grid(direction=direction, spacing=spacing)
    finer = grid.resampled((17, 11, 7))
    assert finer.dims == (17, 11, 7)
    old, new = centres(grid), centres(finer)
    for corner in np.ndindex(2, 2, 2):
        ends = tuple(-c for c in corner)
        assert new[ends] == pytest.approx(old[ends])
    assert new[::2, ::2, ::2] == pytest.approx(old)
    for found, n in zip(grid.index_coordinates(finer), finer.dims, strict=True):
        assert found == pytest.approx(np.arange(n) / 2)


def test_resampled_cells_fill_the_same_box() -> None:
    grid = make_grid(association="cell")
    finer = grid.resampled((18, 12, 8))
    old, new = centres(grid), centres(finer)
    mean = sum(new[k::2, j::2, i::2] for i in (0, 1) for j in (0, 1) for k in (0, 1)) / 8
    assert mean == pytest.approx(old)
    for found, n in zip(grid.index_coordinates(finer), grid.dims, strict=True):
        # A quarter of a voxel inside each end, where there are values: clamped, not extrapolated.
        expected = np.clip(np.arange(2 * n) / 2 - 0.25, 0, n - 1)
        assert found == pytest.approx(expected)


def test_a_scale_beyond_all_numbers_is_a_number_still() -> None:
    """It is refused where the values would be made."""
    assert min(Grid((5, 1, 5)).scaled(1e308).dims[::2]) > 1e12


def test_scaled_multiplies_the_values() -> None:
    grid = make_grid(dims=(9, 6, 1))
    assert grid.scaled(2).dims == (18, 12, 1)
    assert grid.scaled(0.5).dims == (4, 3, 1)
    assert grid.scaled(0.01).dims == (2, 2, 1)
    assert grid.scaled(1) == grid


@pytest.mark.parametrize("factor", [0, -1, math.nan, math.inf])
def test_scaling_needs_a_positive_number(factor: float) -> None:
    with pytest.raises(SettingsError, match="scale is"):
        make_grid().scaled(factor)


@pytest.mark.parametrize("dims", [(0, 1, 1), (1, 1), (2, -3, 4)])
def test_resampling_needs_three_counts(dims: tuple[int, ...]) -> None:
    with pytest.raises(SettingsError, match="dims are"):
        make_grid().resampled(dims)


@pytest.mark.parametrize("association", ["point", "cell"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_box_keeps_exactly_the_values_inside(association: str, sign: int) -> None:
    grid = make_grid(association=association, spacing=(sign * 0.5, 0.25, sign * 2.0))
    where = centres(grid)
    inside = where[1:3, 2:5, 4:8]
    low, high = inside.min((0, 1, 2)), inside.max((0, 1, 2))
    box = [v for pair in zip(low - 0.01, high + 0.01, strict=True) for v in pair]
    part = grid.cropped(box)
    assert centres(part) == pytest.approx(inside)
    assert grid.cropped(box[1::-1] + box[2:]) == part
    x, y, z = grid.index_coordinates(part)
    assert (list(x), list(y), list(z)) == ([4, 5, 6, 7], [2, 3, 4], [1, 2])


def test_a_box_on_the_values_includes_them() -> None:
    grid = make_grid()
    assert grid.cropped(grid.bounds) == grid
    assert grid.cropped([-math.e * 100, 100] * 3) == grid


def test_cropped_then_resampled_stays_in_the_box() -> None:
    grid = make_grid()
    part = grid.cropped([2.9, 4.6, -2, -1, -1, 3])
    finer = part.resampled((5, 9, 3))
    assert centres(finer)[0, 0, 0] == pytest.approx(centres(part)[0, 0, 0])
    assert centres(finer)[-1, -1, -1] == pytest.approx(centres(part)[-1, -1, -1])
    x, _, _ = grid.index_coordinates(finer)
    assert x.min() >= 0


def test_an_empty_or_wrong_box_is_refused() -> None:
    grid = make_grid()
    with pytest.raises(SettingsError, match=r"box 2\.6 to 2\.9 along x .* 2\.5 to 6\.5"):
        grid.cropped([2.6, 2.9, -2, -1, -1, 3])
    with pytest.raises(SettingsError, match="expected six finite numbers"):
        grid.cropped([0, 1, 0, 1])
    with pytest.raises(SettingsError, match="expected six finite numbers"):
        grid.cropped([0, 1, 0, 1, 0, math.nan])


def test_a_target_outside_is_refused() -> None:
    grid = make_grid()
    with pytest.raises(MetaINRError, match=r"index -1\.00 to 7\.00 along x; .* 0 to 8"):
        grid.index_coordinates(make_grid(start=(2, 0, -2)))
    with pytest.raises(MetaINRError, match="turned against"):
        grid.index_coordinates(make_grid(direction=TURNED))


def test_one_voxel_is_constant_across_its_thickness() -> None:
    thin = make_grid(dims=(9, 6, 1))
    thick = make_grid(dims=(9, 6, 5))
    _, _, z = thin.index_coordinates(thick)
    assert (z == 0).all()


def test_rounding_noise_does_not_move_a_value() -> None:
    grid = Grid((1001, 2, 2), spacing=(0.1, 0.3, 0.7), origin=(1e3, 1e3, 1e3))
    again = Grid.from_json(json.loads(json.dumps(grid.to_json())))
    assert again == grid
    moved = Grid((1000, 2, 2), grid.spacing, grid.origin, start=(1, 0, 0))
    assert (grid.index_coordinates(moved)[0] == np.arange(1, 1001)).all()


@given(
    dims=st.tuples(*[st.integers(1, 9)] * 3),
    new=st.tuples(*[st.integers(1, 20)] * 3),
    start=st.tuples(*[st.integers(-5, 5)] * 3),
    cell=st.booleans(),
)
def test_any_resampling_lies_inside(
    dims: tuple[int, int, int], new: tuple[int, int, int], start: tuple[int, int, int], cell: bool
) -> None:
    grid = make_grid(dims=dims, start=start, association="cell" if cell else "point")
    for found, n, m in zip(grid.index_coordinates(grid.resampled(new)), dims, new, strict=True):
        assert found.size == m
        assert found.min() >= 0
        assert found.max() <= n - 1
        assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": (0, 1, 1)}, "at least one value per axis"),
        ({"dims": (2, 2)}, "expected 3 finite numbers"),
        ({"spacing": (1.0, 0.0, 1.0)}, "expected no zero"),
        ({"spacing": (1.0, math.nan, 1.0)}, "finite"),
        ({"origin": (math.inf, 0.0, 0.0)}, "finite"),
        ({"direction": (0.0,) * 9}, "expected independent axes"),
        ({"direction": (1.0,) * 8}, "expected 9"),
        ({"association": "face"}, "point or cell"),
    ],
)
def test_a_wrong_grid_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make_grid(**changes)


@pytest.mark.parametrize("data", [{}, {"dims": None}, {"dims": "abc"}, {"dim": (1, 1, 1)}, []])
def test_a_damaged_description_is_refused(data: Any) -> None:
    with pytest.raises(MetaINRError, match="cannot be read"):
        Grid.from_json(data)


@pytest.mark.parametrize("association", ["point", "cell"])
def test_a_part_keeps_the_values_places(association: str) -> None:
    grid = Grid((12, 10, 8), (0.5, 1.0, 2.0), start=(2, -3, 4), association=association)
    assert grid.part(grid.extent) == grid
    part = grid.part((5, 9, -100, 0, 6, 100))
    assert part.extent == (5, 9, -3, 0, 6, grid.extent[5])
    x, y, z = grid.index_coordinates(part)
    assert (x[0], y[0], z[0]) == (3, 0, 2)
    assert len(x) == (4 if association == "cell" else 5)


def test_cells_of_a_plane_have_no_thickness() -> None:
    plane = Grid((6, 5, 1), association="cell", flat=(False, False, True))
    assert plane.extent == (0, 6, 0, 5, 0, 0)
    assert plane.scaled(2).extent == (0, 12, 0, 10, 0, 0)
    assert plane.part(plane.extent) == plane
    assert plane.index_coordinates(plane)[2].tolist() == [0]
    assert Grid((6, 5, 1), association="cell").extent == (0, 6, 0, 5, 0, 1)
    with pytest.raises(SettingsError, match="flat"):
        Grid((6, 5, 1), flat=(False, False, True))
