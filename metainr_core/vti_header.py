"""What a ``.vti`` file says about itself, before anything of its data is read.

VTK's own reader trusts what a file says; here it is checked, because series may come from
anywhere. Nothing is allocated by what is said: ``vti_data`` first looks whether the file holds it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from .bounded_xml import BYTE_ENCODINGS, Attributes, HeaderScan
from .grid import IDENTITY, Grid

# Types of values by VTK's names; bits are packed, eight to a byte.
_TYPES = {"Float32": "f4", "Float64": "f8", "Bit": "bit"} | {
    f"{name}{8 * size}": f"{code}{size}"
    for name, code in (("Int", "i"), ("UInt", "u"))
    for size in (1, 2, 4, 8)
}
_COMPRESSORS = {
    "": "",
    "vtkZLibDataCompressor": "zlib",
    "vtkLZMADataCompressor": "lzma",
    "vtkLZ4DataCompressor": "lz4",
}
_ORDERS = {"LittleEndian": "<", "BigEndian": ">"}
_WORDS = {"UInt32": "u4", "UInt64": "u8"}
_FORMATS = ("ascii", "binary", "appended")
_ASSOCIATIONS = {"PointData": "point", "CellData": "cell"}
_NEWEST_VERSION = 2
_MOST_PIECES = 1024
# VTK's own, less room for a number of values.
_LARGEST_INDEX = 2**31 - 2
_LONGEST_TAG = 4096


@dataclass
class StoredArray:
    """One array of a piece. ``type``: numpy's letter and size, or ``bit``.

    ``begin``: the first byte of its data; ``end``: the byte after what may be its data.
    """

    type: str
    components: int
    format: str
    begin: int = 0
    end: int = 0


@dataclass
class Piece:
    """A part of the volume: VTK extent, and arrays by (association, name)."""

    extent: tuple[int, ...]
    arrays: dict[tuple[str, str], StoredArray] = field(default_factory=dict)


@dataclass
class VtiHeader:
    """``order``: ``<`` or ``>``; ``word``: type of the numbers before data; ``compressor``:
    ``zlib``, ``lzma``, ``lz4`` or empty; ``appended_as``: ``raw`` or ``base64``."""

    order: str
    word: np.dtype
    compressor: str
    extent: tuple[int, ...] = ()
    origin: tuple[float, ...] = (0.0, 0.0, 0.0)
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    direction: tuple[float, ...] = IDENTITY
    pieces: list[Piece] = field(default_factory=list)
    appended_as: str = "base64"

    @property
    def arrays(self) -> list[tuple[str, str]]:
        """(association, name) of the arrays, those of points first."""
        return sorted(self.pieces[0].arrays, key=lambda pair: pair[0] == "cell")

    def grid(self, association: str, piece: Piece | None = None) -> Grid:
        """Of the whole image, or of one piece."""
        extent = piece.extent if piece else self.extent
        return extent_grid(extent, self.spacing, self.origin, self.direction, association)


def extent_grid(
    extent: Sequence[int],
    spacing: Sequence[float],
    origin: Sequence[float],
    direction: Sequence[float],
    association: str,
) -> Grid:
    """The grid of the point or cell values of an image with a VTK extent."""
    cells = association == "cell"
    points = [b - a + 1 for a, b in zip(extent[::2], extent[1::2], strict=True)]
    return Grid(
        dims=tuple(n - (cells and n > 1) for n in points),
        spacing=tuple(spacing),
        origin=tuple(origin),
        direction=tuple(direction),
        start=tuple(extent[::2]),
        association=association,
        flat=tuple(cells and n == 1 for n in points),
    )


def read_header(file: BinaryIO) -> VtiHeader:
    """The header of a file, read from its beginning on. Raises ValueError or OSError."""
    found = _Found()
    place = HeaderScan(
        found.started,
        found.ended,
        found.text,
        data="DataArray",
        last="AppendedData",
        encodings=BYTE_ENCODINGS,
    ).run(file)
    header = found.header
    if header is None or not header.extent:
        raise ValueError("it has no ImageData with a WholeExtent")
    size = file.seek(0, 2)
    appended = None if place is None else _data_place(file, place)
    for piece in header.pieces:
        for (_, name), stored in piece.arrays.items():
            if stored.format == "appended":
                if appended is None:
                    raise ValueError(f'array "{name}" is appended; the file has no AppendedData')
                stored.begin, stored.end = min(appended + stored.begin, size), size
    header.pieces = _covering(header)
    return header


def _data_place(file: BinaryIO, place: int) -> int:
    """The byte after the ``_`` that begins appended data."""
    file.seek(place)
    tag, _, rest = file.read(_LONGEST_TAG).partition(b">")
    blank = len(rest) - len(rest.lstrip())
    if rest[blank : blank + 1] != b"_":
        raise ValueError("its AppendedData does not begin with _")
    return place + len(tag) + 1 + blank + 1


class _Found:
    """Puts together the header from its elements."""

    def __init__(self) -> None:
        self.header: VtiHeader | None = None
        self._inside: list[str] = []
        self._inline: StoredArray | None = None

    def started(self, name: str, attributes: Attributes) -> None:
        self._inside.append(name)
        header, depth = self.header, len(self._inside)
        if depth == 1:
            self.header = _file(name, attributes)
        elif header is None:
            return
        elif self._inside == ["VTKFile", "ImageData"]:
            _image(header, attributes)
        elif self._inside == ["VTKFile", "ImageData", "Piece"]:
            if len(header.pieces) == _MOST_PIECES:
                raise ValueError(f"it has more than {_MOST_PIECES} pieces")
            header.pieces.append(Piece(_extent("Extent", attributes)))
        elif self._inside[1:3] == ["ImageData", "Piece"] and depth == 5 and name == "DataArray":
            association = _ASSOCIATIONS.get(self._inside[3])
            if association is not None:
                self._array(header.pieces[-1], association, attributes)
        elif self._inside == ["VTKFile", "AppendedData"]:
            header.appended_as = _one_of(
                "encoding", attributes.get("encoding", "base64"), ("raw", "base64")
            )

    def ended(self, _name: str) -> None:
        self._inside.pop()

    def text(self, begin: int, end: int) -> None:
        if self._inline is not None:
            self._inline.begin, self._inline.end = begin, end
            self._inline = None

    def _array(self, piece: Piece, association: str, attributes: Attributes) -> None:
        name, kind = attributes.get("Name"), _TYPES.get(attributes.get("type", ""))
        # As with VTK, texts and what has no name are no arrays to choose from.
        if not name or kind is None:
            return
        if (association, name) in piece.arrays:
            raise ValueError(f'it has two {association} arrays "{name}"')
        components = _number("NumberOfComponents", attributes.get("NumberOfComponents", "1"))
        if not 1 <= components <= _LARGEST_INDEX:
            raise ValueError(f'array "{name}" has NumberOfComponents {components}')
        form = _one_of("format", attributes.get("format", "ascii"), _FORMATS)
        stored = piece.arrays[association, name] = StoredArray(kind, components, form)
        if form == "appended":
            stored.begin = _number("offset", attributes.get("offset", ""))
            if stored.begin < 0:
                raise ValueError(f'array "{name}" has offset {stored.begin}')
        else:
            self._inline = stored


def _file(name: str, attributes: Attributes) -> VtiHeader:
    if name != "VTKFile":
        raise ValueError(f"it begins with {name}; expected VTKFile")
    if (kind := attributes.get("type")) != "ImageData":
        cure = "use ParaView's filter Resample To Image" if kind else "no VTK file"
        raise ValueError(f"its type is {kind}; expected ImageData ({cure})")
    version = attributes.get("version", "0.1")
    if _number("version", version.partition(".")[0]) > _NEWEST_VERSION:
        raise ValueError(f"its version is {version}; expected at most {_NEWEST_VERSION}")
    order = _one_of("byte_order", attributes.get("byte_order", "LittleEndian"), _ORDERS)
    word = _one_of("header_type", attributes.get("header_type", "UInt32"), _WORDS)
    compressor = _one_of("compressor", attributes.get("compressor", ""), _COMPRESSORS)
    return VtiHeader(
        _ORDERS[order], np.dtype(_ORDERS[order] + _WORDS[word]), _COMPRESSORS[compressor]
    )


def _image(header: VtiHeader, attributes: Attributes) -> None:
    if header.extent:
        raise ValueError("it has two ImageData")
    header.extent = _extent("WholeExtent", attributes)
    if any(b < a for a, b in zip(header.extent[::2], header.extent[1::2], strict=True)):
        raise ValueError(f"its WholeExtent is {header.extent}: there is no point in it")
    for name in ("Origin", "Spacing", "Direction"):
        if (text := attributes.get(name)) is not None:
            expected = len(getattr(header, name.lower()))
            values = tuple(map(float, text.split(None, expected)))
            if len(values) != expected:
                raise ValueError(f"{name} is {text!r}; expected {expected} numbers")
            setattr(header, name.lower(), values)


def _extent(name: str, attributes: Attributes) -> tuple[int, ...]:
    text = attributes.get(name, "")
    values = tuple(_number(name, v) for v in text.split(None, 6))
    if len(values) != 6 or max(map(abs, values)) > _LARGEST_INDEX:
        raise ValueError(f"its {name} is {text!r}; expected six whole numbers")
    return values


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}; expected a whole number") from None


def _one_of(name: str, text: str, choices: Sequence[str] | dict[str, str]) -> str:
    if text not in choices:
        raise ValueError(f"{name} is {text!r}; expected {' or '.join(c for c in choices if c)}")
    return text


def _covering(header: VtiHeader) -> list[Piece]:
    """The pieces that are needed. Raises ValueError unless each value is in one of them."""
    # VTK's writer, told to write in pieces, may put the whole image into each.
    if complete := [p for p in header.pieces if p.extent == header.extent]:
        return complete[:1]
    whole = list(zip(header.extent[::2], header.extent[1::2], strict=True))
    thick = [b > a for a, b in whole]
    pieces, cells = [], 0
    for piece in header.pieces:
        ends = list(zip(piece.extent[::2], piece.extent[1::2], whole, strict=True))
        if any(not a <= low <= high <= b for low, high, (a, b) in ends if low <= high):
            raise ValueError(f"a piece's Extent {piece.extent} is outside {header.extent}")
        held = math.prod(
            max(high - low, 0) if t else high == low
            for (low, high, _), t in zip(ends, thick, strict=True)
        )
        if held:
            pieces.append(piece)
            cells += held
    if cells != math.prod((b - a) or 1 for a, b in whole) or _overlap(pieces, thick):
        raise ValueError(f"its pieces do not make up WholeExtent {header.extent}")
    return pieces


def _overlap(pieces: Sequence[Piece], thick: Sequence[bool]) -> bool:
    """Whether two of them share a cell."""
    extents = np.array([p.extent for p in pieces], np.int64).reshape(-1, 3, 2)[:, list(thick)]
    low = np.maximum(extents[:, None, :, 0], extents[None, :, :, 0])
    high = np.minimum(extents[:, None, :, 1], extents[None, :, :, 1])
    return bool(np.triu((low < high).all(axis=2), 1).any())
