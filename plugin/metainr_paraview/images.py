"""Image data of the pipeline: which array, which geometry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonDataModel import (
    vtkCompositeDataSet,
    vtkDataObject,
    vtkDataSet,
    vtkImageData,
)
from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline

from metainr_core.errors import SeriesError
from metainr_core.grid import Grid
from metainr_core.series import GHOSTS

ArrayChoice = Callable[[vtkImageData], tuple[str, str]]
"""Association and name of the array to read, of the image that has it."""

EMPTY_EXTENT = (0, -1, 0, -1, 0, -1)
ASSOCIATIONS = {
    vtkDataObject.FIELD_ASSOCIATION_POINTS: "point",
    vtkDataObject.FIELD_ASSOCIATION_CELLS: "cell",
}


def array_choice(algorithm: Any) -> ArrayChoice:
    """What the property ``Scalars`` chooses now; the result does not refer to the algorithm.

    While it chooses no point or cell array, the only one of an image: before its input is read,
    ParaView cannot offer any, or offers a script one of its active source.
    """
    association = array_association(algorithm)
    name = algorithm.GetInputArrayInformation(0).Get(vtkDataObject.FIELD_NAME())

    def choose(image: vtkImageData) -> tuple[str, str]:
        from metainr_core.vti import image_arrays

        if association:
            return association, name
        arrays = image_arrays(image)
        if len(arrays) == 1:
            return arrays[0]
        names = ", ".join(f"{name} ({association})" for association, name in arrays) or "none"
        raise SeriesError(f"Scalars is empty; choose a point or cell array; there are: {names}")

    return choose


def array_association(algorithm: Any) -> str:
    """Of the array that the property ``Scalars`` chooses: point, cell, or nothing of these."""
    info = algorithm.GetInputArrayInformation(0)
    chosen = info.Get(vtkDataObject.FIELD_NAME())
    return ASSOCIATIONS.get(info.Get(vtkDataObject.FIELD_ASSOCIATION()), "") if chosen else ""


def single_image(data: vtkDataObject, name: str = "the input") -> vtkImageData:
    """The image that a filter's input is, or the only one in its blocks or partitions.

    Raises SeriesError.
    """
    if isinstance(data, vtkCompositeDataSet):
        leaves = _leaves(data)
        if not leaves:
            raise SeriesError(f"{name} is {data.GetClassName()} without data; expected an image")
        if len(leaves) > 1:
            raise SeriesError(
                f"{name} is {data.GetClassName()} with {len(leaves)} pieces; expected one image:"
                " choose one with Extract Block, or apply Resample To Image first"
            )
        data = leaves[0]
    if not isinstance(data, vtkImageData):
        cure = "apply Resample To Image first" if isinstance(data, vtkDataSet) else "choose one"
        raise SeriesError(f"{name} is {data.GetClassName()}; expected image data (.vti): {cure}")
    return data


def _leaves(data: vtkCompositeDataSet) -> list[vtkDataObject]:
    iterator = data.NewIterator()
    found = []
    while not iterator.IsDoneWithTraversal():
        found.append(iterator.GetCurrentDataObject())
        iterator.GoToNextItem()
    return found


def ghosts_of(image: vtkImageData, association: str) -> np.ndarray:
    """VTK's marks on the points or cells of an image, uint8; none where it has no such array."""
    data = image.GetCellData() if association == "cell" else image.GetPointData()
    found = data.GetArray(GHOSTS)
    return np.zeros(0, np.uint8) if found is None else vtk_to_numpy(found)


def grid_of(image: vtkImageData, association: str, name: str = "the input") -> Grid:
    """The grid of the image's point or cell values. Raises SeriesError when it is empty."""
    from metainr_core.vti import image_grid

    if image.GetNumberOfPoints() == 0:
        raise SeriesError(
            f"{name} is empty: what is before it failed and said why (if 'not well-formed',"
            " this VTK cannot read appended data: save the files with inline binary data)"
        )
    return image_grid(image, association)


def announced_grid(info: Any, association: str) -> Grid | None:
    """The grid that an input is going to have, as far as its information says; None if empty."""
    from metainr_core.vti import image_grid

    extent = info.Get(vtkStreamingDemandDrivenPipeline.WHOLE_EXTENT())
    if extent is None or any(b < a for a, b in zip(extent[::2], extent[1::2], strict=True)):
        return None
    image = vtkImageData()
    image.SetExtent(extent)
    for key, setter in (
        (vtkDataObject.SPACING(), image.SetSpacing),
        (vtkDataObject.ORIGIN(), image.SetOrigin),
        (vtkDataObject.DIRECTION(), image.SetDirectionMatrix),
    ):
        if info.Has(key):
            setter(info.Get(key))
    return image_grid(image, association)


def announce_grid(info: Any, grid: Grid | None) -> None:
    """Says which grid an output is going to have; None: none."""
    pipeline = vtkStreamingDemandDrivenPipeline
    info.Set(pipeline.WHOLE_EXTENT(), grid.extent if grid else EMPTY_EXTENT, 6)
    if grid is not None:
        info.Set(vtkDataObject.SPACING(), grid.spacing, 3)
        info.Set(vtkDataObject.ORIGIN(), grid.origin, 3)
        info.Set(vtkDataObject.DIRECTION(), grid.direction, 9)
