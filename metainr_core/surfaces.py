"""Isosurfaces, and how far two of them are from each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .extras import extra
from .grid import Grid
from .vtk_modules import vtk


@dataclass(frozen=True)
class Surface:
    """An isosurface: ``vertices`` ``(n, 3)`` float64, x y z, as indices of the grid's voxels;
    ``cells`` ``(m, 3)`` int64, three vertices each: triangles. Of a volume one voxel thick it is a
    curve, and cells are ``(m, 2)``: segments."""

    vertices: np.ndarray
    cells: np.ndarray

    @property
    def triangles(self) -> int:
        return len(self.cells) if self.cells.shape[1] == 3 else 0


def isosurface(values: np.ndarray, isovalue: float) -> Surface:
    """The surface where ``values`` ``(nz, ny, nx)``, linear between voxels, are ``isovalue``.

    By VTK's flying edges, ParaView's contour of image data: each vertex lies on an edge between
    two voxels and is there once. Of a line or a single voxel there is none. Raises MetaINRError
    where VTK is missing.
    """
    thick = [axis for axis in range(3) if values.shape[2 - axis] > 1]
    if len(thick) < 2:
        return Surface(np.empty((0, 3)), np.empty((0, 3), np.int64))
    corners = len(thick)
    # In the plane of its thick axes; a curve's vertices are put back into space below.
    dims = [values.shape[2 - axis] for axis in thick] + [1] * (3 - corners)
    arrays = vtk("util.numpy_support")
    image = vtk("vtkCommonDataModel").vtkImageData()
    image.SetDimensions(dims)
    flat = np.ascontiguousarray(values, np.float32).ravel()
    scalars = arrays.numpy_to_vtk(flat, deep=False)
    image.GetPointData().SetScalars(scalars)
    module = vtk("vtkFiltersCore")
    contour = module.vtkFlyingEdges3D() if corners == 3 else module.vtkFlyingEdges2D()
    contour.SetInputData(image)
    contour.SetValue(0, isovalue)
    contour.ComputeScalarsOff()
    if corners == 3:
        contour.ComputeNormalsOff()
    contour.Update()
    found = contour.GetOutput()
    cells = found.GetPolys() if corners == 3 else found.GetLines()
    vertices = np.zeros((found.GetNumberOfPoints(), 3))
    if len(vertices):
        points = arrays.vtk_to_numpy(found.GetPoints().GetData())
        vertices[:, thick] = points[:, :corners]
    connectivity = arrays.vtk_to_numpy(cells.GetConnectivityArray())
    return _welded(vertices, connectivity.astype(np.int64).reshape(-1, corners))


def _welded(vertices: np.ndarray, cells: np.ndarray) -> Surface:
    """Without what is there more than once: where a voxel has the isovalue itself, all edges that
    meet there end in a vertex, and cells between those have no size."""
    at_voxels = np.flatnonzero((vertices == np.round(vertices)).all(axis=1))
    if not len(at_voxels):
        return Surface(vertices, cells)
    _, first, same = np.unique(vertices[at_voxels], axis=0, return_index=True, return_inverse=True)
    stands_for = np.arange(len(vertices))
    stands_for[at_voxels] = at_voxels[first][same.ravel()]
    kept = np.unique(stands_for)
    cells = np.searchsorted(kept, stands_for[cells])
    ends = np.sort(cells, axis=1)
    return Surface(vertices[kept], cells[(np.diff(ends, axis=1) > 0).all(axis=1)])


def nearest_distances(vertices: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance from each of ``vertices`` ``(n, 3)`` to the nearest of ``others`` ``(m, 3)``.

    ``(n,)`` float64; infinite where there are no others.
    """
    if not len(others) or not len(vertices):
        return np.full(len(vertices), math.inf)
    tree = extra("scipy.spatial", "the distance of isosurfaces").cKDTree(others)
    return tree.query(vertices, workers=-1)[0]


@dataclass(frozen=True)
class SurfacePair:
    """The isosurfaces of original and reconstruction at one value, on one grid.

    Distances are from vertex to nearest vertex, in voxels (along each axis one spacing is 1) or
    in the data's units.
    """

    isovalue: float
    grid: Grid
    reference: Surface
    reconstruction: Surface

    @classmethod
    def of(
        cls, reference: np.ndarray, reconstruction: np.ndarray, grid: Grid, isovalue: float
    ) -> SurfacePair:
        """Of two arrays ``(nz, ny, nx)`` on ``grid``."""
        surfaces = (isosurface(values, isovalue) for values in (reference, reconstruction))
        return cls(isovalue, grid, *surfaces)

    def points(self, surface: Surface) -> np.ndarray:
        """Vertices of one of the two in the data's units, ``(n, 3)`` float64."""
        return self.grid.points(surface.vertices)

    @cached_property
    def distances_voxels(self) -> tuple[np.ndarray, np.ndarray]:
        """From the reference's vertices to the reconstruction, and the other way, in voxels."""
        a, b = self.reference.vertices, self.reconstruction.vertices
        return nearest_distances(a, b), nearest_distances(b, a)

    @cached_property
    def distances(self) -> tuple[np.ndarray, np.ndarray]:
        """The same in the data's units."""
        spacing = np.abs(self.grid.spacing)
        turn = np.reshape(self.grid.direction, (3, 3))
        if np.allclose(spacing, spacing[0]) and np.allclose(turn @ turn.T, np.eye(3)):
            first, second = self.distances_voxels
            return first * spacing[0], second * spacing[0]
        a, b = self.points(self.reference), self.points(self.reconstruction)
        return nearest_distances(a, b), nearest_distances(b, a)

    @property
    def chamfer_voxels(self) -> float:
        return _chamfer(*self.distances_voxels)

    @property
    def chamfer(self) -> float:
        """Mean of the two mean distances, from each surface to the other.

        0 where neither volume reaches the isovalue, infinite where one of them does not.
        """
        return _chamfer(*self.distances)

    @property
    def hausdorff_voxels(self) -> float:
        return _hausdorff(*self.distances_voxels)

    @property
    def hausdorff(self) -> float:
        """The largest of all distances; 0 or infinite as ``chamfer``."""
        return _hausdorff(*self.distances)

    @property
    def note(self) -> str:
        """Which of the two does not reach the isovalue; empty when both do."""
        missing = [
            name
            for name, surface in (
                ("reference", self.reference),
                ("reconstruction", self.reconstruction),
            )
            if not len(surface.vertices)
        ]
        if sum(n > 1 for n in self.grid.dims) < 2:
            return "a line has no isosurface"
        if len(missing) == 2:
            return "neither reaches it"
        return f"the {missing[0]} does not reach it" if missing else ""


def _chamfer(first: np.ndarray, second: np.ndarray) -> float:
    if not len(first) or not len(second):
        return math.inf if len(first) or len(second) else 0.0
    return (float(first.mean()) + float(second.mean())) / 2


def _hausdorff(first: np.ndarray, second: np.ndarray) -> float:
    if not len(first) or not len(second):
        return math.inf if len(first) or len(second) else 0.0
    return max(float(first.max()), float(second.max()))
