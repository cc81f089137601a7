"""VTK's own reading and writing of ``.vti`` files, which this package's has to agree with."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def read_image(path: Path) -> Any:
    """The ``vtkImageData`` of a file that VTK has to be able to read."""
    from vtkmodules.vtkIOXML import vtkXMLImageDataReader

    reader = vtkXMLImageDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    assert not reader.GetErrorCode()
    return reader.GetOutput()


def write_image(image: Any, path: Path, **settings: Any) -> None:
    """Writes as ``settings`` say: properties of ``vtkXMLImageDataWriter``, without their Set."""
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    writer = vtkXMLImageDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    for name, value in settings.items():
        getattr(writer, f"Set{name}")(value)
    assert writer.Write()
