"""Sources in the pipeline: their arrays, their inputs and users, and which two belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from paraview import servermanager, simple
from vtkmodules.util.numpy_support import vtk_to_numpy

COMPARE, DECODE, ENCODE, READER = (
    f"MetaINR{name}" for name in ("Compare", "Decode", "Encode", "Reader")
)
Array = tuple[str, str]  # association (POINTS or CELLS) and name


class SideBySideError(Exception):
    """One line that says what is missing."""


def all_sources() -> list[Any]:
    return list(simple.GetSources().values())


def kind(source: Any) -> str:
    return source.SMProxy.GetXMLName()


def label(source: Any) -> str:
    return servermanager.ProxyManager().GetProxyName("sources", source)


def inputs(source: Any) -> list[Any]:
    names = ("Reference", "Reconstruction", "Input")
    found = [getattr(source, n) for n in names if source.SMProxy.GetProperty(n)]
    return [f for f in found if hasattr(f, "SMProxy")]  # not a list: of a filter for many inputs


def users(source: Any) -> list[Any]:
    return [s for s in all_sources() if any(i.SMProxy == source.SMProxy for i in inputs(s))]


def arrays_of(source: Any) -> Iterator[Array]:
    data = source.GetDataInformation()
    for association, arrays in (
        ("POINTS", data.GetPointDataInformation()),
        ("CELLS", data.GetCellDataInformation()),
    ):
        for index in range(arrays.GetNumberOfArrays()):
            name = arrays.GetArrayInformation(index).GetName()
            if not name.startswith("vtk"):  # such as vtkGhostType
                yield association, name


def find_array(source: Any, name: str | None = None) -> Array:
    """The array of this name; for None the first."""
    found = list(arrays_of(source))
    for array in found:
        if name is None or array[1] == name:
            return array
    names = ", ".join(n for _, n in found) or "no array"
    raise SideBySideError(f"array {name or ''!r}: {label(source)} has {names}; choose one of these")


def array_range(source: Any, array: Array, all_times: bool = False) -> tuple[float, float]:
    """Lowest and highest value (of vectors: length). Found by the server: no data travels."""
    port = source.SMProxy.GetOutputPort(source.Port)
    data = port.GetTemporalDataInformation() if all_times else port.GetDataInformation()
    at_points = array[0] == "POINTS"
    arrays = data.GetPointDataInformation() if at_points else data.GetCellDataInformation()
    found = arrays.GetArrayInformation(array[1])
    if found is None:  # a surface without vertices
        return 0.0, 0.0
    return found.GetComponentFiniteRange(0 if found.GetNumberOfComponents() == 1 else -1)


def table_columns(source: Any) -> dict[str, np.ndarray]:
    """The columns of a table that hold numbers."""
    table = servermanager.Fetch(source)
    columns = [table.GetColumn(index) for index in range(table.GetNumberOfColumns())]
    return {c.GetName(): vtk_to_numpy(c) for c in columns if c.IsA("vtkDataArray")}


def selected() -> list[Any]:
    model = servermanager.ProxyManager().GetSelectionModel("ActiveSources")
    chosen = [model.GetSelectedProxy(i) for i in range(model.GetNumberOfSelectedProxies())]
    return [servermanager._getPyProxy(proxy) for proxy in chosen]


def select(sources: Sequence[Any]) -> None:
    """Selects these; the last one becomes the active one."""
    model = servermanager.ProxyManager().GetSelectionModel("ActiveSources")
    simple.SetActiveSource(sources[-1] if sources else None)
    for source in sources:
        model.Select(source.SMProxy, model.SELECT)


def pair_in_pipeline() -> tuple[Any, Any]:
    """Original and reconstruction, by the rules that macros/metainr_side_by_side.py lists.

    Raises SideBySideError when they leave none or several.
    """
    chosen = selected()
    if len(chosen) == 2:
        first, second = sorted(
            chosen, key=lambda s: (kind(s) in (DECODE, READER), s.SMProxy.GetGlobalID())
        )
        return first, second
    pair = pair_of(chosen[0]) if chosen else None
    for name in (COMPARE, DECODE, READER):
        candidates = [source for source in all_sources() if kind(source) == name]
        if candidates and pair is None:
            pair = pair_of(candidates[0]) if len(candidates) == 1 else None
            break
    if pair is None:
        raise SideBySideError(
            "which volumes? In the Pipeline Browser select the original and the reconstruction"
            " (with Ctrl), or a Meta-INR Compare or Decode, and run the macro again"
        )
    return pair


def pair_of(source: Any) -> tuple[Any, Any] | None:
    """Original and reconstruction that this source of the plugin tells of."""
    if kind(source) == COMPARE:
        return source.Reference, source.Reconstruction
    if kind(source) == DECODE:
        return source.Input.Input, source
    if kind(source) == ENCODE:
        found = [s for s in users(source) if kind(s) == DECODE]
        return pair_of(found[0]) if len(found) == 1 else None
    if kind(source) == READER:
        found = [
            s for s in all_sources()
            if not kind(s).startswith("MetaINR")
            and s.GetDataInformation().GetDataClassName() == "vtkImageData"
        ]  # fmt: skip
        return (found[0], source) if len(found) == 1 else None
    return None
