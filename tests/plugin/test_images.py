"""Extents of grids, and which array is chosen."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from metainr_core.errors import SeriesError

pytest.importorskip("vtkmodules")
from metainr_paraview.images import grid_of


@pytest.mark.parametrize("association", ["point", "cell"])
def test_the_grid_is_the_images(lab: Any, association: str) -> None:
    grid = dataclasses.replace(lab.grid, start=(2, -3, 4), association=association)
    image = lab.image(lab.wave(grid, 0.0), grid)
    assert grid.extent == image.GetExtent()
    assert grid_of(image, association) == grid


def test_an_empty_image_is_said_to_be_empty() -> None:
    from vtkmodules.vtkCommonDataModel import vtkImageData

    with pytest.raises(SeriesError, match="empty"):
        grid_of(vtkImageData(), "point")
