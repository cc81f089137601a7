"""Images that want to do harm: one clear refusal each, in bounded time and memory."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest

from metainr_core import bounded_xml, vti_header
from tests.core.hostile import (
    LAUGHS,
    VALUES,
    ZLIB,
    blocks,
    bomb,
    image,
    inline,
    outcome,
    plain,
)

GOOD = image(data=inline(plain()))
SQUEEZED = zlib.compress(VALUES)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits to numbers, smaller than they are, so that they are reached soon."""
    monkeypatch.setattr(bounded_xml, "_MOST_ELEMENTS", 900)
    monkeypatch.setattr(vti_header, "_MOST_PIECES", 100)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # XML
        (image(before=LAUGHS[: LAUGHS.index("<VTKFile")].encode()), "document type declaration"),
        (GOOD.decode().encode("utf-16"), "encoding is UTF-16"),
        (b"<?xml version='1.0' encoding='utf-16'?>" + GOOD, "encoding is 'utf-16'"),
        (image(data=b"<a>" * 1000), "nested more than 32 deep"),
        (image(data=b"<a/>" * 1000), "more than 900 elements"),
        (image(data=b"<!--" + b"x" * 3_000_000 + b"-->"), "more than 1048576 bytes"),
        (image(array=f'x="{"y" * 3_000_000}"'), "more than 1048576 bytes"),
        (GOOD[:-20], "unclosed token"),
        (GOOD[:200], "unclosed token"),
        (image(data=b"&lt;" + inline(plain())), 'array "a": '),
        (image(data=b"<![CDATA[" + inline(plain()) + b"]]>"), ""),
        (image(data=b"<!-- x -->" + inline(plain())), ""),
        # Grid
        (image(whole="0 1 0 1 0 4611686018427387904"), "expected six whole numbers"),
        (image(whole="0 1 0 1 0 1e9"), "expected a whole number"),
        (image(whole="0 1 0 1 0"), "expected six whole numbers"),
        (image(whole="0 -1 0 -1 0 -1"), "there is no point in it"),
        (image(whole="0 1 0 1 1 0"), "there is no point in it"),
        (image(whole="0 1290 0 1290 0 1290", data=inline(plain(length=2**40))),
         "needs 8606.* bytes; the file has at most"),
        (image(whole="0 2000000000 0 2000000000 0 2000000000"), "the file has at most"),
        (image(whole="0 2000000000 0 2000000000 0 2000000000", format="ascii"), "the file has at"),
        (image(piece="0 1 0 1 0 0", data=inline(plain())), "do not make up WholeExtent"),
        (image(piece="0 1 0 1 0 2", data=inline(plain())), "is outside"),
        (image(piece="5 1 0 1 0 1", data=inline(plain())), "do not make up WholeExtent"),
        (image(attributes='Spacing="1 nan 1"'), "grid spacing is"),
        (image(attributes='Spacing="1 0 1"'), "grid spacing is"),
        (image(attributes='Spacing="1 1 1 1"'), "Spacing is"),
        (image(attributes='Origin="1 inf 1"'), "grid origin is"),
        (image(attributes='Direction="1 0 0 0 1 0 1 0 0"'), "grid direction is"),
        (image(attributes='Direction="1e300 0 0 0 1e300 0 0 0 1e300"'), "grid direction is"),
        (GOOD.replace(b"</PointData></Piece>", b"</PointData></Piece>" * 1)
         .replace(b"<Piece", b'<Piece Extent="0 1 0 1 0 0"></Piece><Piece'), ""),
        (GOOD.replace(b"<Piece", b'<Piece Extent="0 0 0 0 0 0"></Piece>' * 110 + b"<Piece"),
         "more than 100 pieces"),
        (GOOD.replace(b"</ImageData>", b'</ImageData><ImageData WholeExtent="0 1 0 1 0 1"/>'),
         "two ImageData"),
        # Arrays
        (image(array='NumberOfComponents="2147483648"'), "NumberOfComponents 2147483648"),
        (image(array='NumberOfComponents="2147483646"'), "the file has at most"),
        (image(array='NumberOfComponents="0"'), "NumberOfComponents 0"),
        (image(array='NumberOfComponents="-3"'), "NumberOfComponents -3"),
        (image(array=f'NumberOfComponents="{"9" * 5000}"'), "expected a whole number"),
        (image(array='NumberOfTuples="4611686018427387904"', data=inline(plain())), ""),
        (GOOD.replace(b"<DataArray", b'<DataArray type="Float32" Name="a"/><DataArray'),
         "two point arrays"),
        (GOOD.replace(b'type="Float32"', b'type="String"'), "has no array"),
        (GOOD.replace(b'Name="a"', b""), "has no array"),
        (GOOD.replace(b'type="ImageData"', b'type="RectilinearGrid"'), "Resample To Image"),
        (image(file='version="9999999999999.0"'), "version"),
        (image(file='byte_order="Middle"'), "byte_order"),
        (image(file='compressor="vtkImageData"'), "compressor is 'vtkImageData'"),
        # Data that are not compressed
        (image(), "needs 8 bytes; the file has at most 0"),
        (image(data=inline(plain(length=2**63))), ""),
        (image(data=inline(plain(length=31))), "needs 32 bytes; the file has at most 31"),
        (image(data=inline(plain(VALUES[:-1], length=32))), "needs 32 bytes"),
        (image(data=b"\n" + b"?" * 60), "no base64"),
        (image(data=b"=" * 60), "base64|padding"),
        (image(data=b" " * 2_000_000), "the file has at most 0"),
        (image(format="ascii", data=b"1 2 3 4 5 6 7"), "the file has at most 13"),
        (image(format="ascii", data=b"1 2 3 4 5 6 7  "), "has 7 numbers; it needs 8"),
        (image(format="ascii", data=b"1 2 3 4 5 6 7 8 9"), ""),
        (image(format="ascii", data=b"1 2 3 x 5 6 7 8"), "not all numbers"),
        (image(format="ascii", data=b"1" * 8_000_000), "not all numbers"),
        (image(format="ascii", data=b"1 2 3 nan 5 6 7 8"), "non-finite"),
        (image(format="appended"), "the file has no AppendedData"),
        (image(format="appended", appended=b""), "the file has at most"),
        (image(format="appended", appended=plain(VALUES[:-4], length=32)), "|needs 32 bytes"),
        (image(format="appended", appended=plain()).replace(b'offset="0"', b'offset="-9"'),
         "offset -9"),
        (image(format="appended", appended=plain()).replace(b'offset="0"', b'offset="99999999"'),
         "the file has at most 0"),
        (image(format="appended", appended=plain()).replace(b'offset="0"', b""), "offset"),
        (image(format="appended", appended=plain()).replace(b">_", b">x"), "does not begin with _"),
        # Compressed data
        (image(file=ZLIB, data=inline(blocks(2**60, 32, 0))), "the file has at most"),
        (image(file=ZLIB, data=inline(blocks(2**63, 2**63, 2**63))), "the file has at most"),
        (image(file=ZLIB, data=inline(blocks(1, 0, 0, 8))), "1 blocks have 0 bytes"),
        (image(file=ZLIB, data=inline(blocks(0, 32, 32))), "0 blocks"),
        (image(file=ZLIB, data=inline(blocks(1, 32, 33, 8))), "1 blocks have 33 bytes"),
        (image(file=ZLIB, data=inline(blocks(1, 32, 0, 2**63))), "the file has at most 0"),
        (image(file=ZLIB, data=inline(blocks(1, 32, 0, len(SQUEEZED)), SQUEEZED)), ""),
        (image(file=ZLIB, data=inline(blocks(1, 2**40, 32, len(SQUEEZED)), SQUEEZED)), ""),
        (image(file=ZLIB, data=inline(blocks(1, 32, 0, 8), SQUEEZED)), "a block has"),
        (image(file=ZLIB, data=inline(blocks(1, 32, 0, len(SQUEEZED)), SQUEEZED[:-1] + b"?")),
         "incorrect data check"),
        (image(file=ZLIB, data=inline(blocks(1, 32, 0, 40), b"x" * 40)), "incorrect header"),
        (image(file=ZLIB, data=inline(blocks(1, 32, 0, 20), zlib.compress(bytes(10**6))[:20])),
         "a block has not ended after 32 bytes"),
        (image(file=ZLIB, whole="0 99999999 0 0 0 0", format="appended",
               appended=blocks(1, 4 * 10**8, 0, 9, data=b"123456789")), "more than compression"),
        (image(file='compressor="vtkLZ4DataCompressor"',
               data=inline(blocks(1, 32, 0, 9), b"\xff" * 9)),
         "no LZ4 data"),
        (image(file='compressor="vtkLZMADataCompressor"',
               data=inline(blocks(1, 32, 0, 9), b"\xff" * 9)), "a block has 0 bytes"),
    ],
)  # fmt: skip
def test_a_hostile_image(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "a.vti"
    path.write_bytes(data)
    message = outcome(path)
    assert re.search(expected, message), message
    assert bool(message) == bool(expected) or "|" in expected
    assert "a.vti" in message or not message
    assert list(tmp_path.iterdir()) == [path]


def test_two_pieces_that_overlap_hide_a_hole(tmp_path: Path) -> None:
    """What no piece has would be whatever was in memory before."""
    half = image(whole="0 2 0 1 0 1", piece="0 1 0 1 0 1", data=inline(plain()))
    start, end = half.index(b"<Piece"), half.index(b"</ImageData>")
    (tmp_path / "a.vti").write_bytes(half[:end] + half[start:end] + half[end:])
    assert "do not make up WholeExtent" in outcome(tmp_path / "a.vti")


def test_constant_volumes_are_no_bombs(tmp_path: Path) -> None:
    """Zeros compress a thousand to one; what is refused is more than deflate can do."""
    path = tmp_path / "a.vti"
    path.write_bytes(bomb(4_000_000))
    assert path.stat().st_size < 20_000
    assert outcome(path) == ""
