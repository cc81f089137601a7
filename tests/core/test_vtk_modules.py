"""VTK, and what is said where it is missing."""

from __future__ import annotations

import pytest

from metainr_core import vtk_modules
from metainr_core.errors import MetaINRError


def test_without_vtk_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(vtk_modules, "import_module", missing)
    with pytest.raises(MetaINRError, match=r"needs VTK.*pip install vtk") as error:
        vtk_modules.vtk("vtkIOXML")
    assert "\n" not in str(error.value)
    vtk_modules.quieten()


def test_what_the_host_has() -> None:
    pytest.importorskip("vtkmodules")
    assert vtk_modules.vtk("vtkCommonCore").vtkLogger
