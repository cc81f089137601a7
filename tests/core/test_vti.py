"""Image files through VTK: round trips, series, and what is wrong with them."""

from __future__ import annotations

import gc
import itertools
import resource
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core import vti
from metainr_core.errors import MetaINRError, SeriesError
from metainr_core.grid import Grid
from metainr_core.series import ArraySeries, open_series
from metainr_core.vti_data import read_values
from metainr_core.vtk_modules import quieten
from tests.core import vtk_files

pytest.importorskip("vtkmodules.vtkIOXML")

Maker = Callable[..., ArraySeries]

TURNED = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
GRID = Grid((5, 4, 3), (0.5, 0.25, 2.0), (1.0, -2.0, 3.0), TURNED, (3, 0, -2))


def values_on(grid: Grid, components: int = 1, kind: str = "f4") -> np.ndarray:
    size = grid.voxels * components
    return np.arange(size).astype(kind).reshape(*grid.shape, components)


def write(path: Path, grid: Grid = GRID, array: str = "speed", **settings: Any) -> np.ndarray:
    values = values_on(grid, **settings)
    vti.write_image(vti.make_image(values, grid, array), path)
    return values


def write_series(
    folder: Path, numbers: Sequence[int] = (0, 1, 2), times: Sequence[float] | None = None
) -> Path:
    names = [f"step_{n}.vti" for n in numbers]
    for name, number in zip(names, numbers, strict=True):
        values = np.full((*GRID.shape, 1), number, np.float32)
        vti.write_image(vti.make_image(values, GRID, "speed"), folder / name)
    vti.write_pvd(folder / "run.pvd", names, times or [float(n) for n in numbers])
    return folder / "run.pvd"


@pytest.mark.parametrize("association", ["point", "cell"])
@pytest.mark.parametrize("components", [1, 2, 3, 4, 6, 9])
@pytest.mark.parametrize("kind", ["f4", "f8", "i4", "u1"])
def test_images_survive(tmp_path: Path, association: str, components: int, kind: str) -> None:
    grid = Grid(GRID.dims, GRID.spacing, GRID.origin, TURNED, GRID.start, association)
    path = tmp_path / "a.vti"
    values = write(path, grid, components=components, kind=kind)
    image = vtk_files.read_image(path)
    assert vti.image_grid(image, association) == grid
    assert vti.image_arrays(image) == [(association, "speed")]
    found = vti.image_values(image, "speed", association)
    assert found.dtype == kind
    assert found.shape == (3, 4, 5, components)
    assert (found == values).all()


def test_values_lie_where_vtk_thinks(tmp_path: Path) -> None:
    values = write(tmp_path / "a.vti")
    image = vtk_files.read_image(tmp_path / "a.vti")
    array = image.GetPointData().GetArray("speed")
    for i, j, k in itertools.product(range(5), range(4), range(3)):
        point = image.ComputePointId([i + 3, j, k - 2])
        assert array.GetTuple1(point) == values[k, j, i, 0]
        expected = np.array(GRID.origin) + np.reshape(TURNED, (3, 3)) @ (
            np.array([i + 3, j, k - 2]) * GRID.spacing
        )
        assert image.GetPoint(point) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["speed", "|U| (m/s)", "vitesse é", "ω"])
def test_any_name_survives(tmp_path: Path, name: str) -> None:
    write(tmp_path / "ω.vti", array=name)
    assert vti.image_arrays(vtk_files.read_image(tmp_path / "ω.vti")) == [("point", name)]
    assert open_series(tmp_path / "ω.vti").array == name


@pytest.mark.parametrize("dims", [(5, 4, 1), (1, 4, 3), (1, 1, 1)])
@pytest.mark.parametrize("association", ["point", "cell"])
def test_slabs_survive(tmp_path: Path, dims: tuple[int, int, int], association: str) -> None:
    grid = Grid(dims, association=association)
    values = write(tmp_path / "a.vti", grid)
    series = open_series(tmp_path / "a.vti")
    assert series.grid == grid
    assert (series.read(0) == values).all()


def test_an_image_keeps_its_values() -> None:
    values = values_on(GRID)
    image = vti.make_image(values * 1, GRID, "speed")
    gc.collect()
    assert (vti.image_values(image, "speed", "point") == values).all()
    assert image.GetPointData().GetScalars().GetName() == "speed"


def test_values_go_with_their_image() -> None:
    """Else a whole volume stays in memory while the next one is computed."""
    values = values_on(GRID).copy()
    alive = weakref.ref(values)
    image = vti.make_image(values, GRID, "speed")
    del values
    assert alive() is not None
    del image
    assert alive() is None


def test_vectors_are_vectors_to_vtk() -> None:
    image = vti.make_image(values_on(GRID, 3), GRID, "velocity")
    assert image.GetPointData().GetVectors().GetName() == "velocity"


def test_files_are_inline_binary(tmp_path: Path) -> None:
    write(tmp_path / "a.vti")
    text = (tmp_path / "a.vti").read_text()
    assert 'format="binary"' in text
    assert "AppendedData" not in text


def test_a_pvd_is_ordered_by_time(tmp_path: Path) -> None:
    path = write_series(tmp_path, (2, 0, 1), [0.9, -1.5, 0.25])
    series = open_series(path)
    assert series.times == (-1.5, 0.25, 0.9)
    assert [series.read(s).max() for s in range(3)] == [0, 1, 2]
    assert (series.grid, series.array) == (GRID, "speed")


def test_a_glob_is_in_natural_order(tmp_path: Path) -> None:
    write_series(tmp_path, (10, 9, 1))
    series = open_series(str(tmp_path / "step_*.vti"))
    assert [series.read(s).max() for s in range(3)] == [1, 9, 10]
    assert series.times == (0.0, 1.0, 2.0)
    (tmp_path / "step_x.txt").touch()
    with pytest.raises(SeriesError, match=r"step_x\.txt is no \.vti file"):
        open_series(str(tmp_path / "step_*"))


def test_a_file_missing_in_the_middle_is_named(tmp_path: Path) -> None:
    path = write_series(tmp_path)
    (tmp_path / "step_1.vti").unlink()
    with pytest.raises(SeriesError, match=r"step 1 of .*step_1\.vti does not exist; restore"):
        open_series(path)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid((5, 4, 4), GRID.spacing, GRID.origin, TURNED, GRID.start), r"dims \(5, 4, 4\)"),
        (Grid(GRID.dims, (0.5, 0.25, 1.0), GRID.origin, TURNED, GRID.start), "spacing"),
        (Grid(GRID.dims, GRID.spacing, (1.0, -2.0, 3.5), TURNED, GRID.start), "origin"),
        (Grid(GRID.dims, GRID.spacing, GRID.origin, TURNED, (0, 0, 0)), "start"),
        (Grid(GRID.dims, GRID.spacing, GRID.origin, start=GRID.start), "direction"),
    ],
)
def test_another_grid_in_one_step_is_named(tmp_path: Path, grid: Grid, message: str) -> None:
    path = write_series(tmp_path)
    write(tmp_path / "step_2.vti", grid)
    series = open_series(path)
    series.read(1)
    with pytest.raises(SeriesError, match=rf"step 2 of .*run\.pvd: its grid has {message}.*one"):
        series.read(2)


def test_other_components_in_one_step_are_named(tmp_path: Path) -> None:
    path = write_series(tmp_path)
    write(tmp_path / "step_1.vti", components=3)
    with pytest.raises(SeriesError, match=r"step 1 .*\(3, 4, 5, 3\).*\(3, 4, 5, 1\)"):
        open_series(path).read(1)


def test_a_missing_array_lists_those_that_are_there(tmp_path: Path) -> None:
    path = write_series(tmp_path)
    with pytest.raises(SeriesError, match=r'no array "heat"; its arrays: speed \(point\)'):
        open_series(path, "heat")
    write(tmp_path / "step_1.vti", array="velocity")
    series = open_series(path, "speed")
    with pytest.raises(SeriesError, match=r'step 1 .*"speed"; its arrays: velocity \(point\)'):
        series.read(1)


def test_several_arrays_need_a_name(tmp_path: Path) -> None:
    image = vti.make_image(values_on(GRID), GRID, "speed")
    cells = Grid((4, 3, 2), association="cell")
    other = vti.make_image(values_on(cells), cells, "heat")
    image.GetCellData().AddArray(other.GetCellData().GetArray("heat"))
    vti.write_image(image, tmp_path / "a.vti")
    with pytest.raises(SeriesError, match=r"several arrays: speed \(point\), heat \(cell\)"):
        open_series(tmp_path / "a.vti")
    assert open_series(tmp_path / "a.vti", "heat").grid.association == "cell"
    assert open_series(tmp_path / "a.vti", "heat").grid.dims == (4, 3, 2)


def test_only_the_array_that_is_asked_for_is_read(tmp_path: Path) -> None:
    image = vti.make_image(values_on(GRID), GRID, "speed")
    for name, data in (("heat", image.GetPointData()), ("speed", image.GetCellData())):
        grid = GRID if name == "heat" else Grid((4, 3, 2), association="cell")
        other = vti.make_image(values_on(grid), grid, name)
        found = other.GetPointData().GetArray(name) or other.GetCellData().GetArray(name)
        data.AddArray(found)
    path = tmp_path / "a.vti"
    vti.write_image(image, path)
    # Damage to an array that nobody asks for is none.
    text = path.read_text()
    start = text.index(">", text.index('Name="heat"')) + 1
    path.write_text(text[:start] + "?" + text[start:])
    assert (open_series(path, "speed").read(0) == values_on(GRID)).all()
    with pytest.raises(SeriesError, match=r'a\.vti cannot be read: array "heat": '):
        open_series(path, "heat").read(0)
    with pytest.raises(
        SeriesError, match=r"no array .wind.; .*: speed \(point\), heat \(point\), sp"
    ):
        open_series(path, "wind")


def test_non_finite_values_are_located(tmp_path: Path) -> None:
    path = write_series(tmp_path)
    values = values_on(GRID)
    values[2, 1, 4] = np.inf
    vti.write_image(vti.make_image(values, GRID, "speed"), tmp_path / "step_1.vti")
    with pytest.raises(SeriesError, match=r"step 1 of .*1 non-finite.*\(4, 1, 2\).*--ignore-nonf"):
        open_series(path).read(1)
    assert np.isfinite(open_series(path, ignore_nonfinite=True).read(1)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no .pvd file"),
        ("<VTKFile", "is no .pvd file"),
        ("<VTKFile/>", "names no file"),
        ("<VTKFile><Collection/></VTKFile>", "names no file"),
        ("<VTKFile><DataSet timestep='0'/></VTKFile>", "is no .pvd file"),
        ("<VTKFile><DataSet timestep='soon' file='a.vti'/></VTKFile>", "is no .pvd file"),
        (
            "<a><DataSet part='0' file='a.vti'/><DataSet part='1' file='b.vti'/></a>",
            "several parts",
        ),
        ("<?xml version='1.0' encoding='klingon'?><a/>", "is no .pvd file"),
        ("<a><DataSet timestep='nan' file='step_0.vti'/></a>", "its time is nan"),
        (
            "<a><DataSet timestep='1' file='step_0.vti'/><DataSet timestep='1' file='step_1.vti'/>"
            "</a>",
            "step 1 .* 1.0 after 1.0; times must be finite and increase",
        ),
    ],
)
def test_a_wrong_pvd_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write_series(tmp_path)
    path.write_text(text)
    with pytest.raises(SeriesError, match=message) as error:
        open_series(path)
    assert "\n" not in str(error.value)
    assert "run.pvd" in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "<VTKFile", "no XML", "<VTKFile type='ImageData'><ImageData/></VTKFile>", "<a/>"]
)
def test_a_damaged_image_is_refused(tmp_path: Path, text: str) -> None:
    quieten()
    path = tmp_path / "a.vti"
    path.write_text(text)
    with pytest.raises(SeriesError) as error:
        open_series(path)
    assert "a.vti" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("compressor", [0, 1, 2, 3])
@pytest.mark.parametrize(("word", "order", "encode"), [(32, 0, 0), (64, 1, 1)])
@pytest.mark.parametrize("kind", ["f4", "i8"])
@pytest.mark.parametrize("association", ["point", "cell"])
def test_whatever_vtk_writes_is_read(
    tmp_path: Path, mode: int, compressor: int, word: int, order: int, encode: int,
    kind: str, association: str,
) -> None:  # fmt: skip
    """Also appended data, which VTK itself cannot read where its parser (expat) is newer."""
    grid = Grid(GRID.dims, GRID.spacing, GRID.origin, TURNED, GRID.start, association)
    values = values_on(grid, 3, kind)
    image = vti.make_image(values, grid, "a > b")
    path = tmp_path / "a.vti"
    settings = {"DataMode": mode, "CompressorType": compressor, "HeaderType": word}
    vtk_files.write_image(
        image, path, **settings, ByteOrder=order, EncodeAppendedData=encode, BlockSize=240,
        NumberOfPieces=1 + encode,
    )  # fmt: skip
    with vti.open_image(path) as (file, header):
        assert header.grid(association) == grid
        found = read_values(file, header, association, "a > b")
    assert (found.dtype, found.flags.writeable) == (kind, True)
    assert (found == values).all()


def test_reading_needs_no_vtk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = write(tmp_path / "a.vti")
    monkeypatch.setattr(vti, "vtk", None)
    assert (open_series(tmp_path / "a.vti").read(0) == values).all()


def test_bits_are_zeros_and_ones(tmp_path: Path) -> None:
    from vtkmodules.vtkCommonCore import vtkBitArray

    image = vti.make_image(values_on(GRID), GRID, "speed")
    bits = vtkBitArray()
    bits.SetName("mask")
    for number in range(GRID.voxels):
        bits.InsertNextValue(number % 3 == 0)
    image.GetPointData().AddArray(bits)
    for mode in (0, 1):
        vtk_files.write_image(image, tmp_path / "a.vti", DataMode=mode)
        found = open_series(tmp_path / "a.vti", "mask").read(0)
        assert (found.ravel() == (np.arange(GRID.voxels) % 3 == 0)).all()


def test_an_unwritable_place_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MetaINRError, match="cannot be written"):
        write(tmp_path / "file" / "a.vti")
    with pytest.raises(MetaINRError, match="cannot be made"):
        vti.write_pvd(tmp_path / "file" / "run.pvd", [], [])


def test_a_mark_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "run.pvd"
    assert vti.read_mark(path) is None
    vti.write_pvd(path, ["a"], [0.0])
    assert vti.read_mark(path) is None
    vti.write_pvd(path, ["a"], [0.0], "<mine>")
    assert vti.read_mark(path) == "<mine>"
    assert vti.read_pvd(path) == ([tmp_path / "a"], [0.0])
    path.write_text("<VTKFile")
    assert vti.read_mark(path) is None


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.vti"
    path.write_text("before")
    quieten()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(MetaINRError, match=r"a\.vti cannot be written: File too large; choose"):
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_times_are_written_exactly(tmp_path: Path) -> None:
    times = [0.1, 1 / 3, 1e-300, 123456789.123]
    vti.write_pvd(tmp_path / "new" / "run.pvd", ["a", "b&", "c", "d"], times)
    files, found = vti.read_pvd(tmp_path / "new" / "run.pvd")
    assert found == sorted(times)
    assert {f.name for f in files} == {"a", "b&", "c", "d"}
