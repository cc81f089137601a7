"""Meta-INR Compare over time and on other grids: what the two inputs have in common."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metainr_core.grid import Grid

pytest.importorskip("vtkmodules")
pytest.importorskip("scipy")
from metainr_paraview import comparing
from metainr_paraview.filter import ERROR_ARRAY
from metainr_paraview.tables import field_text
from vtkmodules.vtkCommonDataModel import vtkDataObject

from tests.plugin.pairs import (
    DIFFERENCE,
    RECONSTRUCTION,
    REFERENCE,
    TABLE,
    make,
    off,
    point_array,
    row,
    static,
)


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

    monkeypatch.setattr(filter_module, "PROGRESS_INTERVAL", 0)
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
    del messages[:]
    for time in (1.0, 3.0):
        algorithm.UpdateTimeStep(time)
        error = field_text(algorithm.GetOutputDataObject(TABLE), ERROR_ARRAY)
        assert "step 2 (time 2.5) of the Reconstruction: its grid has spacing" in error
        assert algorithm.GetOutputDataObject(DIFFERENCE).GetNumberOfPoints() == 0
    assert messages == [f"ERROR: Meta-INR Compare: {error}\n"], "it is told once"
    algorithm.SetTimeSteps("current")
    del messages[:]
    algorithm.UpdateTimeStep(1.0)
    assert difference_time(lab, algorithm) == 1.0
    assert not messages


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
