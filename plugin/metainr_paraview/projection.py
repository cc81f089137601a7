"""Meta-INR Projection: the steps of an archive as a map, by the weights of their networks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData, vtkTable
from vtkmodules.vtkCommonExecutionModel import vtkAlgorithm

from metainr_core.errors import ArchiveError, SettingsError

from .encode import ARCHIVE_ARRAY
from .filter import ERROR_ARRAY, Progress, TableFilter, stamp
from .properties import properties
from .tables import field_text, fill_table

if TYPE_CHECKING:
    from metainr_core.projection import Projection

TABLE, PATH, PICTURE = range(3)
CORNERS = 32  # of a disc
DISC, RING = 0.014, (0.023, 0.029)  # radii as shares of the map's longer side
CROWD = 60  # steps from which on marks shrink: twice their area for half as many


@properties(Method="tsne", Perplexity=0.0, Select=0)
class MetaINRProjection(TableFilter):
    """One row per encoded step (port 0), the same as points joined along time (port 1), and that
    as a picture, with discs for points and rings around selected ones (port 2).

    Of the archive that the field data ``minr_archive`` of the input names: Encode's table, or the
    image of Decode or the reader.
    """

    label = "Meta-INR Projection"
    output_types = ("vtkTable", "vtkPolyData", "vtkPolyData")

    def __init__(self) -> None:
        super().__init__(inputType="vtkTable")
        self._known: tuple[Any, Projection] | None = None

    def FillInputPortInformation(self, port: int, info: Any) -> int:
        for name in ("vtkTable", "vtkImageData"):
            info.Append(vtkAlgorithm.INPUT_REQUIRED_DATA_TYPE(), name)
        return 1

    def run(self, inInfo: Any, output: vtkTable, progress: Progress) -> None:
        from metainr_core.selection import select_steps

        try:
            found = self._projection(self._archive_path(), progress)
            selected = select_steps(found, self.values["Select"]) if self.values["Select"] else []
        except SettingsError as error:
            raise SettingsError(str(error)[0].upper() + str(error)[1:]) from error
        fill(output, found, selected)
        path = self.GetOutputDataObject(PATH)
        draw(path, found, output)
        picture(path, np.isin(found.steps, selected), self.GetOutputDataObject(PICTURE))

    def _archive_path(self) -> str:
        data = self.GetInputDataObject(0, 0)
        path = field_text(data, ARCHIVE_ARRAY)
        if not path and field_text(data, ERROR_ARRAY):
            raise ArchiveError("what is before it failed; its own message says why")
        if not path:
            raise ArchiveError(
                "the input names no archive; connect Meta-INR Encode, Decode or Reader"
            )
        return path

    def _projection(self, path: str, progress: Progress) -> Projection:
        """The map; the last one if neither the archive nor the settings have changed."""
        from metainr_core import Archive
        from metainr_core.projection import project

        method, perplexity = self.values["Method"], self.values["Perplexity"]
        key = path, stamp(path), method, perplexity
        if self._known is None or self._known[0] != key:
            archive = Archive.open(path)
            found = project(archive, method, perplexity=perplexity, progress=progress)
            self._known = key, found
        return self._known[1]


def fill(table: vtkTable, found: Projection, selected: list[int]) -> None:
    """Columns of the map. ``member``: its number; its name, in an ensemble, is ``member_name``."""
    columns = found.columns(selected)
    names = columns["member"]
    columns["member"] = list(found.member)
    if any(names):
        columns["member_name"] = names
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    fill_table(table, {name: type(values[0]) for name, values in columns.items()}, rows)


def draw(path: vtkPolyData, found: Projection, table: vtkTable) -> None:
    """Points in the plane z = 0 with the table's columns, and a line for each member."""
    points, vertices, lines = vtkPoints(), vtkCellArray(), vtkCellArray()
    points.SetDataTypeToDouble()
    for x, y in found.positions:
        points.InsertNextPoint(x, y, 0)
    for place in range(points.GetNumberOfPoints()):
        vertices.InsertNextCell(1, (place,))
    for places in found.paths:
        if len(places) > 1:
            lines.InsertNextCell(len(places), places.tolist())
    path.SetPoints(points)
    path.SetVerts(vertices)
    path.SetLines(lines)
    for number in range(table.GetNumberOfColumns()):
        path.GetPointData().AddArray(table.GetColumn(number))
    path.GetPointData().SetActiveScalars("time")


def picture(path: vtkPolyData, ringed: np.ndarray, image: vtkPolyData) -> None:
    """The path with a disc around each point and a ring around those that are `ringed` (one bool
    per point). Discs keep their size in the map, so they are seen without any setting of a view.
    """
    low, high = np.reshape(path.GetBounds(), (3, 2)).T
    side = float((high - low).max()) or 1.0
    size = side * min(1.0, math.sqrt(CROWD / max(1, len(ringed))))
    turns = np.arange(CORNERS) * 2 * math.pi / CORNERS
    circle = np.stack([np.cos(turns), np.sin(turns), np.zeros(CORNERS)], axis=1)
    points, polygons, data = vtkPoints(), vtkCellArray(), image.GetPointData()
    points.SetDataTypeToDouble()
    data.CopyAllocate(path.GetPointData())

    def add(center: int, offsets: np.ndarray) -> int:
        """Adds points beside one of the path; returns the number of the first of them."""
        first = points.GetNumberOfPoints()
        for place in np.array(path.GetPoint(center)) + offsets:
            data.CopyData(path.GetPointData(), center, points.InsertNextPoint(place))
        return first

    for center in range(len(ringed)):
        add(center, np.zeros((1, 3)))
    for center, ring in enumerate(ringed):
        first = add(center, DISC * size * circle)
        polygons.InsertNextCell(CORNERS, range(first, first + CORNERS))
        if ring:
            inner, outer = (add(center, radius * size * circle) for radius in RING)
            for k, after in zip(range(CORNERS), [*range(1, CORNERS), 0], strict=True):
                polygons.InsertNextCell(4, (inner + k, outer + k, outer + after, inner + after))
    image.SetPoints(points)
    image.SetLines(path.GetLines())
    image.SetPolys(polygons)
