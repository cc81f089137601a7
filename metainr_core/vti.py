"""``.vti`` and ``.pvd`` files: series read from them, and images written by VTK.

A series may come from anywhere. The files of a ``.pvd`` are followed wherever they are, as ParaView
does, but only read, and only as ``.vti``; what they say of themselves is checked.
"""

from __future__ import annotations

import glob
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .bounded_xml import Attributes, HeaderScan
from .errors import MetaINRError, SeriesError, SettingsError
from .ghosts import warn_of_hidden
from .grid import Grid
from .regular_file import open_regular
from .series import GHOSTS, Series, check_grid, choose_array
from .vti_data import read_values
from .vti_header import VtiHeader, extent_grid, read_header
from .vti_names import names_for_xml
from .vtk_modules import vtk
from .writing import make_folder, replacement, write_atomically

_MARK = "metainr"


def image_grid(image: Any, association: str) -> Grid:
    """The grid of a ``vtkImageData``'s point or cell values."""
    matrix = image.GetDirectionMatrix()
    return extent_grid(
        image.GetExtent(),
        image.GetSpacing(),
        image.GetOrigin(),
        [matrix.GetElement(i, j) for i in range(3) for j in range(3)],
        association,
    )


def image_arrays(image: Any) -> list[tuple[str, str]]:
    """(association, name) of the numeric arrays of a ``vtkImageData``."""
    found = []
    for association, data in (("point", image.GetPointData()), ("cell", image.GetCellData())):
        for index in range(data.GetNumberOfArrays()):
            array = data.GetArray(index)
            if array is not None and array.GetName() not in (None, "", GHOSTS):
                found.append((association, array.GetName()))
    return found


def _names(arrays: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({association})" for association, name in arrays) or "none"


def image_values(image: Any, array: str, association: str) -> np.ndarray:
    """One array of a ``vtkImageData`` as ``(nz, ny, nx, components)``, a view in its own dtype."""
    data = image.GetCellData() if association == "cell" else image.GetPointData()
    found = data.GetArray(array)
    if found is None:
        names = _names(image_arrays(image))
        raise MetaINRError(f'there is no {association} array "{array}"; its arrays: {names}')
    shape = image_grid(image, association).shape
    if found.GetDataTypeAsString() == "bit":  # eight in a byte
        bits, found = found, vtk("vtkCommonCore").vtkUnsignedCharArray()
        found.DeepCopy(bits)
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


@contextmanager
def open_image(path: Path) -> Iterator[tuple[BinaryIO, VtiHeader]]:
    """A ``.vti`` file and its header. Raises SeriesError, also for what is wrong inside."""
    try:
        with open_regular(path) as file:
            yield file, read_header(file)
    except FileNotFoundError as error:
        raise SeriesError(f"{path} does not exist") from error
    except OSError as error:
        raise SeriesError(f"{path} cannot be read: {error.strerror or error}") from error
    except (MemoryError, OverflowError, SettingsError, ValueError) as error:
        raise SeriesError(f"{path} cannot be read: {error or 'not enough memory'}") from error


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
            if not os.path.isfile(path):
                raise SeriesError(
                    f"step {number} of {name}: {path} does not exist; restore the file or take it"
                    " out of the series"
                )
        with open_image(self.files[0]) as (_, header):
            association, chosen = choose_array(header.arrays, array, str(self.files[0]))
            components = header.pieces[0].arrays[association, chosen].components
            grid = header.grid(association)
        self.association = association
        super().__init__(name, grid, chosen, components, times, ignore_nonfinite=ignore_nonfinite)

    def _load(self, step: int) -> np.ndarray:
        with open_image(self.files[step]) as (file, header):
            wanted = self.association, self.array
            if wanted not in header.arrays:
                raise SeriesError(
                    f"{self.where(step)} ({self.files[step]}): there is no {self.association} array"
                    f' "{self.array}"; its arrays: {_names(header.arrays)}'
                )
            check_grid(header.grid(self.association), self.grid, self.where(step))
            values = read_values(file, header, *wanted)
            marks = self.association, GHOSTS
            if marks in header.arrays:
                warn_of_hidden(self, step, read_values(file, header, *marks))
            return values


def open_vti_series(
    path: str, array: str | None = None, *, ignore_nonfinite: bool = False
) -> VtiSeries:
    """The series of a ``.pvd``, one ``.vti``, or a glob of ``.vti`` in natural order."""
    if path.endswith(".pvd"):
        files, times = read_pvd(Path(path))
    else:
        try:
            # In the name of a file that is there no character is a wildcard.
            pattern = glob.escape(path) if os.path.isfile(path) else path
            files = sorted(map(Path, glob.glob(pattern, recursive=True)), key=_natural)
        except ValueError as error:
            raise SeriesError(f"{path} is no name of a file ({error})") from error
        if not files and not glob.has_magic(path):
            raise SeriesError(f"{path} does not exist")
        if not files:
            raise SeriesError(f"{path} matches no file")
        times = [float(n) for n in range(len(files))]
    wrong = [f for f in files if f.suffix != ".vti"]
    if wrong:
        named = f"{path} names {wrong[0]}, which" if path.endswith(".pvd") else wrong[0]
        raise SeriesError(
            f"{named} is no .vti file; a series is a .pvd of .vti files, .vti files or a folder"
            " with dataset.json"
        )
    return VtiSeries(path, files, times, array, ignore_nonfinite=ignore_nonfinite)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts]


def read_pvd(path: Path) -> tuple[list[Path], list[float]]:
    """Files and times of a ``.pvd``, by increasing time. Raises SeriesError."""
    entries: list[tuple[float, str, str]] = []

    def started(name: str, attributes: Attributes) -> None:
        if name == "DataSet":
            time = float(attributes.get("timestep", len(entries)))
            entries.append((time, attributes["file"], attributes.get("part", "0")))

    try:
        with open_regular(path) as file:
            HeaderScan(started).run(file)
    except OSError as error:
        raise SeriesError(f"{path} cannot be read: {error.strerror or error}") from error
    except (KeyError, ValueError) as error:
        raise SeriesError(f"{path} is no .pvd file: {error!r}") from error
    if not entries:
        raise SeriesError(f"{path} names no file")
    if len({part for _, _, part in entries}) > 1:
        raise SeriesError(f"{path} has several parts per time step; a series has one image each")
    entries.sort(key=lambda entry: entry[0])
    return [path.parent / name for _, name, _ in entries], [t for t, _, _ in entries]


def read_mark(path: Path) -> str | None:
    """The mark that ``write_pvd`` put into a file; None when there is no such."""
    marks: list[str | None] = []
    try:
        with open_regular(path) as file:
            HeaderScan(lambda _name, attributes: marks.append(attributes.get(_MARK))).run(file)
    except (OSError, ValueError):
        return None
    return marks[0]


@contextmanager
def _problems(writer: Any) -> Iterator[list[str]]:
    """The messages of the errors of a writer, instead of their output."""
    found: list[str] = []

    def note(_caller: Any, _event: str, message: str) -> None:
        found.append(message)

    note.CallDataType = "string0"  # type: ignore[attr-defined]
    writer.AddObserver("ErrorEvent", note)
    yield found


def write_image(image: Any, path: Path) -> None:
    """Writes a ``vtkImageData`` as inline binary ``.vti``, which every ParaView reads.

    ``path`` holds all of it or what it held before. Raises ArchiveError.
    """
    with replacement(path) as temporary:
        if problem := _write(image, temporary):
            raise OSError(problem)


def _write(image: Any, path: Path) -> str:
    """What was wrong. The writer ends here, as after an error it holds on to the file's room."""
    writer = vtk("vtkIOXML").vtkXMLImageDataWriter()
    writer.SetDataModeToBinary()
    writer.SetInputData(image)
    writer.SetFileName(str(path))
    with names_for_xml(image), _problems(writer) as problems:
        # VTK itself writes the file, block by block: the whole text would not fit into memory.
        writer.Write()
    if code := writer.GetErrorCode():
        return str(vtk("vtkCommonMisc").vtkErrorCode.GetStringFromErrorCode(code))
    return problems[0] if problems else ""


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
