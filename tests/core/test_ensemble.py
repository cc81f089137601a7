"""Ensembles: several series as one, and tables that name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core.ensemble import EnsembleSeries, Run, open_ensemble
from metainr_core.errors import SeriesError
from metainr_core.grid import Grid
from metainr_core.members import Member
from metainr_core.series import ArraySeries, Series, open_series

Maker = Callable[..., ArraySeries]


@pytest.fixture
def ensemble(make_series: Maker) -> EnsembleSeries:
    a = make_series(steps=3, name="a.pvd")
    b = make_series(steps=2, phase=1.0, times=[0.5, 9.0], name="b.pvd")
    return EnsembleSeries([Run("Re 1", a, {"Re": 1.0}), Run("Re 2", b, {"Re": 2.0})], "data.csv")


def test_the_members_come_one_after_the_other(ensemble: EnsembleSeries, make_series: Maker) -> None:
    assert ensemble.members == [Member("Re 1", 0, 3, {"Re": 1.0}), Member("Re 2", 3, 2, {"Re": 2})]
    assert ensemble.times == (0.0, 1.0, 2.0, 0.5, 9.0)
    assert len(ensemble) == 5
    second = make_series(steps=2, phase=1.0, times=[0.5, 9.0])
    np.testing.assert_array_equal(ensemble.read(4), second.read(1))
    assert ensemble.where(4) == 'member "Re 2", step 1 of b.pvd'
    # A step is known again wherever it is.
    assert [s.digest for s in ensemble.scan()][3:] == [s.digest for s in second.scan()]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"array": "pressure"}, "its array is 'pressure', the first member's 'values'"),
        ({"components": 2}, "its components is 2, the first member's 1"),
        ({"dims": (12, 10, 9)}, r"its grid has dims \(12, 10, 9\)"),
        ({"grid": Grid((12, 10, 8), spacing=(2, 1, 1))}, "its grid has spacing"),
        ({"grid": Grid((12, 10, 8), association="cell")}, "has cell values, the first .* point"),
    ],
)
def test_members_that_do_not_fit(make_series: Maker, other: dict[str, Any], expected: str) -> None:
    runs = [Run("a", make_series()), Run("b", make_series(**other))]
    with pytest.raises(SeriesError, match=f'member "b" of x.csv: .*{expected}') as error:
        EnsembleSeries(runs, "x.csv")
    assert "\n" not in str(error.value)


def test_names_are_needed_and_unique(make_series: Maker) -> None:
    run = Run("a", make_series())
    with pytest.raises(SeriesError, match='the ensemble has two members "a"'):
        EnsembleSeries([run, run])
    with pytest.raises(SeriesError, match="has no name"):
        EnsembleSeries([Run("", make_series())])
    with pytest.raises(SeriesError, match="has no members"):
        EnsembleSeries([])


def test_a_bad_step_names_its_member(make_series: Maker) -> None:
    values = np.zeros((8, 10, 12), np.float32)
    bad = values.copy()
    bad[0, 0, 0] = np.nan
    runs = [Run("a", make_series(steps=2)), Run("b", ArraySeries([values, bad], name="b.pvd"))]
    with pytest.raises(SeriesError, match=r'member "b", step 1 of b\.pvd: array .* non-finite'):
        EnsembleSeries(runs).read(3)
    runs[1] = Run("b", ArraySeries([values, bad], ignore_nonfinite=True))
    assert (EnsembleSeries(runs).read(3) == 0).all()


# Tables


@pytest.fixture
def write(tmp_path: Path, make_series: Maker) -> Callable[..., list[str]]:
    """``write(name, …)``: a series as ``name.pvd`` and the files of its steps' names."""
    pytest.importorskip("vtkmodules.vtkIOXML")
    from metainr_core.vti import make_image, write_image, write_pvd

    def write(name: str, **keywords: Any) -> list[str]:
        series = make_series(**keywords)
        files = [f"{name}_{step}.vti" for step in range(len(series))]
        for step, file in enumerate(files):
            image = make_image(series.read(step), series.grid, series.array)
            write_image(image, tmp_path / file)
        write_pvd(tmp_path / f"{name}.pvd", files, series.times)
        return files

    return write


def table(folder: Path, *lines: str) -> Path:
    path = folder / "data.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def names(series: Series) -> list[str]:
    return [member.name for member in series.members]


def test_a_table_of_series(tmp_path: Path, write: Any, make_series: Maker) -> None:
    write("a", steps=3, times=[1, 2, 3])
    write("b", steps=2, phase=1.0)
    # What a folder and a glob are.
    raw = tmp_path / "raw"
    (raw / "values").mkdir(parents=True)
    (raw / "dataset.json").write_text(
        '{"name": "n", "dims": [12, 10, 8], "vars": ["values"], "total_samples": 1}'
    )
    make_series().read(3).astype("<f4").tofile(raw / "values" / "n-values-1.raw")
    path = table(
        tmp_path,
        "Re,mesh,FILE",
        "160,fine,a.pvd",
        f"320,,{tmp_path / 'b.pvd'}",
        "320,fine,b_*.vti",
        "1e3,fine,raw",
        "2000,fine,a_1.vti",
    )
    found = open_series(path)
    assert isinstance(found, EnsembleSeries)
    assert found.members == [
        Member("Re 160, mesh fine", 0, 3, {"Re": 160.0, "mesh": "fine"}),
        Member("Re 320", 3, 2, {"Re": 320.0}),
        Member("Re 320, mesh fine", 5, 2, {"Re": 320.0, "mesh": "fine"}),
        Member("Re 1e3, mesh fine", 7, 1, {"Re": 1000.0, "mesh": "fine"}),
        Member("Re 2000, mesh fine", 8, 1, {"Re": 2000.0, "mesh": "fine"}),
    ]
    assert found.times == (1, 2, 3, 0, 1, 0, 1, 0, 0)
    for step, (phase, own) in {1: (0, 1), 4: (1, 1), 6: (1, 1), 7: (0, 3), 8: (0, 1)}.items():
        expected = make_series(phase=phase).read(own)
        np.testing.assert_array_equal(found.read(step), expected)
    assert found.where(7).startswith('member "Re 1e3, mesh fine", step 0 of')


@pytest.mark.parametrize("column", ["time", "Time", "TIMESTEP"])
def test_rows_of_one_image_each_are_steps(
    tmp_path: Path, write: Any, make_series: Maker, column: str
) -> None:
    write("a", steps=3)
    write("b", steps=2, phase=1.0)
    path = table(
        tmp_path,
        f"Re,{column},FILE",
        *("160,0.5,a_1.vti", "320,7,b_0.vti", "160,0.25,a_0.vti", "160,4,a_2.vti"),
        "320,8,b_1.vti",
    )
    found = open_ensemble(path)
    assert found.members == [
        Member("Re 160", 0, 3, {"Re": 160.0}),
        Member("Re 320", 3, 2, {"Re": 320.0}),
    ]
    assert found.times == (0.25, 0.5, 4, 7, 8)
    np.testing.assert_array_equal(found.read(1), make_series().read(1))
    np.testing.assert_array_equal(found.read(4), make_series(phase=1.0).read(1))


def test_time_goes_before_timestep(tmp_path: Path, write: Any) -> None:
    write("a", steps=2)
    lines = ("timestep,time,name,FILE", "100,0.1,a,a_0.vti", "200,0.2,a,a_1.vti")
    found = open_ensemble(table(tmp_path, *lines))
    assert found.members == [Member("a", 0, 2)]
    assert found.times == (0.1, 0.2)


def test_a_time_beside_a_series_is_a_parameter(tmp_path: Path, write: Any) -> None:
    write("a", steps=2)
    found = open_ensemble(table(tmp_path, "time,FILE", "5,a.pvd", "6,a_*.vti"))
    assert [m.parameters for m in found.members] == [{"time": 5.0}, {"time": 6.0}]


def test_names_and_files_as_names(tmp_path: Path, write: Any) -> None:
    write("a", steps=1)
    found = open_ensemble(table(tmp_path, "Name,Re,FILE", "first,1,a.pvd", "second,1,a.pvd"))
    assert [(m.name, m.parameters) for m in found.members] == [
        ("first", {"Re": 1.0}),
        ("second", {"Re": 1.0}),
    ]
    assert names(open_ensemble(table(tmp_path, "FILE", "a.pvd", "a_0.vti"))) == ["a.pvd", "a_0.vti"]


def test_a_cinema_folder_of_any_name(tmp_path: Path, write: Any) -> None:
    write("a", steps=2)
    folder = tmp_path / "runs [1]*.cdb"
    folder.mkdir()
    for file in [*tmp_path.glob("a_*.vti"), tmp_path / "a.pvd"]:
        file.rename(folder / file.name)
    table(folder, "Re,FILE", "1,a.pvd", "2,a_*.vti", "3,a_0.vti")
    assert names(open_series(folder)) == ["Re 1", "Re 2", "Re 3"]
    assert len(open_series(folder)) == 5


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["1,none.pvd"], r'line 2, member "Re 1": .*none\.pvd cannot be read'),
        (["1,a.pvd", "2,none_*.vti"], r'line 3, member "Re 2": .*none_\*\.vti matches no file'),
        (["1,none"], r'line 2, member "Re 1": .*none does not exist'),
        (["1,a.pvd", "1,b.pvd"], 'lines 2 and 3 are both of a member "Re 1"'),
        (["1,a.pvd", "2,data.csv"], "data.csv is an ensemble; expected the series of one run"),
        (["1,a.pvd", "2,c.pvd"], r'member "Re 2" of .*: its grid has dims \(7, 10, 8\)'),
        (["1,a.pvd", "2,d.pvd"], "member \"Re 2\" of .*: its array is 'pressure'"),
    ],
)
def test_bad_tables(tmp_path: Path, write: Any, lines: Sequence[str], expected: str) -> None:
    write("a", steps=2)
    write("b", steps=1)
    write("c", steps=1, dims=(7, 10, 8))
    write("d", steps=1, array="pressure")
    with pytest.raises(SeriesError, match=expected) as error:
        open_ensemble(table(tmp_path, "Re,FILE", *lines))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["1,soon,a_0.vti"], "line 2: time is 'soon'; expected a number"),
        (["1,1,a_0.vti", "1,1.0,a_1.vti"], 'line 2, member "Re 1": step 1 of .* 1.0 after 1.0'),
        (["1,1,a_0.vti", "1,2,none.vti"], r'member "Re 1": step 1 of .*none\.vti does not exist'),
        (["1,1,a_0.vti", "1,,a_1.vti"], 'lines 2 and 3 are both of a member "Re 1"'),
    ],
)
def test_bad_times(tmp_path: Path, write: Any, lines: Sequence[str], expected: str) -> None:
    write("a", steps=2)
    with pytest.raises(SeriesError, match=expected):
        open_ensemble(table(tmp_path, "Re,time,FILE", *lines))


def test_the_array_is_chosen_in_all(tmp_path: Path, write: Any) -> None:
    write("a", steps=2)
    path = table(tmp_path, "Re,FILE", "1,a.pvd", "2,a.pvd")
    assert open_series(path, "values").array == "values"
    with pytest.raises(SeriesError, match=r'line 2, member "Re 1": .* has no array "speed"'):
        open_series(path, "speed")
