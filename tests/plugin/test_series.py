"""The input pipeline as a series: any step at any time, and as it was afterwards."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metainr_core.errors import SeriesError
from metainr_core.grid import Grid

pytest.importorskip("vtkmodules")
from metainr_paraview.filter import TableFilter
from metainr_paraview.images import array_choice
from metainr_paraview.series import PipelineSeries, Upstream


class Probe(TableFilter):
    """Hands the series of its input to a function while it executes."""

    def __init__(self, use: Callable[[PipelineSeries], Any]):
        super().__init__()
        self.use = use
        self.result: Any = None

    def run(self, inInfo: Any, output: Any, progress: Any) -> None:
        with PipelineSeries.opened(Upstream(self), array_choice(self)) as series:
            self.result = self.use(series)


def run(lab: Any, source: Any, use: Callable[[PipelineSeries], Any], *, time: float | None = None,
        array: str = "speed", association: int = 0) -> Any:  # fmt: skip
    """The result of ``use``; an error raises SeriesError with the reported text."""
    probe = lab.connect(Probe(use), source, array, association)
    messages = lab.messages(probe)
    probe.UpdateTimeStep(time) if time is not None else probe.Update()
    if messages:
        assert len(messages) == 1
        raise SeriesError(messages[0])
    return probe.result


def test_steps_can_be_read_in_any_order(lab: Any) -> None:
    def use(series: PipelineSeries) -> list[np.ndarray]:
        assert series.times == lab.times
        assert series.grid == lab.grid
        return [series.read(step) for step in (3, 0, 2, 2, 1)]

    values = run(lab, lab.source(), use)
    for step, found in zip((3, 0, 2, 2, 1), values, strict=True):
        np.testing.assert_array_equal(found, lab.wave(lab.grid, lab.times[step]))


def test_a_step_stays_as_it_was_when_another_is_read(lab: Any) -> None:
    def use(series: PipelineSeries) -> np.ndarray:
        first = series.read(0)
        series.read(3)
        return first

    np.testing.assert_array_equal(run(lab, lab.source(), use), lab.wave(lab.grid, lab.times[0]))


@pytest.mark.parametrize("fails", [False, True])
def test_the_input_is_at_the_time_asked_for_afterwards(lab: Any, fails: bool) -> None:
    def use(series: PipelineSeries) -> None:
        series.read(0)
        if fails:
            raise SeriesError("no")

    source = lab.source()
    probe = lab.connect(Probe(use), source)
    lab.messages(probe)
    probe.UpdateTimeStep(2.5)
    assert source.reads[-1] == 2
    np.testing.assert_array_equal(
        lab.values(probe.GetInputDataObject(0, 0)), lab.wave(lab.grid, 2.5)
    )
    count = len(source.reads)
    source.UpdateTimeStep(2.5)
    assert len(source.reads) == count, "the pipeline believes that it is at another time"


def test_other_filters_on_the_same_input_see_their_own_time(lab: Any) -> None:
    from vtkmodules.vtkFiltersCore import vtkArrayCalculator

    source = lab.source()
    other = vtkArrayCalculator()
    other.SetFunction("1")
    other.SetInputConnection(source.GetOutputPort())
    other.UpdateTimeStep(1.0)
    run(lab, source, lambda series: series.read(3), time=3.0)
    other.UpdateTimeStep(1.0)
    np.testing.assert_array_equal(lab.values(other.GetOutput()), lab.wave(lab.grid, 1.0))


def test_filters_in_between_take_part(lab: Any) -> None:
    from vtkmodules.vtkFiltersCore import vtkArrayCalculator

    calculator = vtkArrayCalculator()
    calculator.SetInputConnection(lab.source().GetOutputPort())
    calculator.AddScalarArrayName("speed")
    calculator.SetFunction("2 * speed")
    calculator.SetResultArrayName("twice")
    values = run(lab, calculator, lambda series: [series.read(s) for s in (2, 0)], array="twice")
    np.testing.assert_allclose(values[0], 2 * lab.wave(lab.grid, lab.times[2]), rtol=1e-6)
    np.testing.assert_allclose(values[1], 2 * lab.wave(lab.grid, lab.times[0]), rtol=1e-6)


def test_a_time_dependent_result_does_not_run_again(lab: Any) -> None:
    runs = []
    probe = lab.connect(Probe(lambda series: runs.append(series.read(0))), lab.source())
    for time in (1.0, 2.5, 0.5):
        probe.UpdateTimeStep(time)
    assert len(runs) == 1
    info = probe.GetOutputInformation(0)
    keys = probe.GetExecutive()
    assert not info.Has(keys.TIME_STEPS())
    assert not info.Has(keys.TIME_RANGE())


def test_no_time_is_one_step(lab: Any) -> None:
    source = lab.source(lab.waves()[:1], times=None)
    # The time that a view shows is not the data's.
    times, values = run(lab, source, lambda series: (series.times, series.read(0)), time=7.0)
    assert times == (0.0,)
    np.testing.assert_array_equal(values, lab.wave(lab.grid, lab.times[0]))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float64])
def test_other_types_are_read_as_float32(lab: Any, dtype: Any) -> None:
    whole = (100 + 40 * lab.wave(lab.grid, 0.0)).astype(dtype)
    source = lab.source([lab.image(whole, lab.grid)], times=(1.0,))
    values = run(lab, source, lambda series: series.read(0))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, whole.astype(np.float32))


@pytest.mark.parametrize(
    "changes",
    [
        {"association": "cell"},
        {"start": (3, -2, 5)},
        {"dims": (16, 12, 1)},
        {"direction": (0, -1, 0, 1, 0, 0, 0, 0, 1), "spacing": (1.0, 2.0, 3.0)},
    ],
)
@pytest.mark.parametrize("components", [1, 3])
def test_grids_and_components(lab: Any, changes: dict[str, Any], components: int) -> None:
    grid = dataclasses.replace(lab.grid, **changes)

    def use(series: PipelineSeries) -> tuple[Grid, int, np.ndarray]:
        return series.grid, series.components, series.read(1)

    association = int(grid.association == "cell")
    found, number, values = run(
        lab, lab.source(lab.waves(grid, components)), use, association=association
    )
    assert found == grid
    assert number == components
    np.testing.assert_array_equal(values, lab.wave(grid, lab.times[1], components))


def read_all(series: PipelineSeries) -> None:
    for step in range(len(series)):
        series.read(step)


@pytest.mark.parametrize(
    "change", [{"spacing": (0.5, 0.25, 2.5)}, {"origin": (1.0, -2.0, 3.5)}, {"dims": (16, 12, 9)}]
)
def test_another_grid_in_one_step_is_refused(lab: Any, change: dict[str, Any]) -> None:
    images = lab.waves()
    other = dataclasses.replace(lab.grid, **change)
    images[2] = lab.image(lab.wave(other, 0.0), other)
    with pytest.raises(SeriesError, match=r"step 2 \(time 2.5\).*all steps need one grid"):
        run(lab, lab.source(images), read_all)


def test_an_array_that_one_step_lacks_is_named_with_the_step(lab: Any) -> None:
    images = lab.waves()
    images[1] = lab.image(lab.wave(lab.grid, 0.0), lab.grid, "other")
    with pytest.raises(SeriesError, match=r'step 1 \(time 1\).*"speed"; its arrays: other'):
        run(lab, lab.source(images), read_all)


def test_another_number_of_components_is_refused(lab: Any) -> None:
    images = lab.waves()
    images[3] = lab.waves(components=3)[3]
    with pytest.raises(SeriesError, match=r"step 3 .*shape"):
        run(lab, lab.source(images), read_all)


def test_only_of_several_arrays_one_has_to_be_chosen(lab: Any) -> None:
    with pytest.raises(SeriesError, match=r'no point array "nothing"; its arrays: speed \(point'):
        run(lab, lab.source(), read_all, array="nothing")
    # What a script gets that names none: nothing, or a column of the active source.
    for wrong in ({"array": ""}, {"association": 2}):
        assert run(lab, lab.source(), lambda series: series.array, **wrong) == "speed"
    images = lab.waves()
    for image in images:
        other = image.GetPointData().GetArray(0).NewInstance()
        other.DeepCopy(image.GetPointData().GetArray(0))
        other.SetName("other")
        image.GetPointData().AddArray(other)
    with pytest.raises(SeriesError, match=r"Scalars is empty.* speed \(point\), other \(point\)"):
        run(lab, lab.source(images), read_all, array="")


def trivial(data: Any) -> Any:
    from vtkmodules.vtkCommonExecutionModel import vtkTrivialProducer

    source = vtkTrivialProducer()
    source.SetOutput(data)
    return source


def partitioned(*images: Any) -> Any:
    from vtkmodules.vtkCommonDataModel import vtkPartitionedDataSet

    data = vtkPartitionedDataSet()
    for number, image in enumerate(images):
        data.SetPartition(number, image)
    return data


def blocks(*data: Any) -> Any:
    from vtkmodules.vtkCommonDataModel import vtkMultiBlockDataSet

    made = vtkMultiBlockDataSet()
    for number, block in enumerate(data):
        made.SetBlock(number, block)
    return made


def test_the_only_image_of_blocks_or_partitions_is_read(lab: Any) -> None:
    image = lab.waves()[0]
    for data in (partitioned(image), blocks(image), blocks(None, blocks(image))):
        values = run(lab, trivial(data), lambda series: series.read(0))
        np.testing.assert_array_equal(values, lab.wave(lab.grid, lab.times[0]))


def test_several_pieces_are_refused(lab: Any) -> None:
    image = lab.waves()[0]
    message = r"with 2 pieces; expected one image: choose one with Extract Block, or apply Resample"
    for data in (partitioned(image, image), blocks(image, image)):
        with pytest.raises(SeriesError, match=message):
            run(lab, trivial(data), read_all)
    with pytest.raises(SeriesError, match="vtkMultiBlockDataSet without data; expected an image"):
        run(lab, trivial(blocks()), read_all)


@pytest.mark.parametrize("name", ["RectilinearGrid", "StructuredGrid", "UnstructuredGrid"])
def test_other_grids_are_refused_with_the_filter_that_helps(lab: Any, name: str) -> None:
    from vtkmodules import vtkCommonDataModel

    data = getattr(vtkCommonDataModel, f"vtk{name}")()
    message = rf"input is vtk{name}; expected image data \(\.vti\): apply Resample To Image first"
    for found in (data, blocks(data)):
        with pytest.raises(SeriesError, match=message):
            run(lab, trivial(found), read_all)


def test_a_table_is_no_image(lab: Any) -> None:
    from vtkmodules.vtkCommonDataModel import vtkTable

    with pytest.raises(SeriesError, match="input is vtkTable; expected image data"):
        run(lab, trivial(vtkTable()), read_all)


def test_bits_are_numbers(lab: Any) -> None:
    from vtkmodules.vtkCommonCore import vtkBitArray

    bits = vtkBitArray()
    bits.SetName("speed")
    wanted = [n % 3 == 0 for n in range(lab.grid.voxels)]
    for bit in wanted:
        bits.InsertNextValue(int(bit))
    image = lab.image(lab.wave(lab.grid, 0.0), lab.grid, "other")
    image.GetPointData().AddArray(bits)
    values = run(lab, lab.source([image], times=None), lambda series: series.read(0))
    assert values.ravel().tolist() == wanted


@pytest.mark.filterwarnings("always::metainr_core.errors.MetaINRWarning")
@pytest.mark.parametrize(("association", "hides", "others"), [("point", 2, 1), ("cell", 32, 9)])
def test_blanked_values_are_told_once(lab: Any, association: str, hides: int, others: int) -> None:
    from vtkmodules.util.numpy_support import numpy_to_vtk

    grid = dataclasses.replace(lab.grid, association=association)
    marks = np.full(grid.voxels, others, np.uint8)
    marks[[3, 7]] |= np.uint8(hides)

    def read_twice(series: PipelineSeries) -> np.ndarray:
        series.read(0)
        return series.read(0)

    for given, told in ((marks, 1), (marks & np.uint8(others), 0)):
        image = lab.image(lab.wave(grid, 0.0), grid)
        array = numpy_to_vtk(given, deep=True)
        array.SetName("vtkGhostType")
        data = image.GetCellData() if association == "cell" else image.GetPointData()
        data.AddArray(array)
        # No array is chosen: the marks are none that one could mean.
        probe = lab.connect(Probe(read_twice), lab.source([image], times=None), "")
        messages = lab.messages(probe)
        probe.Update()
        np.testing.assert_array_equal(probe.result, lab.wave(grid, 0.0))
        assert len(messages) == told
        assert all(f"2 {association}s are blanked (vtkGhostType); their" in m for m in messages)


@pytest.mark.parametrize(
    ("times", "message"),
    [((0.0, 1.0, 1.0, 2.0), "step 2 .* 1.0 after 1.0"), ((0.0, 2.0, 1.0, 3.0), "1.0 after 2.0"),
     ((0.0, math.nan, 1.0, 2.0), "nan after 0.0")],
)  # fmt: skip
def test_times_that_do_not_increase_are_refused(lab: Any, times: Any, message: str) -> None:
    with pytest.raises(SeriesError, match=rf"{message}; times must be finite and increase"):
        run(lab, lab.source(times=times), read_all)


def test_times_that_no_float32_tells_apart_are_steps(lab: Any) -> None:
    times = tuple(1 + n * 1e-12 for n in range(4))
    assert all(np.float32(times[0]) == np.float32(t) for t in times)
    values = run(lab, lab.source(times=times), lambda series: [series.read(s) for s in range(4)])
    for time, found in zip(lab.times, values, strict=True):
        np.testing.assert_array_equal(found, lab.wave(lab.grid, time))
