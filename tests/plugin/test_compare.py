"""Meta-INR Compare: figures, difference, isosurfaces, LPIPS."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core.grid import Grid
from metainr_core.metrics import ssim

pytest.importorskip("vtkmodules")
pytest.importorskip("scipy")
from metainr_paraview.tables import field_text

from tests.plugin.pairs import (
    DIFFERENCE,
    RECONSTRUCTION,
    REFERENCE,
    TABLE,
    check_error,
    make,
    off,
    point_array,
    positions,
    row,
    static,
)


def test_the_figures_are_those_of_the_arrays(lab: Any, inputs: tuple[Any, Any]) -> None:
    algorithm = make(*inputs)
    algorithm.UpdateTimeStep(2.5)
    original, other = lab.wave(lab.grid, 2.5).astype(np.float64), off(lab, 2.5)
    waves = [lab.wave(lab.grid, time) for time in lab.times]
    error = np.abs(other - original)
    found = row(lab, algorithm)
    assert algorithm.GetOutputDataObject(TABLE).GetNumberOfRows() == 1
    assert (found["step"], found["time"]) == (2, 2.5)
    mean_squared = 10 * np.log10((error**2).mean())
    assert found["psnr"] == pytest.approx(20 * np.log10(np.ptp(original)) - mean_squared)
    assert found["psnr_series"] == pytest.approx(20 * np.log10(np.ptp(waves)) - mean_squared)
    assert found["mean_error"] == pytest.approx(error.mean())
    assert found["max_error"] == pytest.approx(error.max())
    assert 0 < found["ssim"] == ssim(original, other, np.ptp(original)) < 1
    assert found["isovalue_0"] == 0.5
    assert found["notes"] == ""
    assert field_text(algorithm.GetOutputDataObject(TABLE), "matching") == "one grid"


def sphere(grid: Grid, radius: float) -> np.ndarray:
    """Signed distance to a sphere around the middle of the grid, in world units."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.dims), indexing="ij"), axis=-1)
    points = grid.points(index.reshape(-1, 3)).reshape(*grid.dims, 3)
    middle = grid.points((np.array([grid.dims]) - 1) / 2)[0]
    distance = np.linalg.norm(points - middle, axis=-1) - radius
    return np.ascontiguousarray(distance.transpose(2, 1, 0)[..., None], np.float32)


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.25, 0.5, 0.4)])
def test_two_spheres_are_as_far_apart_as_their_radii(
    lab: Any, spacing: tuple[float, float, float]
) -> None:
    dims = tuple(round(14 / s) + 1 for s in spacing)
    grid = Grid(dims, spacing=spacing, origin=(1.0, -2.0, 3.0))
    algorithm = make(
        static(lab, sphere(grid, 4.5), grid), static(lab, sphere(grid, 6.0), grid), isovalues=(0.0,)
    )
    algorithm.Update()
    found = row(lab, algorithm)
    # From vertex to nearest vertex: a little farther than from surface to surface.
    assert found["chamfer_0"] == pytest.approx(1.5, rel=0.02)
    assert found["hausdorff_0"] == pytest.approx(1.5, rel=0.05)
    for port, radius in ((REFERENCE, 4.5), (RECONSTRUCTION, 6.0)):
        distance = point_array(algorithm, port, "distance")
        assert distance.min() > 1.45
        assert distance.mean() == pytest.approx(1.5, rel=0.02)
        middle = np.add(grid.origin, np.multiply(spacing, np.subtract(dims, 1)) / 2)
        radii = np.linalg.norm(positions(algorithm, port) - middle, axis=1)
        np.testing.assert_allclose(radii, radius, atol=0.02)
        outward = (positions(algorithm, port) - middle) / radii[:, None]
        along = (point_array(algorithm, port, "Normals") * outward).sum(axis=1)
        assert np.abs(along).min() > 0.98
        assert np.abs(along.mean()) > 0.99, "all on one side"
        assert set(point_array(algorithm, port, "isovalue")) == {0.0}
    if len(set(spacing)) == 1:
        assert found["chamfer_voxels_0"] == pytest.approx(3.0, rel=0.02)
        assert found["hausdorff_voxels_0"] == pytest.approx(3.0, rel=0.05)
    for port, side in ((REFERENCE, "reference"), (RECONSTRUCTION, "reconstruction")):
        surface = algorithm.GetOutputDataObject(port)
        assert surface.GetNumberOfPolys() == found[f"triangles_{side}_0"] > 500
        assert surface.GetPointData().GetScalars().GetName() == "distance"
    difference = lab.values(algorithm.GetOutputDataObject(DIFFERENCE), "difference")
    np.testing.assert_allclose(difference, -1.5, atol=1e-5)


def test_distances_are_to_the_nearest_vertex(lab: Any, inputs: tuple[Any, Any]) -> None:
    algorithm = make(*inputs, isovalues=(0.2, 0.9))
    algorithm.UpdateTimeStep(1.0)
    found = row(lab, algorithm)
    for number, isovalue in enumerate((0.2, 0.9)):
        places, distances, voxels = [], [], []
        for port in (REFERENCE, RECONSTRUCTION):
            own = point_array(algorithm, port, "isovalue") == isovalue
            places.append(positions(algorithm, port)[own])
            distances.append(point_array(algorithm, port, "distance")[own])
            voxels.append(point_array(algorithm, port, "distance_voxels")[own])
        for given, unit in ((distances, ""), (voxels, "_voxels")):
            a, b = (p / lab.grid.spacing if unit else p for p in places)
            brute = np.linalg.norm(a[:, None] - b[None], axis=2)
            np.testing.assert_allclose(given[0], brute.min(axis=1), atol=1e-9)
            np.testing.assert_allclose(given[1], brute.min(axis=0), atol=1e-9)
            chamfer = (brute.min(axis=1).mean() + brute.min(axis=0).mean()) / 2
            assert found[f"chamfer{unit}_{number}"] == pytest.approx(chamfer)
            largest = max(brute.min(axis=1).max(), brute.min(axis=0).max())
            assert found[f"hausdorff{unit}_{number}"] == pytest.approx(largest)


def test_an_isovalue_that_one_side_does_not_reach(lab: Any) -> None:
    grid = Grid((12, 10, 8), spacing=(1.0, 2.0, 0.5))
    a = np.broadcast_to(np.arange(12, dtype=np.float32)[:, None], (8, 10, 12, 1)).copy()
    algorithm = make(static(lab, a, grid), static(lab, a / 2, grid), isovalues=(8.5, 99.0))
    algorithm.Update()
    found = row(lab, algorithm)
    assert found["notes"] == "8.5: the reconstruction does not reach it; 99: neither reaches it"
    assert found["chamfer_0"] == found["hausdorff_voxels_0"] == math.inf
    assert found["chamfer_1"] == found["hausdorff_voxels_1"] == 0.0
    assert found["triangles_reconstruction_0"] == 0 < found["triangles_reference_0"]
    assert algorithm.GetOutputDataObject(RECONSTRUCTION).GetNumberOfPoints() == 0
    far = point_array(algorithm, REFERENCE, "distance")
    np.testing.assert_allclose(far, np.linalg.norm((11, 18, 3.5)))
    far = point_array(algorithm, REFERENCE, "distance_voxels")
    np.testing.assert_allclose(far, np.linalg.norm((11, 9, 7)))


def test_the_default_is_three_quartiles_of_the_series(lab: Any, inputs: tuple[Any, Any]) -> None:
    algorithm = make(*inputs, isovalues=())
    algorithm.UpdateTimeStep(1.0)
    waves = np.concatenate([lab.wave(lab.grid, time).ravel() for time in lab.times])
    found = row(lab, algorithm)
    given = [found[f"isovalue_{k}"] for k in range(3)]
    np.testing.assert_allclose(given, np.quantile(waves, (0.25, 0.5, 0.75)), rtol=1e-6)
    assert "isovalue_3" not in found


def test_a_plane_has_curves(lab: Any) -> None:
    grid = dataclasses.replace(lab.grid, dims=(16, 12, 1))
    algorithm = make(
        static(lab, lab.wave(grid, 0.0), grid), static(lab, off(lab, 0.0, grid), grid),
        isovalues=(0.2, 0.5),
    )  # fmt: skip
    algorithm.Update()
    surface = algorithm.GetOutputDataObject(REFERENCE)
    assert (surface.GetNumberOfPolys(), surface.GetNumberOfLines() > 5) == (0, True)
    np.testing.assert_allclose(positions(algorithm, REFERENCE)[:, 2], 3.0)
    assert row(lab, algorithm)["triangles_reference_0"] == 0


def test_vectors(lab: Any) -> None:
    grid = lab.grid
    a, b = lab.wave(grid, 0.0, 3), off(lab, 0.0, grid, 3)
    algorithm = make(static(lab, a, grid), static(lab, b, grid), isovalues=(1.0,))
    algorithm.Update()
    difference = algorithm.GetOutputDataObject(DIFFERENCE)
    np.testing.assert_array_equal(lab.values(difference, "difference"), b - a)
    scalars = [np.linalg.norm(v, axis=3, keepdims=True) for v in (a, b)]
    same = make(static(lab, scalars[0], grid), static(lab, scalars[1], grid), isovalues=(1.0,))
    same.Update()
    assert row(lab, algorithm)["chamfer_0"] == row(lab, same)["chamfer_0"] > 0
    assert row(lab, algorithm)["mean_error"] == pytest.approx(0.1, rel=1e-5)


# --- LPIPS


def test_lpips_that_cannot_be_measured_is_a_reason(
    lab: Any, inputs: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    algorithm = make(*inputs, LPIPS=1, TimeSteps="all")
    algorithm.UpdateTimeStep(1.0)
    texts = lab.column(algorithm.GetOutputDataObject(TABLE), "lpips")
    assert len(texts) == 4
    assert all(text.startswith("unavailable: ") for text in texts)
    missing = tmp_path / "alexnet.pth"
    algorithm.SetBackboneFile(str(missing))
    check_error(lab, algorithm, f"LPIPS backbone {missing} does not exist")
    algorithm.SetLPIPS(0)
    algorithm.Update()
    assert "lpips" not in row(lab, algorithm)


def test_lpips_is_a_number(
    lab: Any, inputs: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from metainr_core import perception

    class Measure:
        """As RenderedLpips, which has its own tests."""

        def __init__(self, net: str, backbone: str | None, value_range: Any):
            assert (net, backbone) == ("squeeze", None)
            waves = np.concatenate([lab.wave(lab.grid, time) for time in lab.times])
            assert (value_range.low[0], value_range.high[0]) == (waves.min(), waves.max())

        def __call__(self, original: np.ndarray, reconstruction: np.ndarray, grid: Grid) -> float:
            assert grid == lab.grid
            return float((reconstruction - original).mean())

    monkeypatch.setattr(perception, "RenderedLpips", Measure)
    algorithm = make(*inputs, LPIPS=1, LPIPSNet="squeeze", TimeSteps="all")
    algorithm.UpdateTimeStep(1.0)
    found = lab.column(algorithm.GetOutputDataObject(TABLE), "lpips")
    assert found == pytest.approx([0.1 + 0.01 * time for time in lab.times], rel=1e-4)


# --- time
