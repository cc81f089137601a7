"""Image data of the pipeline: which array, which geometry."""

from __future__ import annotations

from typing import Any

from vtkmodules.vtkCommonDataModel import vtkDataObject, vtkImageData

from metainr_core.errors import SeriesError
from metainr_core.grid import Grid

ASSOCIATIONS = {
    vtkDataObject.FIELD_ASSOCIATION_POINTS: "point",
    vtkDataObject.FIELD_ASSOCIATION_CELLS: "cell",
}


def selected_array(algorithm: Any) -> tuple[str, str]:
    """Association and name of the array that the property ``Scalars`` chooses."""
    info = algorithm.GetInputArrayInformation(0)
    name = info.Get(vtkDataObject.FIELD_NAME())
    if not name:
        raise SeriesError("Scalars is empty; choose the point or cell array to learn")
    association = ASSOCIATIONS.get(info.Get(vtkDataObject.FIELD_ASSOCIATION()))
    if association is None:
        raise SeriesError(f'Scalars: "{name}" has to be an array of POINTS or CELLS')
    return association, name


def grid_of(image: vtkImageData, association: str) -> Grid:
    """The grid of the image's point or cell values. Raises SeriesError when it is empty."""
    from metainr_core.vti import image_grid

    if image.GetNumberOfPoints() == 0:
        raise SeriesError(
            "the input image is empty: its reader failed and said why ('not well-formed' means"
            " appended data, which this VTK cannot read: save the files with inline binary data)"
        )
    return image_grid(image, association)
