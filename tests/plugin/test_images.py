"""Extents of grids, and which array is chosen."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from metainr_core.errors import MetaINRError, SeriesError
from metainr_core.grid import Grid

pytest.importorskip("vtkmodules")
from metainr_paraview.images import grid_of, values_of


@pytest.mark.parametrize("association", ["point", "cell"])
def test_the_grid_is_the_images(lab: Any, association: str) -> None:
    grid = dataclasses.replace(lab.grid, start=(2, -3, 4), association=association)
    image = lab.image(lab.wave(grid, 0.0), grid)
    assert grid.extent == image.GetExtent()
    assert grid_of(image, association) == grid


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
