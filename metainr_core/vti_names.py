"""Names of arrays in the XML that VTK writes."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import escape

from .errors import ArchiveError
from .vtk_modules import vtk

_MARKS = {'"': "&quot;", "'": "&apos;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@contextmanager
def names_for_xml(image: Any) -> Iterator[None]:
    """While the block runs, a ``vtkImageData``'s arrays have names that may be written.

    VTK up to 9.1 at least writes a quote in a name as it is, and nobody can read the file.
    Raises ArchiveError where XML has no way to hold a name.
    """
    given = {}
    for data in (image.GetPointData(), image.GetCellData()):
        for index in range(data.GetNumberOfArrays()):
            array = data.GetAbstractArray(index)
            given[array] = array.GetName() or ""
    for name in given.values():
        if _NOT_IN_XML.search(name):
            raise ArchiveError(f"a .vti file cannot hold an array called {name!r}; rename it")
    if _writer_escapes():
        given = {}
    try:
        for array, name in given.items():
            array.SetName(escape(name, _MARKS))
        yield
    finally:
        for array, name in given.items():
            array.SetName(name)


@functools.cache
def _writer_escapes() -> bool:
    image = vtk("vtkCommonDataModel").vtkImageData()
    image.SetDimensions(1, 1, 1)
    image.AllocateScalars(vtk("util.vtkConstants").VTK_UNSIGNED_CHAR, 1)
    image.GetPointData().GetScalars().SetName('"')
    writer = vtk("vtkIOXML").vtkXMLImageDataWriter()
    writer.WriteToOutputStringOn()
    writer.SetInputData(image)
    writer.Write()
    return "&quot;" in writer.GetOutputString()
