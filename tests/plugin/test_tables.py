"""Tables and field data."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("vtkmodules")
from metainr_paraview.tables import add_field_text, add_field_value, field_text, fill_table
from vtkmodules.vtkCommonDataModel import vtkTable


def test_field_data() -> None:
    table = vtkTable()
    assert field_text(table, "name") == ""
    assert field_text(None, "name") == ""
    add_field_value(table, "name", 1.5)
    assert field_text(table, "name") == "", "a number is no text"
    add_field_text(table, "text", "words")
    assert field_text(table, "text") == "words"


def test_tables_have_typed_columns(lab: Any) -> None:
    class Row:
        count, share = 3, 0.5

    table = vtkTable()
    fill_table(table, {"count": int, "share": float}, [Row(), {"count": 4, "share": 1.5}])
    assert lab.column(table, "count") == [3, 4]
    assert lab.column(table, "share") == [0.5, 1.5]
    empty = vtkTable()
    fill_table(empty, {"count": int}, [])
    assert empty.GetNumberOfColumns() == 1
