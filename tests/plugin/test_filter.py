"""One line per error, no stale output, progress, abort."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from metainr_core.errors import MetaINRWarning, SeriesError

pytest.importorskip("vtkmodules")
from metainr_paraview.filter import ERROR_ARRAY, MetaINRFilter, TableFilter, stamp
from metainr_paraview.tables import field_text, fill_table
from vtkmodules.vtkCommonCore import vtkOutputWindow, vtkPoints


class Failing(TableFilter):
    """Fills its table, then raises what it was told to."""

    label = "Failing"

    def __init__(self, error: BaseException | None = None):
        super().__init__()
        self.error = error
        self.done: list[float] = []

    def run(self, inInfo: Any, output: Any, progress: Any) -> None:
        fill_table(output, {"row": int}, [{"row": 1}])
        for step in range(5):
            self.done.append(step)
            progress(step / 4, "working")
        if self.error:
            raise self.error


def test_a_warning_of_ours_is_shown_and_the_work_goes_on(lab: Any) -> None:
    class Warned(Failing):
        def run(self, inInfo: Any, output: Any, progress: Any) -> None:
            warnings.warn("somebody else's", UserWarning, stacklevel=1)
            warnings.warn("memory is short", MetaINRWarning, stacklevel=1)
            super().run(inInfo, output, progress)

    algorithm = lab.connect(Warned(), lab.source())
    seen = lab.messages(algorithm)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        algorithm.Update()
    assert seen == ["WARNING: Failing: memory is short\n"]
    assert algorithm.GetOutputDataObject(0).GetNumberOfRows() == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SeriesError("batch_size is 0"), "ERROR: Failing: BatchSize is 0\n"),
        (MemoryError("too big"), "ERROR: Failing: not enough memory: too big"),
        (RuntimeError("can't allocate memory: 9 bytes\nat 3"), "allocate memory: 9 bytes; use"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "cannot import torch"),
    ],
)
def test_an_error_is_one_line_and_leaves_no_rows(
    lab: Any, error: BaseException, expected: str
) -> None:
    algorithm = lab.connect(Failing(), lab.source())
    algorithm.Update()
    assert algorithm.GetOutputDataObject(0).GetNumberOfRows() == 1
    algorithm.error = error
    algorithm.Modified()
    messages = lab.messages(algorithm)
    algorithm.Update()
    (message,) = messages
    assert expected in message
    assert message.count("\n") == 1
    table = algorithm.GetOutputDataObject(0)
    assert table.GetNumberOfRows() == 0
    assert table.GetNumberOfColumns() == 0
    assert field_text(table, ERROR_ARRAY) in message
    algorithm.error = None
    algorithm.Modified()
    algorithm.Update()
    assert field_text(algorithm.GetOutputDataObject(0), ERROR_ARRAY) == ""


class TwoOutputs(Failing):
    """A table and a point, which fails after both are filled."""

    output_types = ("vtkTable", "vtkPolyData")

    def run(self, inInfo: Any, output: Any, progress: Any) -> None:
        path = self.GetOutputDataObject(1)
        assert path.GetNumberOfPoints() == 0
        points = vtkPoints()
        points.InsertNextPoint(1, 2, 3)
        path.SetPoints(points)
        super().run(inInfo, output, progress)


def test_an_error_empties_every_output(lab: Any) -> None:
    algorithm = lab.connect(TwoOutputs(), lab.source())
    algorithm.Update()
    table, path = (algorithm.GetOutputDataObject(port) for port in (0, 1))
    assert (table.GetNumberOfRows(), path.GetNumberOfPoints()) == (1, 1)
    for port in (0, 1):
        assert not algorithm.GetOutputInformation(port).Has(algorithm.GetExecutive().TIME_STEPS())
    algorithm.error = SeriesError("no")
    algorithm.Modified()
    messages = lab.messages(algorithm)
    algorithm.Update(1)
    assert messages == ["ERROR: Failing: no\n"]
    table, path = (algorithm.GetOutputDataObject(port) for port in (0, 1))
    assert (table.GetNumberOfRows(), path.GetNumberOfPoints()) == (0, 0)
    assert field_text(table, ERROR_ARRAY) == "no"
    assert field_text(path, ERROR_ARRAY) == ""


def test_errors_reach_the_output_window(lab: Any) -> None:
    algorithm = lab.connect(Failing(SeriesError("no")), lab.source())
    messages = lab.messages(vtkOutputWindow.GetInstance())
    algorithm.Update()
    vtkOutputWindow.GetInstance().RemoveAllObservers()
    assert messages == ["ERROR: Failing: no\n"]


def test_an_error_is_told_once_until_something_changes(lab: Any) -> None:
    class Empty(MetaINRFilter):
        """Announces points that it cannot give, so that every update asks for them again."""

        label, output_types = "Empty", ("vtkImageData",)
        runs, fails = 0, True

        def RequestInformation(self, request: Any, inInfo: Any, outInfo: Any) -> int:
            extent = outInfo.GetInformationObject(0)
            extent.Set(self.GetExecutive().WHOLE_EXTENT(), (0, 3, 0, 3, 0, 3), 6)
            return 1

        def run(self, inInfo: Any, output: Any, progress: Any) -> None:
            self.runs += 1
            if self.fails:
                raise SeriesError("nothing there")

    algorithm = Empty(nInputPorts=0)
    messages = lab.messages(algorithm)
    algorithm.Update()
    algorithm.Update()
    assert (algorithm.runs, len(messages)) == (2, 1)
    assert field_text(algorithm.GetOutputDataObject(0), ERROR_ARRAY) == "nothing there"
    algorithm.Modified()
    algorithm.Update()
    assert (algorithm.runs, len(messages)) == (3, 2)
    algorithm.fails = False
    algorithm.Update()
    algorithm.fails = True
    algorithm.Update()
    assert (algorithm.runs, len(messages)) == (5, 3), "it had worked meanwhile"


def test_progress_is_shown_with_its_text(lab: Any) -> None:
    algorithm = lab.connect(Failing(), lab.source())
    seen = []
    algorithm.AddObserver(
        "ProgressEvent", lambda a, _: seen.append((a.GetProgress(), a.GetProgressText()))
    )
    algorithm.Update()
    assert (0.0, "working") in seen
    assert (1.0, "working") in seen


def test_an_abort_stops_and_the_next_run_works(lab: Any) -> None:
    algorithm = lab.connect(Failing(), lab.source())
    observer = algorithm.AddObserver("ProgressEvent", lambda a, _: a.SetAbortExecute(1))
    messages = lab.messages(algorithm)
    algorithm.Update()
    assert "stopped" in messages[0]
    assert algorithm.done == [0]
    algorithm.RemoveObserver(observer)
    # The abort came after the work was done, and is still there.
    algorithm.SetAbortExecute(1)
    algorithm.Modified()
    algorithm.Update()
    assert len(messages) == 1
    assert algorithm.GetOutputDataObject(0).GetNumberOfRows() == 1


def test_stamp_changes_when_a_file_is_replaced(tmp_path: Any) -> None:
    path = tmp_path / "file"
    assert stamp(path) is None
    path.write_text("a")
    before = stamp(path)
    other = tmp_path / "other"
    other.write_text("b")
    other.replace(path)
    assert stamp(path) != before
