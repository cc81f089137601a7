"""Meta-INR Compare: figures, difference, isosurfaces; over time, on other grids, bad input."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core.grid import Grid
from metainr_core.metrics import ssim

pytest.importorskip("vtkmodules")
pytest.importorskip("scipy")
from metainr_paraview import comparing
from metainr_paraview.compare import MetaINRCompare
from metainr_paraview.filter import ERROR_ARRAY
from metainr_paraview.tables import field_text
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkDataObject

TABLE, DIFFERENCE, REFERENCE, RECONSTRUCTION = range(4)
FIGURES = ("psnr", "psnr_series", "ssim", "mean_error", "max_error")


def off(lab: Any, time: float, grid: Grid | None = None, components: int = 1) -> np.ndarray:
    """A reconstruction of ``lab.wave``: 0.1 off, and a little more as time goes."""
    grid = grid or lab.grid
    return lab.wave(grid, time, components) + np.float32(0.1 + 0.01 * time)


@pytest.fixture
def inputs(lab: Any) -> tuple[Any, Any]:
    images = [lab.image(off(lab, time), lab.grid) for time in lab.times]
    return lab.source(), lab.source(images)


def make(reference: Any, reconstruction: Any, array: str = "speed", association: int = 0,
         isovalues: tuple[float, ...] = (0.5,), **values: Any) -> MetaINRCompare:  # fmt: skip
    algorithm = MetaINRCompare()
    algorithm.SetInputConnection(0, reference.GetOutputPort())
    algorithm.SetInputConnection(1, reconstruction.GetOutputPort())
    algorithm.SetInputArrayToProcess(0, 0, 0, association, array)
    for name, value in {"Isovalues": isovalues, **values}.items():
        getattr(algorithm, f"Set{name}")(value)
    return algorithm


def row(lab: Any, algorithm: Any, number: int = 0) -> dict[str, Any]:
    table = algorithm.GetOutputDataObject(TABLE)
    names = [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())]
    return {
        name: table.GetColumnByName(name).GetValue(number)
        for name in names
        if table.GetNumberOfRows() > number
    }


def point_array(algorithm: Any, port: int, name: str) -> np.ndarray:
    return vtk_to_numpy(algorithm.GetOutputDataObject(port).GetPointData().GetArray(name))


def positions(algorithm: Any, port: int) -> np.ndarray:
    return vtk_to_numpy(algorithm.GetOutputDataObject(port).GetPoints().GetData())


def static(lab: Any, values: np.ndarray, grid: Grid, name: str = "speed") -> Any:
    return lab.source([lab.image(values, grid, name)], times=None)


def check_error(lab: Any, algorithm: Any, expected: str) -> None:
    """One line, empty outputs, and nothing more when the same is asked for again."""
    messages = lab.messages(algorithm)
    algorithm.Update()
    algorithm.Update(1)
    (message,) = messages
    assert expected in message
    assert message.count("\n") == 1
    assert field_text(algorithm.GetOutputDataObject(TABLE), ERROR_ARRAY) in message
    assert algorithm.GetOutputDataObject(TABLE).GetNumberOfRows() == 0
    for port in (DIFFERENCE, REFERENCE, RECONSTRUCTION):
        assert algorithm.GetOutputDataObject(port).GetNumberOfPoints() == 0


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


def difference_time(lab: Any, algorithm: Any) -> float:
    """The time whose difference is shown, from its values."""
    image = algorithm.GetOutputDataObject(DIFFERENCE)
    assert image.GetPointData().GetArray("difference")
    return round(float(lab.values(image, "difference").mean() - 0.1) / 0.01, 2)


def test_the_outputs_have_the_common_times(lab: Any, inputs: tuple[Any, Any]) -> None:
    algorithm = make(*inputs)
    algorithm.UpdateInformation()
    keys = algorithm.GetExecutive()
    for port in range(4):
        info = algorithm.GetOutputInformation(port)
        assert info.Get(keys.TIME_STEPS()) == lab.times
        assert info.Get(keys.TIME_RANGE()) == (lab.times[0], lab.times[-1])
    images = [lab.image(off(lab, time), lab.grid) for time in (1.0, 2.0, 3.0)]
    algorithm.SetInputConnection(1, lab.source(images, (1.0, 2.0, 3.0)).GetOutputPort())
    algorithm.SetTimeSteps("all")
    algorithm.UpdateTimeStep(2.9)
    assert algorithm.GetOutputInformation(1).Get(keys.TIME_STEPS()) == (1.0, 3.0)
    table = algorithm.GetOutputDataObject(TABLE)
    assert lab.column(table, "step") == [1, 3]
    assert lab.column(table, "time") == [1.0, 3.0]
    assert difference_time(lab, algorithm) == 3.0
    reads = len(inputs[0].reads)
    for port in range(4):
        info = algorithm.GetOutputDataObject(port).GetInformation()
        assert info.Get(vtkDataObject.DATA_TIME_STEP()) == 3.0
        algorithm.UpdateTimeStep(2.9)
    assert len(inputs[0].reads) == reads


def test_every_output_is_of_the_time_that_was_asked_of_it(
    lab: Any, inputs: tuple[Any, Any]
) -> None:
    algorithm = make(*inputs)
    algorithm.UpdateInformation()
    executive, key = algorithm.GetExecutive(), algorithm.GetExecutive().UPDATE_TIME_STEP()

    def ask(port: int, time: float) -> None:
        algorithm.GetOutputInformation(port).Set(key, time)
        executive.Update(port)

    # As views at different times do.
    for port, time in (
        (TABLE, 1.0), (DIFFERENCE, 2.5), (TABLE, 1.0), (DIFFERENCE, 2.5), (REFERENCE, 2.5),
        (RECONSTRUCTION, 3.0), (REFERENCE, 2.5), (DIFFERENCE, 3.0),
    ):  # fmt: skip
        ask(port, time)
        assert difference_time(lab, algorithm) == time
        assert row(lab, algorithm)["time"] == time
        image = algorithm.GetOutputDataObject(DIFFERENCE)
        assert image.GetInformation().Get(vtkDataObject.DATA_TIME_STEP()) == time


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    calls: list[Any] = []
    original: Callable[..., Any] = getattr(comparing, name)

    def count(*arguments: Any, **keywords: Any) -> Any:
        calls.append(arguments)
        return original(*arguments, **keywords)

    monkeypatch.setattr(comparing, name, count)
    return calls


def test_all_steps_are_compared_once(
    lab: Any, inputs: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = counted(monkeypatch, "compare_volumes")
    algorithm = make(*inputs, TimeSteps="all")
    algorithm.UpdateTimeStep(2.5)
    assert lab.column(algorithm.GetOutputDataObject(TABLE), "time") == list(lab.times)
    assert len(compared) == 4
    reads = [len(source.reads) for source in inputs]
    for time in (0.5, 1.0, 3.0):
        algorithm.UpdateTimeStep(time)
        assert difference_time(lab, algorithm) == time
        shown = point_array(algorithm, REFERENCE, "distance")
        other = make(*inputs)
        other.UpdateTimeStep(time)
        np.testing.assert_array_equal(shown, point_array(other, REFERENCE, "distance"))
        compared.pop()
    assert len(compared) == 4
    # The other filter reads the series too; so only what is new for ours is known.
    algorithm.UpdateTimeStep(2.5)
    reads = [len(source.reads) for source in inputs]
    algorithm.UpdateTimeStep(0.5)
    assert [len(s.reads) - n for s, n in zip(inputs, reads, strict=True)] == [1, 1]
    algorithm.SetTimeSteps("current")
    algorithm.Update()
    assert len(compared) == 4
    # A change of a setting, or of an input, makes it new.
    algorithm.SetIsovalues((0.7,))
    algorithm.Update()
    assert len(compared) == 5
    inputs[1].Modified()
    algorithm.Update()
    assert len(compared) == 6


def test_current_needs_the_range_of_the_series_once(lab: Any, inputs: tuple[Any, Any]) -> None:
    algorithm = make(*inputs)
    for time in lab.times:
        algorithm.UpdateTimeStep(time)
        assert row(lab, algorithm)["time"] == time
    # All steps of the reference once for its range, and each to be shown.
    assert len(inputs[0].reads) <= 4 + 4 + 3
    assert inputs[1].reads == [0, 1, 2, 3]


def test_an_input_without_time_is_the_same_at_all(lab: Any, inputs: tuple[Any, Any]) -> None:
    still = static(lab, lab.wave(lab.grid, 1.0), lab.grid)
    for pair in ((inputs[0], still), (still, inputs[0])):
        algorithm = make(*pair, TimeSteps="all")
        algorithm.UpdateTimeStep(1.0)
        table = algorithm.GetOutputDataObject(TABLE)
        assert lab.column(table, "time") == list(lab.times)
        assert lab.column(table, "step") == [0, 1, 2, 3]
        errors = lab.column(table, "max_error")
        assert errors[1] == 0
        assert min(errors[0], *errors[2:]) > 0.1
        assert lab.column(table, "psnr")[1] == math.inf
        difference = lab.values(algorithm.GetOutputDataObject(DIFFERENCE), "difference")
        assert np.abs(difference).max() == 0


def test_two_inputs_without_time(lab: Any) -> None:
    a, b = (static(lab, f(lab, 1.0), lab.grid) for f in (lambda lab, t: lab.wave(lab.grid, t), off))
    algorithm = make(a, b, TimeSteps="all")
    algorithm.Update()
    assert row(lab, algorithm)["max_error"] == pytest.approx(0.11, rel=1e-4)
    info = algorithm.GetOutputInformation(DIFFERENCE)
    assert not info.Has(algorithm.GetExecutive().TIME_STEPS())


def test_one_input_twice(lab: Any, inputs: tuple[Any, Any]) -> None:
    algorithm = make(inputs[0], inputs[0], TimeSteps="all")
    algorithm.UpdateTimeStep(2.5)
    table = algorithm.GetOutputDataObject(TABLE)
    assert lab.column(table, "psnr") == [math.inf] * 4
    assert lab.column(table, "ssim") == [1.0] * 4
    assert lab.column(table, "chamfer_0") == [0.0] * 4


def test_the_inputs_are_at_the_time_asked_for_afterwards(lab: Any, inputs: tuple[Any, Any]) -> None:
    algorithm = make(*inputs, TimeSteps="all")
    algorithm.UpdateTimeStep(1.0)
    for port, values in ((0, lab.wave(lab.grid, 1.0)), (1, off(lab, 1.0))):
        np.testing.assert_array_equal(lab.values(algorithm.GetInputDataObject(port, 0)), values)


def test_a_stop_keeps_what_is_compared(lab: Any, inputs: tuple[Any, Any],
                                       monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    from metainr_paraview import filter as filter_module

    monkeypatch.setattr(filter_module, "_PROGRESS_INTERVAL", 0)
    algorithm = make(*inputs, TimeSteps="all")
    messages = lab.messages(algorithm)

    def stop(caller: Any, _event: str) -> None:
        if caller.GetProgressText() == "comparing time 2.5":
            caller.SetAbortExecute(1)

    observer = algorithm.AddObserver("ProgressEvent", stop)
    algorithm.UpdateTimeStep(1.0)
    assert lab.column(algorithm.GetOutputDataObject(TABLE), "time") == [0.5, 1.0]
    assert messages == [
        "WARNING: Meta-INR Compare: stopped; the table has 2 of 4 times; Run Again continues\n"
    ]
    assert difference_time(lab, algorithm) == 1.0
    algorithm.RemoveObserver(observer)
    compared = counted(monkeypatch, "compare_volumes")
    algorithm.Modified()
    algorithm.Update()
    assert lab.column(algorithm.GetOutputDataObject(TABLE), "time") == list(lab.times)
    assert len(compared) == 2
    assert len(messages) == 1


# --- grids


def part(lab: Any, grid: Grid, extent: tuple[int, ...]) -> tuple[Grid, Any]:
    smaller = grid.part(extent)
    first = np.subtract(smaller.start, grid.start)
    x, y, z = (slice(a, a + n) for a, n in zip(first, smaller.dims, strict=True))
    return smaller, static(lab, off(lab, 1.0)[z, y, x], smaller)


def test_the_part_that_both_cover(lab: Any, inputs: tuple[Any, Any]) -> None:
    smaller, box = part(lab, lab.grid, (3, 12, 2, 20, 4, 9))
    algorithm = make(inputs[0], box)
    algorithm.UpdateTimeStep(1.0)
    text = field_text(algorithm.GetOutputDataObject(TABLE), "matching")
    assert text.startswith("at 10 × 10 × 6 values, 31.2 % of the reference's; the reconstruction")
    image = algorithm.GetOutputDataObject(DIFFERENCE)
    assert image.GetExtent() == smaller.extent
    info = algorithm.GetOutputInformation(DIFFERENCE)
    assert info.Get(algorithm.GetExecutive().WHOLE_EXTENT()) == smaller.extent
    np.testing.assert_allclose(lab.values(image, "difference"), 0.11, atol=1e-6)
    assert row(lab, algorithm)["max_error"] == pytest.approx(0.11, rel=1e-4)
    reads = len(box.reads)
    algorithm.Update(DIFFERENCE)
    assert len(box.reads) == reads, "VTK takes the difference for incomplete"


@pytest.mark.parametrize("association", [0, 1])
def test_a_coarser_reconstruction_is_interpolated(lab: Any, association: int) -> None:
    name = ("point", "cell")[association]
    fine = Grid((17, 13, 9), spacing=(1.0, 1.0, 1.0), association=name)
    coarse = fine.resampled((9, 7, 5))

    def linear(grid: Grid) -> np.ndarray:
        index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.dims), indexing="ij"), axis=-1)
        values = grid.points(index.reshape(-1, 3)) @ (1.0, 2.0, 3.0)
        return np.ascontiguousarray(values.reshape(grid.dims).T[..., None], np.float32)

    algorithm = make(
        static(lab, linear(fine), fine), static(lab, linear(coarse) + 1, coarse), isovalues=(20.0,),
        association=association,
    )  # fmt: skip
    algorithm.Update()
    image = algorithm.GetOutputDataObject(DIFFERENCE)
    assert image.GetExtent() == fine.extent
    difference = lab.values(image, "difference", name)
    inside = difference[2:-2, 2:-2, 2:-2]  # farther out cells of the coarse grid end
    np.testing.assert_allclose(inside, 1.0, atol=1e-4)


def test_cells_against_points(lab: Any) -> None:
    points = lab.grid
    cells = dataclasses.replace(points, dims=(15, 11, 9), association="cell")
    a, b = lab.wave(points, 0.0), lab.wave(cells, 0.0)
    algorithm = make(static(lab, a, points), static(lab, b, cells))
    algorithm.Update()
    image = algorithm.GetOutputDataObject(DIFFERENCE)
    assert image.GetExtent() == points.extent
    assert lab.values(image, "difference").shape == a.shape
    algorithm = make(static(lab, b, cells), static(lab, a, points), association=1)
    algorithm.Update()
    image = algorithm.GetOutputDataObject(DIFFERENCE)
    assert lab.values(image, "difference", "cell").shape == b.shape


def test_an_array_of_another_name(lab: Any, inputs: tuple[Any, Any]) -> None:
    other = static(lab, off(lab, 1.0), lab.grid, "copy")
    expected = 'the Reconstruction: there is no point array "speed"; its arrays: copy (point)'
    check_error(lab, make(inputs[0], other), expected)
    algorithm = make(inputs[0], other, ReconstructionScalars="copy")
    algorithm.UpdateTimeStep(1.0)
    assert row(lab, algorithm)["max_error"] == pytest.approx(0.11, rel=1e-4)


def test_the_only_array_needs_no_choice(lab: Any, inputs: tuple[Any, Any]) -> None:
    for array, association in (("", 0), ("matching", 2)):
        algorithm = make(*inputs, array=array, association=association)
        algorithm.UpdateTimeStep(1.0)
        assert row(lab, algorithm)["max_error"] == pytest.approx(0.11, rel=1e-4)
    image = lab.image(lab.wave(lab.grid, 0.0), lab.grid)
    image.GetPointData().AddArray(
        lab.image(off(lab, 0.0), lab.grid, "b").GetPointData().GetArray(0)
    )
    algorithm = make(lab.source([image], None), inputs[1], array="")
    check_error(lab, algorithm, "choose a point or cell array; there are: speed (point), b")


# --- errors


def test_bad_settings(lab: Any, inputs: tuple[Any, Any]) -> None:
    check_error(lab, make(*inputs, TimeSteps="some"), "TimeSteps is 'some'; current or all")
    check_error(lab, make(*inputs, isovalues=(math.nan,)), "Isovalues is [nan]")
    check_error(
        lab, make(*inputs, array="lost"), 'no point array "lost"; its arrays: speed (point)'
    )


def test_no_common_time(lab: Any, inputs: tuple[Any, Any]) -> None:
    late = lab.source(lab.waves(), (7.0, 8.0, 9.0, 10.0))
    expected = "no time is in both inputs: the Reference has 0.5 to 3, the Reconstruction 7 to 10"
    check_error(lab, make(inputs[0], late), expected)


def test_grids_that_do_not_overlap(lab: Any, inputs: tuple[Any, Any]) -> None:
    grid = dataclasses.replace(lab.grid, origin=(100.0, -2.0, 3.0))
    check_error(lab, make(inputs[0], static(lab, off(lab, 0.0), grid)), "do not overlap: along x")
    turned = dataclasses.replace(lab.grid, direction=(0, -1, 0, 1, 0, 0, 0, 0, 1))
    check_error(lab, make(inputs[0], static(lab, off(lab, 0.0), turned)), "turned against")


def test_another_number_of_components(lab: Any, inputs: tuple[Any, Any]) -> None:
    other = lab.source(lab.waves(components=3))
    check_error(lab, make(inputs[0], other), 'the Reference has 1 components, "speed" of the Recon')


def test_an_input_that_failed(lab: Any, inputs: tuple[Any, Any]) -> None:
    from vtkmodules.vtkCommonDataModel import vtkImageData

    empty = lab.source([vtkImageData()], None)
    check_error(lab, make(inputs[0], empty), "the Reconstruction is empty: what is before it")
    check_error(lab, make(empty, inputs[0]), "the Reference is empty: what is before it")


def test_values_that_are_not_finite(lab: Any, inputs: tuple[Any, Any]) -> None:
    values = off(lab, 0.0)
    values[1, 2, 3] = np.nan
    bad = static(lab, values, lab.grid)
    expected = 'step 0 (time 0) of the Reconstruction: array "speed" has 1 non-finite'
    check_error(lab, make(inputs[0], bad), expected)
    algorithm = make(inputs[0], bad, IgnoreNonfinite=1)
    algorithm.Update()
    assert row(lab, algorithm)["psnr"] > 0


def test_nothing_is_left_of_a_failed_run_and_a_cure_helps(
    lab: Any, inputs: tuple[Any, Any]
) -> None:
    algorithm = make(*inputs)
    algorithm.UpdateTimeStep(1.0)
    algorithm.SetReconstructionScalars("lost")
    check_error(lab, algorithm, 'no point array "lost"')
    algorithm.SetReconstructionScalars("")
    algorithm.Update()
    assert row(lab, algorithm)["time"] == 1.0
    assert field_text(algorithm.GetOutputDataObject(TABLE), ERROR_ARRAY) == ""


def test_another_time_than_that_of_an_error(lab: Any, inputs: tuple[Any, Any]) -> None:
    images = [lab.image(off(lab, time), lab.grid) for time in lab.times]
    other = dataclasses.replace(lab.grid, spacing=(0.5, 0.25, 2.1))
    images[2] = lab.image(off(lab, 2.5), other)
    algorithm = make(inputs[0], lab.source(images))
    messages = lab.messages(algorithm)
    algorithm.UpdateTimeStep(0.5)
    assert not messages
    algorithm.UpdateTimeStep(2.5)
    algorithm.SetTimeSteps("all")
    for time in (1.0, 3.0):
        del messages[:]
        algorithm.UpdateTimeStep(time)
        (message,) = messages
        assert "step 2 (time 2.5) of the Reconstruction: its grid has spacing" in message
        assert algorithm.GetOutputDataObject(DIFFERENCE).GetNumberOfPoints() == 0
    algorithm.SetTimeSteps("current")
    del messages[:]
    algorithm.UpdateTimeStep(1.0)
    assert difference_time(lab, algorithm) == 1.0
    assert not messages
