"""Isosurfaces and their distances, against spheres and brute force."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
pytest.importorskip("scipy")
from metainr_core import surfaces
from metainr_core.errors import MetaINRError
from metainr_core.grid import Grid
from metainr_core.surfaces import SurfacePair, isosurface, nearest_distances


def ball(
    dims: tuple[int, ...], radius: float, spacing: tuple[float, ...] = (1, 1, 1)
) -> np.ndarray:
    """Distance to a sphere around the middle, in the data's units, ``(nz, ny, nx)``."""
    axes = [s * (np.arange(n) - (n - 1) / 2) for n, s in zip(dims, spacing, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return (np.sqrt(x**2 + y**2 + z**2) - radius).T.astype(np.float32)


def brute_force(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array([min(math.dist(p, q) for q in b) for p in a])


def test_vertices_lie_on_the_sphere() -> None:
    found = isosurface(ball((31, 33, 35), 12.3), 0.0)
    radii = np.linalg.norm(found.vertices - [15, 16, 17], axis=1)
    # Linear interpolation of a distance is off by its curvature: at most (1/2)² / 2r.
    assert np.abs(radii - 12.3).max() < 0.25 / 24
    # Closed, of triangles, each vertex once: Euler's formula of a sphere.
    assert len(found.vertices) - found.triangles // 2 == 2
    assert len(np.unique(found.vertices, axis=0)) == len(found.vertices)


def test_voxels_that_have_the_isovalue_itself() -> None:
    """As in whole numbers: the edges that meet there have one vertex, and no cell is a point."""
    values = np.rint(20 * ball((21, 21, 21), 7.3) / 7).astype(np.float32)
    found = isosurface(values, 0.0)
    assert np.any(values == 0)
    assert len(np.unique(found.vertices, axis=0)) == len(found.vertices)
    assert set(found.cells.ravel()) == set(range(len(found.vertices)))
    corners = found.vertices[found.cells]
    areas = np.linalg.norm(np.cross(*(corners[:, i] - corners[:, 0] for i in (1, 2))), axis=1)
    assert areas.min() > 0
    # Beside the value nothing coincides, and the surface is nearly the same.
    beside = isosurface(values, 1e-3)
    gap = nearest_distances(found.vertices, beside.vertices).max()
    assert gap < 0.02


def test_two_spheres_are_their_radii_apart() -> None:
    """Nearest *vertices* of concentric spheres are a little further apart than the spheres."""
    grid = Grid((41, 41, 41), spacing=(0.5, 0.5, 0.5))
    pair = SurfacePair.of(ball(grid.dims, 10.0), ball(grid.dims, 14.0), grid, 0.0)
    assert pair.chamfer_voxels == pytest.approx(4.0, rel=0.02)
    assert pair.chamfer_voxels > 4.0
    assert pair.chamfer == pytest.approx(pair.chamfer_voxels / 2)
    assert pair.hausdorff_voxels == pytest.approx(4.0, rel=0.05)
    assert pair.hausdorff == pytest.approx(pair.hausdorff_voxels / 2)
    assert pair.hausdorff >= pair.chamfer
    assert pair.note == ""


def test_anisotropic_voxels() -> None:
    """Spheres in the data's units are ellipsoids in voxels."""
    spacing = (0.5, 1.0, 2.0)
    grid = Grid((81, 41, 21), spacing=spacing, origin=(5.0, 0.0, -3.0))
    first, second = (ball(grid.dims, r, spacing) for r in (10.0, 14.0))
    pair = SurfacePair.of(first, second, grid, 0.0)
    assert pair.chamfer == pytest.approx(4.0, rel=0.04)
    points = pair.points(pair.reference)
    centre = np.add(grid.origin, np.multiply(spacing, [40, 20, 10]))
    assert np.linalg.norm(points - centre, axis=1) == pytest.approx(10.0, abs=0.06)
    # In voxels the gap is 8 along x, 4 along y, 2 along z.
    assert 2.0 < pair.chamfer_voxels < 8.0


def test_distances_agree_with_brute_force() -> None:
    generator = np.random.default_rng(1)
    grid = Grid((9, 8, 7), spacing=(1.0, 2.0, 0.5))
    first, second = (generator.normal(size=grid.shape).astype(np.float32) for _ in range(2))
    pair = SurfacePair.of(first, second, grid, 0.3)
    for got, scale in ((pair.distances_voxels, np.ones(3)), (pair.distances, grid.spacing)):
        a, b = pair.reference.vertices * scale, pair.reconstruction.vertices * scale
        assert got[0] == pytest.approx(brute_force(a, b))
        assert got[1] == pytest.approx(brute_force(b, a))
    to, back = pair.distances
    assert pair.chamfer == pytest.approx((to.mean() + back.mean()) / 2)
    assert pair.hausdorff == max(to.max(), back.max())


def test_a_turned_grid_keeps_distances() -> None:
    turned = Grid((21, 21, 21), direction=(0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    straight = replace(turned, direction=Grid((1, 1, 1)).direction)
    volumes = ball(turned.dims, 5.0), ball(turned.dims, 7.0)
    pairs = [SurfacePair.of(*volumes, grid, 0.0) for grid in (turned, straight)]
    assert pairs[0].chamfer == pytest.approx(pairs[1].chamfer)
    x, y, z = pairs[1].points(pairs[1].reference).T
    assert pairs[0].points(pairs[0].reference) == pytest.approx(np.stack([-y, x, z], axis=1))


def test_cell_data_lies_at_cell_centres() -> None:
    grid = Grid((21, 21, 21), association="cell", spacing=(2.0, 2.0, 2.0), start=(3, 0, 0))
    pair = SurfacePair.of(ball(grid.dims, 5.0), ball(grid.dims, 5.0), grid, 0.0)
    centre = pair.points(pair.reference).mean(axis=0)
    assert centre == pytest.approx([2 * (3 + 10.5), 21, 21], abs=1e-6)
    assert pair.chamfer == pair.hausdorff == 0


@pytest.mark.parametrize("axis", range(3))
def test_a_plane_has_curves(axis: int) -> None:
    dims = tuple(1 if a == axis else 21 for a in range(3))
    grid = Grid(dims)
    pair = SurfacePair.of(ball(dims, 5.0), ball(dims, 8.0), grid, 0.0)
    assert pair.chamfer_voxels == pytest.approx(3.0, rel=0.05)
    assert pair.reference.cells.shape[1] == 2
    assert pair.reference.triangles == 0
    assert np.all(pair.reference.vertices[:, axis] == 0)
    others = [a for a in range(3) if a != axis]
    centred = pair.reference.vertices[:, others] - 10
    assert np.linalg.norm(centred, axis=1) == pytest.approx(5.0, abs=0.03)


@pytest.mark.parametrize("shape", [(1, 1, 9), (1, 1, 1)])
def test_less_than_a_plane_has_none(shape: tuple[int, int, int]) -> None:
    values = np.linspace(0, 1, math.prod(shape), dtype=np.float32).reshape(shape)
    assert len(isosurface(values, 0.5).vertices) == 0
    pair = SurfacePair.of(values, values, Grid(shape[::-1]), 0.5)
    assert pair.note == "a line has no isosurface"


def test_an_isovalue_that_is_not_reached_has_an_answer() -> None:
    grid = Grid((15, 15, 15))
    volume = ball(grid.dims, 5.0)
    one = SurfacePair.of(volume, volume + 50, grid, 0.0)
    assert one.note == "the reconstruction does not reach it"
    assert one.chamfer == one.chamfer_voxels == one.hausdorff == math.inf
    assert np.all(np.isinf(one.distances[0]))
    assert len(one.distances[1]) == 0
    other = SurfacePair.of(volume + 50, volume, grid, 0.0)
    assert (other.note, other.chamfer) == ("the reference does not reach it", math.inf)
    none = SurfacePair.of(volume, volume, grid, 99.0)
    assert (none.note, none.chamfer, none.hausdorff_voxels) == ("neither reaches it", 0.0, 0.0)


def test_nearest_of_nothing() -> None:
    assert nearest_distances(np.zeros((2, 3)), np.empty((0, 3))).tolist() == [math.inf] * 2
    assert nearest_distances(np.empty((0, 3)), np.zeros((2, 3))).tolist() == []


def test_without_scipy_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MetaINRError("no SciPy")

    monkeypatch.setattr(surfaces, "extra", missing)
    with pytest.raises(MetaINRError, match="no SciPy"):
        nearest_distances(np.zeros((1, 3)), np.zeros((1, 3)))
