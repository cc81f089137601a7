"""Extents of grids, and which array is chosen."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from metainr_core.errors import MetaINRError, SeriesError
from metainr_core.grid import Grid

pytest.importorskip("vtkmodules")
from metainr_paraview.images import grid_of, part_of, point_extent, values_of


@pytest.mark.parametrize("association", ["point", "cell"])
def test_point_extent_is_the_images(lab: Any, association: str) -> None:
    grid = dataclasses.replace(lab.grid, start=(2, -3, 4), association=association)
    image = lab.image(lab.wave(grid, 0.0), grid)
    assert point_extent(grid) == image.GetExtent()
    assert grid_of(image, association) == grid


@pytest.mark.parametrize("association", ["point", "cell"])
def test_part_of_keeps_the_values_places(lab: Any, association: str) -> None:
    grid = dataclasses.replace(lab.grid, start=(2, -3, 4), association=association)
    assert part_of(grid, point_extent(grid)) == grid
    part = part_of(grid, (5, 9, -100, 0, 6, 100))
    assert point_extent(part) == (5, 9, -3, 0, 6, point_extent(grid)[5])
    x, y, z = grid.index_coordinates(part)
    assert (x[0], y[0], z[0]) == (3, 0, 2)
    assert len(x) == (4 if association == "cell" else 5)


def test_values_are_a_copy_in_their_own_type(lab: Any) -> None:
    grid = Grid((3, 2, 1))
    image = lab.image(np.arange(6, dtype=np.int16).reshape(1, 2, 3, 1), grid)
    values = values_of(image, "speed", "point")
    assert values.dtype == np.int16
    assert values.shape == (1, 2, 3, 1)
    image.GetPointData().GetArray("speed").Fill(9)
    assert values[0, 1, 2, 0] == 5


def test_a_missing_array_is_named_with_what_there_is(lab: Any) -> None:
    image = lab.waves()[0]
    with pytest.raises(MetaINRError, match=r'no cell array "speed"; its arrays: speed \(point\)'):
        values_of(image, "speed", "cell")


def test_an_empty_image_is_said_to_be_empty() -> None:
    from vtkmodules.vtkCommonDataModel import vtkImageData

    with pytest.raises(SeriesError, match="empty"):
        grid_of(vtkImageData(), "point")
