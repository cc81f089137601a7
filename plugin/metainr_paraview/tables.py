"""Tables and field data: how results, paths and messages travel through the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vtkmodules.vtkCommonCore import vtkDoubleArray, vtkIdTypeArray, vtkStringArray
from vtkmodules.vtkCommonDataModel import vtkTable

_ARRAYS = {int: vtkIdTypeArray, float: vtkDoubleArray, str: vtkStringArray}


def add_field_value(data: Any, name: str, value: float) -> None:
    array = vtkDoubleArray()
    array.SetName(name)
    array.InsertNextValue(value)
    data.GetFieldData().AddArray(array)


def add_field_text(data: Any, name: str, text: str) -> None:
    array = vtkStringArray()
    array.SetName(name)
    array.InsertNextValue(text)
    data.GetFieldData().AddArray(array)


def field_text(data: Any, name: str) -> str:
    """The text that ``add_field_text`` attached, or an empty one."""
    array = data.GetFieldData().GetAbstractArray(name) if data is not None else None
    if not isinstance(array, vtkStringArray) or not array.GetNumberOfValues():
        return ""
    return array.GetValue(0)


def fill_table(table: vtkTable, columns: Mapping[str, type], rows: Sequence[Any]) -> None:
    """``columns``: names and types (int, float, str); ``rows``: dicts or objects with those."""
    for name, kind in columns.items():
        array = _ARRAYS[kind]()
        array.SetName(name)
        for row in rows:
            value = row[name] if isinstance(row, Mapping) else getattr(row, name)
            array.InsertNextValue(kind(value))
        table.AddColumn(array)
