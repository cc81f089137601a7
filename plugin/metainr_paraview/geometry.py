"""Isosurfaces as poly data, with their distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkFiltersCore import vtkPolyDataNormals

from metainr_core.surfaces import SurfacePair

DISTANCE, DISTANCE_VOXELS, ISOVALUE = "distance", "distance_voxels", "isovalue"


def fill_surface(output: vtkPolyData, pairs: Sequence[SurfacePair], side: int) -> None:
    """Puts the isosurfaces of reference (``side`` 0) or reconstruction (1) into ``output``.

    Point arrays, float64: ``distance`` to the nearest vertex of the other one, in the data's
    units, ``distance_voxels``, ``isovalue``. Where the other volume does not reach the isovalue,
    the distance is the diagonal of the grid, which no distance within it exceeds. Triangles get
    ``Normals``, for smooth shading.
    """
    points, cells, arrays = [], [], []
    count = 0
    for pair in pairs:
        surface = (pair.reference, pair.reconstruction)[side]
        number = len(surface.vertices)
        far, far_voxels = _diagonals(pair)
        points.append(pair.points(surface))
        cells.append(surface.cells + count)
        arrays.append(
            {
                DISTANCE: np.minimum(pair.distances[side], far),
                DISTANCE_VOXELS: np.minimum(pair.distances_voxels[side], far_voxels),
                ISOVALUE: np.full(number, pair.isovalue),
            }
        )
        count += number
    if not count:
        return
    place = vtkPoints()
    place.SetData(numpy_to_vtk(np.concatenate(points), deep=True))
    output.SetPoints(place)
    # Of one volume all are triangles, or all segments.
    found = np.concatenate([c for c in cells if len(c)] or cells[:1])
    corners = found.shape[1]
    made = vtkCellArray()
    made.SetData(corners, numpy_to_vtkIdTypeArray(np.ascontiguousarray(found).ravel(), deep=True))
    (output.SetPolys if corners == 3 else output.SetLines)(made)
    for name in (DISTANCE, DISTANCE_VOXELS, ISOVALUE):
        array: Any = numpy_to_vtk(np.concatenate([a[name] for a in arrays]), deep=True)
        array.SetName(name)
        output.GetPointData().AddArray(array)
    output.GetPointData().SetActiveScalars(DISTANCE)
    if corners == 3:
        normals = vtkPolyDataNormals()
        normals.SetInputData(output)
        normals.SplittingOff()  # every vertex stays one
        normals.ConsistencyOff()  # which flying edges are
        normals.Update()
        output.ShallowCopy(normals.GetOutput())


def _diagonals(pair: SurfacePair) -> tuple[float, float]:
    """Of the grid, in the data's units and in voxels."""
    last = np.subtract(pair.grid.dims, 1)
    ends = pair.grid.points(np.array([np.zeros(3), last]))
    return float(np.linalg.norm(ends[1] - ends[0])), float(np.linalg.norm(last))
