"""Arrays with names that XML needs escaped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("vtkmodules")
from metainr_core.errors import ArchiveError
from metainr_core.grid import Grid
from metainr_core.series import open_series
from metainr_core.vti import make_image, write_image
from metainr_core.vtk_modules import vtk


@pytest.mark.parametrize("association", ["point", "cell"])
@pytest.mark.parametrize(
    "name", ['a "b"', "a'b", "a&b", "<a>", "&amp;", "a\nb\tc\r", "ζ 日本", " a ", "%s", "\\"]
)
def test_any_name_is_read_again(tmp_path: Path, name: str, association: str) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4, 1)
    image = make_image(values, Grid((4, 3, 2), association=association), name)
    write_image(image, tmp_path / "a.vti")
    data = image.GetPointData() if association == "point" else image.GetCellData()
    assert data.GetArrayName(0) == name, "the image itself stays as it was"
    series = open_series(tmp_path / "a.vti")
    assert series.array == name
    np.testing.assert_array_equal(series.read(0), values)
    reader = vtk("vtkIOXML").vtkXMLImageDataReader()
    reader.SetFileName(str(tmp_path / "a.vti"))
    reader.Update()
    found = reader.GetOutput()
    data = found.GetPointData() if association == "point" else found.GetCellData()
    assert data.GetArrayName(0) == name


def test_a_name_that_xml_cannot_hold_is_refused(tmp_path: Path) -> None:
    image = make_image(np.zeros((1, 1, 1, 1), np.float32), Grid((1, 1, 1)), "a\x01b")
    with pytest.raises(ArchiveError, match=r"cannot hold an array called 'a\\x01b'; rename it"):
        write_image(image, tmp_path / "a.vti")
    assert list(tmp_path.iterdir()) == []
