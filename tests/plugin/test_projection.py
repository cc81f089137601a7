"""Meta-INR Projection: its table and its path, ensembles, and errors."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
pytest.importorskip("sklearn")
from metainr_paraview.decode import MetaINRDecode
from metainr_paraview.filter import ERROR_ARRAY
from metainr_paraview.projection import CORNERS, DISC, RING, MetaINRProjection
from metainr_paraview.reader import MetaINRReader
from metainr_paraview.tables import field_text
from vtkmodules.util.numpy_support import vtk_to_numpy

from metainr_core import gram
from metainr_core.archive import Archive
from metainr_core.projection import project
from metainr_core.selection import select_steps

MEMBERS = [
    {"name": "slow", "first": 0, "count": 1, "parameters": {"Re": 160, "inlet": "jet"}},
    {"name": "fast", "first": 1, "count": 3, "parameters": {"Re": 320.5}},
]


def connected(source: Any) -> Any:
    algorithm = MetaINRProjection()
    algorithm.SetInputConnection(source.GetOutputPort())
    return algorithm


@pytest.fixture
def projection(encoded: Any) -> Any:
    return connected(encoded)


@pytest.fixture
def archive(encoded: Any) -> Archive:
    return Archive.open(encoded.GetArchiveFile())


@pytest.fixture
def ensemble(archive: Archive) -> Any:
    """A reader of the same archive with members."""
    archive.info["members"] = MEMBERS
    archive.write_index()
    reader = MetaINRReader()
    reader.SetFileName(str(archive.path))
    return reader


def points_of(path: Any) -> np.ndarray:
    return np.array([path.GetPoint(i) for i in range(path.GetNumberOfPoints())])


def lines_of(path: Any) -> list[list[int]]:
    ids = []
    for number in range(path.GetNumberOfCells()):
        cell = path.GetCell(number)  # the same object for every cell
        ids.append([cell.GetPointId(i) for i in range(cell.GetNumberOfPoints())])
    assert ids[: path.GetNumberOfVerts()] == [[i] for i in range(path.GetNumberOfPoints())]
    return ids[path.GetNumberOfVerts() :]


def outputs(algorithm: Any) -> tuple[Any, Any]:
    algorithm.Update()
    return algorithm.GetOutputDataObject(0), algorithm.GetOutputDataObject(1)


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_the_map_of_a_run(lab: Any, projection: Any, archive: Archive, method: str) -> None:
    lab.set(projection, Method=method, Select=2)
    table, path = outputs(projection)
    found = project(archive, method)
    names = [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())]
    assert names == ["step", "time", "member", "x", "y", "selected"]
    assert lab.column(table, "step") == [0, 1, 2, 3]
    assert lab.column(table, "time") == list(lab.times)
    assert lab.column(table, "member") == [0] * 4
    assert lab.column(table, "x") == found.x.tolist()
    assert lab.column(table, "selected") == [1, 0, 0, 1]
    expected = np.append(found.positions, np.zeros((4, 1)), axis=1)
    np.testing.assert_array_equal(points_of(path), expected)
    assert lines_of(path) == [[0, 1, 2, 3]]
    data = path.GetPointData()
    assert [data.GetArrayName(i) for i in range(data.GetNumberOfArrays())] == names
    assert data.GetScalars().GetName() == "time"


def test_the_picture_has_a_disc_for_each_point_and_rings_around_selected_ones(
    lab: Any, projection: Any
) -> None:
    _, path = outputs(lab.set(projection, Method="pca", Select=2))
    picture = projection.GetOutputDataObject(2)
    centers, places = points_of(path), points_of(picture)
    np.testing.assert_array_equal(places[:4], centers)
    assert picture.GetNumberOfLines() == 1
    assert picture.GetNumberOfPolys() == 4 + 2 * CORNERS
    step, times = (
        vtk_to_numpy(picture.GetPointData().GetArray(name)).tolist() for name in ("step", "time")
    )
    assert step[:4] == [0, 1, 2, 3]
    assert [step[4:].count(k) for k in range(4)] == [3 * CORNERS, CORNERS, CORNERS, 3 * CORNERS]
    side = np.ptp(centers, axis=0).max()
    radii = np.linalg.norm(places - centers[step], axis=1)[4:] / side
    assert {round(radius, 6) for radius in radii} == {DISC, *RING}
    assert picture.GetPointData().GetScalars().GetName() == "time"
    assert times == [lab.times[k] for k in step]


def test_an_ensemble(lab: Any, ensemble: Any, archive: Archive) -> None:
    table, path = outputs(lab.set(connected(ensemble), Method="pca"))
    assert lab.column(table, "member") == [0, 1, 1, 1]
    assert lab.column(table, "member_name") == ["slow", "fast", "fast", "fast"]
    assert lab.column(table, "Re") == [160, 320.5, 320.5, 320.5]
    assert lab.column(table, "inlet") == ["jet", "", "", ""]
    assert lines_of(path) == [[1, 2, 3]]
    assert path.GetPointData().GetAbstractArray("inlet").GetValue(0) == "jet"
    assert path.GetPointData().GetArray("Re").GetValue(3) == 320.5


def test_an_unknown_parameter_is_nan(lab: Any, ensemble: Any, archive: Archive) -> None:
    archive.info["members"] = [MEMBERS[0], {**MEMBERS[1], "parameters": {"angle": 4}}]
    archive.write_index()
    table, _ = outputs(connected(ensemble))
    assert math.isnan(lab.column(table, "angle")[0])
    assert lab.column(table, "angle")[1:] == [4, 4, 4]


def test_of_what_decode_shows(lab: Any, encoded: Any, archive: Archive) -> None:
    decode = MetaINRDecode()
    decode.SetInputConnection(encoded.GetOutputPort())
    table, _ = outputs(connected(decode))
    assert lab.column(table, "x") == project(archive).x.tolist()


def test_it_does_not_depend_on_time(lab: Any, ensemble: Any, monkeypatch: Any) -> None:
    algorithm = connected(ensemble)
    algorithm.UpdateInformation()
    keys = algorithm.GetExecutive()
    for port in (0, 1):
        assert not algorithm.GetOutputInformation(port).Has(keys.TIME_STEPS())
    runs: list[object] = []
    algorithm.AddObserver("StartEvent", lambda *_: runs.append(1))
    algorithm.Update()
    algorithm.UpdateTimeStep(2.5)
    algorithm.UpdateTimeStep(3.0)
    assert len(runs) == 1


def test_the_weights_are_read_once(
    lab: Any, projection: Any, encoded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, _ = outputs(projection)
    before = lab.column(table, "x")
    flat = gram._flat
    monkeypatch.setattr(gram, "_flat", lambda *_: pytest.fail("weights were read"))
    table, _ = outputs(lab.set(projection, Select=3))
    assert lab.column(table, "x") == before
    assert sum(lab.column(table, "selected")) == 3
    monkeypatch.setattr(gram, "_flat", flat)
    encoded.SetEpochs(encoded.GetEpochs() + 1)
    lab.messages(encoded)
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # Encode says that it replaces the steps
        table, _ = outputs(projection)
    assert lab.column(table, "x") != before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"Select": 1}, "Select is 1; expected 2 to 4, all steps"),
        ({"Select": -2}, "Select is -2; expected 2 to 4, all steps"),
        ({"Perplexity": 4.0}, "Perplexity is 4; expected 0 (chosen) or 1 to 3, the neighbours"),
        ({"Method": "umap"}, "Method is 'umap'; one of tsne, pca"),
    ],
)
def test_an_error_is_one_line(lab: Any, projection: Any, values: Any, message: str) -> None:
    table, _ = outputs(projection)
    assert table.GetNumberOfRows() == 4
    messages = lab.messages(projection)
    table, path = outputs(lab.set(projection, **values))
    (line,) = messages
    assert line.startswith(f"ERROR: Meta-INR Projection: {message}")
    assert line.count("\n") == 1
    assert (table.GetNumberOfRows(), path.GetNumberOfPoints()) == (0, 0)
    assert field_text(table, ERROR_ARRAY) in line


def test_without_an_archive(lab: Any, encoded: Any, projection: Any, tmp_path: Path) -> None:
    messages = lab.messages(projection)
    lab.messages(encoded)
    encoded.SetArchiveFile("")
    projection.Update()
    other = connected(lab.source())
    others = lab.messages(other)
    other.Update()
    reader = MetaINRReader()
    reader.SetFileName(str(tmp_path / "no.minr"))
    lab.messages(reader)
    lost = connected(reader)
    losts = lab.messages(lost)
    lost.Update()
    failed = "ERROR: Meta-INR Projection: what is before it failed; its own message says why\n"
    assert messages == losts == [failed]
    assert others == [
        "ERROR: Meta-INR Projection: the input names no archive; connect Meta-INR Encode, Decode"
        " or Reader\n"
    ]


def test_selected_steps_are_those_of_the_core(lab: Any, projection: Any, archive: Archive) -> None:
    table, _ = outputs(lab.set(projection, Select=3, Method="pca"))
    chosen = [s for s, on in enumerate(lab.column(table, "selected")) if on]
    assert chosen == select_steps(project(archive, "pca"), 3)


@pytest.mark.skipif(not shutil.which("pvpython"), reason="ParaView is not installed")
def test_the_proxy(lab: Any, prior_file: Path, tmp_path: Path) -> None:
    series, path = lab.write(tmp_path / "series", lab.waves()), tmp_path / "run.minr"
    settings = json.dumps(lab.quick_encode)
    run = lab.drive("drive_projection.py", series, prior_file, path, settings)
    found = project(Archive.open(path), "pca")
    assert run["runs"] == 1
    assert run["table"]["time"] == list(lab.times)
    assert run["table"]["x"] == found.x.tolist()
    chosen = select_steps(found, 3)
    assert run["table"]["selected"] == [float(step in chosen) for step in range(4)]
    assert run["path"] == [[x, y, 0.0] for x, y in found.positions]
    assert run["lines"] == 1
    assert run["time_range"] == [0.5, 3.0]
    assert run["same"]
    assert (run["columns_after_error"], run["points_after_error"]) == (0, 0)
    assert run["after_cure"]
    assert run["columns_after_encode_failed"] == 0
    lines = [line for line in run["output"].splitlines() if "Meta-INR Projection:" in line]
    assert len(lines) == 2
    assert "Perplexity is 9; expected 0 (chosen) or 1 to 3" in lines[0]
    assert lines[1].endswith("what is before it failed; its own message says why")
    assert "Traceback" not in run["output"]
    assert "ERR|" not in run["output"]
