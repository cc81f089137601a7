"""Two inputs of Meta-INR Compare, and what its outputs hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from metainr_paraview.compare import MetaINRCompare
from metainr_paraview.filter import ERROR_ARRAY
from metainr_paraview.tables import field_text
from vtkmodules.util.numpy_support import vtk_to_numpy

from metainr_core.grid import Grid

TABLE, DIFFERENCE, REFERENCE, RECONSTRUCTION = range(4)
FIGURES = ("psnr", "psnr_series", "ssim", "mean_error", "max_error")


def off(lab: Any, time: float, grid: Grid | None = None, components: int = 1) -> np.ndarray:
    """A reconstruction of ``lab.wave``: 0.1 off, and a little more as time goes."""
    grid = grid or lab.grid
    return lab.wave(grid, time, components) + np.float32(0.1 + 0.01 * time)


def make(reference: Any, reconstruction: Any, array: str = "speed", association: int = 0,
         isovalues: tuple[float, ...] = (0.5,), **values: Any) -> MetaINRCompare:  # fmt: skip
    algorithm = MetaINRCompare()
    algorithm.SetInputConnection(0, reference.GetOutputPort())
    algorithm.SetInputConnection(1, reconstruction.GetOutputPort())
    algorithm.SetInputArrayToProcess(0, 0, 0, association, array)
    for name, value in {"Isovalues": isovalues, **values}.items():
        getattr(algorithm, f"Set{name}")(value)
    return algorithm


def row(lab: Any, algorithm: Any, number: int = 0) -> dict[str, Any]:
    table = algorithm.GetOutputDataObject(TABLE)
    names = [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())]
    return {
        name: table.GetColumnByName(name).GetValue(number)
        for name in names
        if table.GetNumberOfRows() > number
    }


def point_array(algorithm: Any, port: int, name: str) -> np.ndarray:
    return vtk_to_numpy(algorithm.GetOutputDataObject(port).GetPointData().GetArray(name))


def positions(algorithm: Any, port: int) -> np.ndarray:
    return vtk_to_numpy(algorithm.GetOutputDataObject(port).GetPoints().GetData())


def static(lab: Any, values: np.ndarray, grid: Grid, name: str = "speed") -> Any:
    return lab.source([lab.image(values, grid, name)], times=None)


def check_error(lab: Any, algorithm: Any, expected: str) -> None:
    """One line, empty outputs, and nothing more when the same is asked for again."""
    messages = lab.messages(algorithm)
    algorithm.Update()
    algorithm.Update(1)
    (message,) = messages
    assert expected in message
    assert message.count("\n") == 1
    assert field_text(algorithm.GetOutputDataObject(TABLE), ERROR_ARRAY) in message
    assert algorithm.GetOutputDataObject(TABLE).GetNumberOfRows() == 0
    for port in (DIFFERENCE, REFERENCE, RECONSTRUCTION):
        assert algorithm.GetOutputDataObject(port).GetNumberOfPoints() == 0
