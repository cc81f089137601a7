"""``.vti`` and ``.pvd`` files, read and written by VTK."""

from __future__ import annotations

import glob
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DAMAGE, MetaINRError, SeriesError
from .grid import Grid
from .series import Series, check_grid, choose_array
from .vtk_modules import vtk
from .writing import make_folder, replacement, write_atomically

_MARK = "metainr"


def image_grid(image: Any, association: str) -> Grid:
    """The grid of a ``vtkImageData``'s point or cell values."""
    extent = image.GetExtent()
    points = image.GetDimensions()
    cells = association == "cell"
    matrix = image.GetDirectionMatrix()
    return Grid(
        dims=tuple(max(n - cells, 1) for n in points),
        spacing=image.GetSpacing(),
        origin=image.GetOrigin(),
        direction=tuple(matrix.GetElement(i, j) for i in range(3) for j in range(3)),
        start=tuple(extent[0::2]),
        association=association,
        flat=tuple(cells and n == 1 for n in points),
    )


def image_arrays(image: Any) -> list[tuple[str, str]]:
    """(association, name) of the numeric arrays of a ``vtkImageData``."""
    found = []
    for association, data in (("point", image.GetPointData()), ("cell", image.GetCellData())):
        for index in range(data.GetNumberOfArrays()):
            array = data.GetArray(index)
            if array is not None and array.GetName():
                found.append((association, array.GetName()))
    return found


def image_values(image: Any, array: str, association: str) -> np.ndarray:
    """One array of a ``vtkImageData`` as ``(nz, ny, nx, components)``, a view in its own dtype."""
    data = image.GetCellData() if association == "cell" else image.GetPointData()
    found = data.GetArray(array)
    if found is None:
        names = ", ".join(f"{n} ({a})" for a, n in image_arrays(image)) or "none"
        raise MetaINRError(f'there is no {association} array "{array}"; its arrays: {names}')
    shape = image_grid(image, association).shape
    flat = vtk("util.numpy_support").vtk_to_numpy(found)
    return flat.reshape(*shape, found.GetNumberOfComponents())


def make_image(values: np.ndarray, grid: Grid, array: str) -> Any:
    """A ``vtkImageData`` with ``values`` ``(nz, ny, nx, components)``, which it keeps in use.

    They are not copied, and go when the image does.
    """
    image = vtk("vtkCommonDataModel").vtkImageData()
    image.SetExtent(grid.extent)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirectionMatrix(grid.direction)
    flat = np.ascontiguousarray(values).reshape(grid.voxels, -1)
    data = vtk("util.numpy_support").numpy_to_vtk(flat, deep=False)
    data.SetName(array)
    # Without a name in Python, VTK would keep the values until its next such array after this.
    image.values = data
    target = image.GetCellData() if grid.association == "cell" else image.GetPointData()
    target.AddArray(data)
    target.SetActiveScalars(array)
    if flat.shape[1] == 3:
        target.SetActiveVectors(array)
    return image


def read_image(path: Path, array: str | None = None) -> Any:
    """The ``vtkImageData`` in a ``.vti``. Raises SeriesError, with VTK's reason, if it cannot.

    With ``array`` the other arrays are left out, unless the file has none of that name.
    """
    if not path.is_file():
        raise SeriesError(f"{path} does not exist")
    reader = vtk("vtkIOXML").vtkXMLImageDataReader()
    reader.SetFileName(str(path))
    with _problems(reader) as problems:
        reader.UpdateInformation()
        selections = reader.GetPointDataArraySelection(), reader.GetCellDataArraySelection()
        if array is not None and any(chosen.ArrayExists(array) for chosen in selections):
            for chosen in selections:
                chosen.DisableAllArrays()
                chosen.EnableArray(array)
        if not problems:
            reader.Update()
    if problems or reader.GetErrorCode():
        raise SeriesError(f"{path} cannot be read: {_reason(problems, path)}")
    return reader.GetOutput()


@contextmanager
def _problems(algorithm: Any) -> Iterator[list[str]]:
    """The messages of the errors of a reader or writer, instead of their output."""
    found: list[str] = []

    def note(_caller: Any, _event: str, message: str) -> None:
        found.append(message)

    note.CallDataType = "string0"  # type: ignore[attr-defined]
    # The parser inside a reader reports to the output window, which outlives this call.
    window = vtk("vtkCommonCore").vtkOutputWindow.GetInstance()
    tag = window.AddObserver("ErrorEvent", note)
    algorithm.AddObserver("ErrorEvent", note)
    try:
        yield found
    finally:
        window.RemoveObserver(tag)


def _reason(problems: Sequence[str], path: Path) -> str:
    text = " ".join(" ".join(problems).split())
    if "invalid token" in text and b"<AppendedData" in path.read_bytes():
        return (
            "VTK's XML parser refuses its appended data, as it does with newer expat libraries;"
            " write the file with inline binary data (SetDataModeToBinary)"
        )
    return re.sub(r"^.*?\): ", "", text)[:200] or "VTK gives no reason"


class VtiSeries(Series):
    """A series of ``.vti`` files, read when asked for."""

    def __init__(
        self,
        name: str,
        files: Sequence[Path],
        times: Sequence[float],
        array: str | None,
        *,
        ignore_nonfinite: bool = False,
    ):
        self.files = list(files)
        for number, path in enumerate(self.files):
            if not path.is_file():
                raise SeriesError(
                    f"step {number} of {name}: {path} does not exist; restore the file or take it"
                    " out of the series"
                )
        image = read_image(self.files[0], array)
        association, chosen = choose_array(image_arrays(image), array, str(self.files[0]))
        self.association = association
        components = image_values(image, chosen, association).shape[3]
        super().__init__(
            name,
            image_grid(image, association),
            chosen,
            components,
            times,
            ignore_nonfinite=ignore_nonfinite,
        )

    def _load(self, step: int) -> np.ndarray:
        image = read_image(self.files[step], self.array)
        try:
            values = image_values(image, self.array, self.association)
        except MetaINRError as error:
            raise SeriesError(f"{self.where(step)} ({self.files[step]}): {error}") from error
        check_grid(image_grid(image, self.association), self.grid, self.where(step))
        return values


def open_vti_series(
    path: str, array: str | None = None, *, ignore_nonfinite: bool = False
) -> VtiSeries:
    """The series of a ``.pvd``, one ``.vti``, or a glob of ``.vti`` in natural order."""
    if path.endswith(".pvd"):
        files, times = read_pvd(Path(path))
    else:
        files = sorted(map(Path, glob.glob(path, recursive=True)), key=_natural)
        if not files and not glob.has_magic(path):
            raise SeriesError(f"{path} does not exist")
        if not files:
            raise SeriesError(f"{path} matches no file")
        wrong = [f for f in files if f.suffix != ".vti"]
        if wrong:
            raise SeriesError(
                f"{wrong[0]} is no .vti file; a series is a .pvd, .vti files or a"
                " folder with dataset.json"
            )
        times = [float(n) for n in range(len(files))]
    return VtiSeries(path, files, times, array, ignore_nonfinite=ignore_nonfinite)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts]


def read_pvd(path: Path) -> tuple[list[Path], list[float]]:
    """Files and times of a ``.pvd``, by increasing time. Raises SeriesError."""
    try:
        root = ElementTree.parse(path).getroot()
        entries = [
            (float(e.get("timestep", i)), e.attrib["file"], e.get("part", "0"))
            for i, e in enumerate(root.iter("DataSet"))
        ]
    except OSError as error:
        raise SeriesError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ElementTree.ParseError, *DAMAGE) as error:
        raise SeriesError(f"{path} is no .pvd file: {error!r}") from error
    if not entries:
        raise SeriesError(f"{path} names no file")
    if len({part for _, _, part in entries}) > 1:
        raise SeriesError(f"{path} has several parts per time step; a series has one image each")
    entries.sort(key=lambda entry: entry[0])
    return [path.parent / name for _, name, _ in entries], [t for t, _, _ in entries]


def read_mark(path: Path) -> str | None:
    """The mark that ``write_pvd`` put into a file; None when there is no such."""
    try:
        return ElementTree.parse(path).getroot().get(_MARK)
    except (OSError, ElementTree.ParseError, *DAMAGE):
        return None


def write_image(image: Any, path: Path) -> None:
    """Writes a ``vtkImageData`` as inline binary ``.vti``, which every ParaView reads.

    ``path`` holds all of it or what it held before. Raises ArchiveError.
    """
    writer = vtk("vtkIOXML").vtkXMLImageDataWriter()
    writer.SetDataModeToBinary()
    writer.SetInputData(image)
    # VTK itself writes the file, block by block: the whole text would not fit into memory.
    with replacement(path) as temporary, _problems(writer) as problems:
        writer.SetFileName(str(temporary))
        writer.Write()
        if code := writer.GetErrorCode():
            problems.insert(0, vtk("vtkCommonMisc").vtkErrorCode.GetStringFromErrorCode(code))
        if problems:
            raise OSError(problems[0])


def write_pvd(
    path: Path, files: Sequence[str], times: Sequence[float], mark: str | None = None
) -> None:
    """Writes a ``.pvd`` that names ``files`` (relative to it) at ``times``.

    ``mark`` says what they are, for ``read_mark``; other programs do not look at it.
    """
    make_folder(path.parent)
    root = ElementTree.Element("VTKFile", type="Collection", version="0.1")
    if mark is not None:
        root.set(_MARK, mark)
    collection = ElementTree.SubElement(root, "Collection")
    for name, value in zip(files, times, strict=True):
        ElementTree.SubElement(collection, "DataSet", timestep=repr(value), part="0", file=name)
    ElementTree.indent(root)
    write_atomically(path, ElementTree.tostring(root, xml_declaration=True, encoding="utf-8"))
