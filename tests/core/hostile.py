"""Series files made by hand, to be wrong in one place each."""

from __future__ import annotations

import base64
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

from metainr_core.errors import MetaINRError
from metainr_core.series import Series, open_series

ZLIB = 'compressor="vtkZLibDataCompressor"'
VALUES = struct.pack("<8f", *range(8))


# Each entity is ten of the one before.
LAUGHS = (
    '<!DOCTYPE a [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1 if n else str()};" * 10}">' for n in range(9))
    + "]><VTKFile>&a8;</VTKFile>"
)


def image(
    *,
    whole: str = "0 1 0 1 0 1",
    piece: str | None = None,
    file: str = "",
    attributes: str = 'Origin="0 0 0" Spacing="1 1 1"',
    array: str = "",
    format: str = "binary",
    data: bytes = b"",
    before: bytes = b"",
    appended: bytes | None = None,
) -> bytes:
    """A ``.vti`` of eight float32, with texts put in where an attack wants them."""
    form = f'format="{format}"' + (' offset="0"' if format == "appended" else "")
    text = (
        f'<VTKFile type="ImageData" header_type="UInt64" {file}>'
        f'<ImageData WholeExtent="{whole}" {attributes}><Piece Extent="{piece or whole}">'
        f'<PointData><DataArray type="Float32" Name="a" {form} {array}>'
    ).encode()
    tail = b"</DataArray></PointData></Piece></ImageData>"
    if appended is not None:
        tail += b'<AppendedData encoding="raw">_' + appended + b"</AppendedData>"
    return before + text + data + tail + b"</VTKFile>"


def inline(*parts: bytes) -> bytes:
    """Groups of bytes as VTK writes them into a text."""
    return b"".join(base64.b64encode(part) for part in parts)


def plain(values: bytes = VALUES, length: int | None = None) -> bytes:
    """An array that is not compressed, with the length that it says it has."""
    return struct.pack("<Q", len(values) if length is None else length) + values


def blocks(*numbers: int, data: bytes = b"") -> bytes:
    """Compressed: number of blocks, their length, that of the last; then sizes."""
    return struct.pack(f"<{len(numbers)}Q", *numbers) + data


def bomb(voxels: int) -> bytes:
    """Zeros, compressed as well as they can be."""
    data = zlib.compress(bytes(4 * voxels), 9)
    return image(
        whole=f"0 {voxels - 1} 0 0 0 0",
        file=ZLIB,
        format="appended",
        appended=blocks(1, 4 * voxels, 0, len(data), data=data),
    )


def read_all(path: Path) -> Series:
    """Opens a series and reads all of it, as the commands do."""
    series = open_series(path)
    assert len(series) == len(series.times)
    for step in range(len(series)):
        series.read(step)
    series.scan()
    return series


def outcome(path: Path, size: int | None = None) -> str:
    """What reading ends with: a message, or nothing. Fails beyond the bounds of time and memory.

    ``size``: bytes of the files, when ``path`` is not the only one.
    """
    tracemalloc.start()
    start = time.process_time()  # other tests may run at the same time
    try:
        read_all(path)
        message = ""
    except MetaINRError as error:
        message = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert time.process_time() - start < 2
    assert peak < 4 * (path.stat().st_size if size is None else size) + 200_000_000
    assert message.isprintable()
    assert len(message) < 2500
    return message
