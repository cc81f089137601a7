"""The tables of Cinema databases."""

from __future__ import annotations

import contextlib
import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metainr_core.cinema import Row, find_table, number, read_table
from metainr_core.errors import SeriesError


def table(folder: Path, text: str | bytes) -> Path:
    path = folder / "data.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_rows_hold_parameters_and_the_first_file(tmp_path: Path) -> None:
    text = "Re,mesh,FILE_vti,FILE_png\n160,fine,a.pvd,a.png\n320, coarse ,b.pvd,\n"
    assert read_table(table(tmp_path, text)) == [
        Row(2, {"Re": "160", "mesh": "fine"}, "a.pvd"),
        Row(3, {"Re": "320", "mesh": "coarse"}, "b.pvd"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a,FILE\r\n1,x.pvd\r\n\r\n",
        "a,FILE\r1,x.pvd\r",
        b"\xef\xbb\xbfa,FILE\n1,x.pvd",
        '"a","FILE"\n\n"1", "x.pvd"\n,\n',
    ],
)
def test_what_programs_write(tmp_path: Path, text: str | bytes) -> None:
    (row,) = read_table(table(tmp_path, text))
    assert (row.parameters, row.file) == ({"a": "1"}, "x.pvd")


def test_quoted_cells_hold_commas_and_line_breaks(tmp_path: Path) -> None:
    text = 'note,FILE\n"a, ""b""\nc","x, y.pvd"\nd,z.pvd\n'
    first, second = read_table(table(tmp_path, text))
    assert (first.parameters["note"], first.file) == ('a, "b"\nc', "x, y.pvd")
    assert second.line == 4


@pytest.mark.parametrize("cell", ["", " ", "NaN", "nan"])
def test_undefined_parameters_are_left_out(tmp_path: Path, cell: str) -> None:
    (row,) = read_table(table(tmp_path, f"a,b,FILE\n1,{cell},x.pvd\n"))
    assert row.parameters == {"a": "1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("Re,file\n1,x\n", "has no column FILE; its columns: Re, file"),
        ("Re,FILE\n", "has no row after its header"),
        ("Re,FILE\n1,x.pvd\n2\n", r"line 3 has 1 cells; the header has 2 columns \(Re, FILE\)"),
        ("Re,FILE\n1,x.pvd,\n", "line 2 has 3 cells"),
        ("Re,FILE\n1,\n", "line 2: its column FILE names no file"),
        ("Re,FILE\n1,https://a.b/x.pvd\n", "FILE is https://a.b/x.pvd; expected a path"),
        ("Re,Re,FILE\n1,2,x\n", "has two columns Re"),
        ("Re,,FILE\n1,2,x\n", "has a column without a name"),
        ('Re,FILE\n1,"x"y\n', "line 2: .* expected CSV"),
        (b"Re,FILE\n1,\xff\n", "is no CSV file"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str | bytes, expected: str) -> None:
    with pytest.raises(SeriesError, match=expected) as error:
        read_table(table(tmp_path, text))
    assert "\n" not in str(error.value)


def test_a_table_is_found_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run.cdb"
    folder.mkdir()
    with pytest.raises(SeriesError, match=r"run\.cdb has no data\.csv"):
        find_table(folder)
    path = table(folder, "FILE\nx.pvd\n")
    assert find_table(folder) == path
    assert find_table(path) == path
    with pytest.raises(SeriesError, match=r"none\.csv cannot be read: No such file"):
        read_table(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("text", "value"),
    [("160", 160.0), ("-1.5e3", -1500.0), ("fine", None), ("inf", None), ("1_0", None), ("", None)],
)
def test_numbers(text: str, value: float | None) -> None:
    assert number(text) == value


_TEXT = st.text(st.characters(codec="utf-8"), min_size=1).map(str.strip)
_CELLS = _TEXT.filter(lambda t: t and t.lower() != "nan")
_FILES = _CELLS.filter(lambda t: "://" not in t)


@given(rows=st.lists(st.tuples(_CELLS, _CELLS, _FILES), min_size=1))
def test_any_texts_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    written = io.StringIO()
    writer = csv.writer(written, quoting=csv.QUOTE_ALL)
    writer.writerow(["a", "b", "FILE"])
    writer.writerows(rows)
    found = read_table(table(tmp_path_factory.mktemp("cinema"), written.getvalue()))
    assert [(r.parameters["a"], r.parameters["b"], r.file) for r in found] == rows


@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = table(tmp_path_factory.mktemp("cinema"), b"a,FILE\n" + data)
    with contextlib.suppress(SeriesError):
        assert all(row.file for row in read_table(path))
