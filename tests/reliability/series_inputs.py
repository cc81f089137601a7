"""Series files to begin with, and rules to make others that are wrong in places."""

from __future__ import annotations

import base64
import json
import lzma
import re
import struct
import zlib
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st

from metainr_core.series import open_series
from tests.core.hostile import VALUES, ZLIB, blocks, image, inline, plain

_NAMES = {"pvd": "a.pvd", "vti": "a.vti", "json": "dataset.json", "csv": "data.csv"}
# A file may name the same image many times; reading it again shows nothing new.
_STEPS = 5
_SQUEEZED = zlib.compress(VALUES)
_LZMA = 'compressor="vtkLZMADataCompressor"'
_LZ4 = 'compressor="vtkLZ4DataCompressor"'
_PVD = (
    '<?xml version="1.0"?><VTKFile type="Collection" version="0.1"><Collection>'
    '<DataSet timestep="0" part="0" file="good.vti"/><DataSet timestep="1.5" file="./good.vti"/>'
    "</Collection></VTKFile>"
)
_INDEX: dict[str, Any] = {"name": "n", "dims": [2, 2, 2], "vars": ["speed"], "total_samples": 2}


def prepare(reader: str, folder: Path) -> None:
    """What a file may name."""
    (folder / "speed").mkdir(parents=True)
    for number in (1, 2):
        (folder / "speed" / f"n-speed-{number}.raw").write_bytes(VALUES)
    for name in ("good.vti", "good_2.vti"):
        (folder / name).write_bytes(image(data=inline(plain())))
    (folder / "good.pvd").write_text(_PVD)
    if reader != "json":
        (folder / "dataset.json").write_text(json.dumps(_INDEX))


def put(reader: str, folder: Path, data: bytes) -> Path:
    """Writes an input to where it belongs."""
    path = folder / _NAMES[reader]
    path.write_bytes(data)
    return path


def read_all(path: Path) -> None:
    series = open_series(path)
    for step in range(min(len(series), _STEPS)):
        series.read(step)
    if len(series) <= _STEPS:
        series.scan()


def seeds(reader: str) -> list[bytes]:
    """Files of one kind that are right, each in another way."""
    if reader == "pvd":
        return [_PVD.encode(), _PVD.encode("utf-16"), _PVD.replace("good.vti", "a.pvd").encode()]
    if reader == "json":
        return [json.dumps(_INDEX).encode(), json.dumps({**_INDEX, "vars": ["..", "a"]}).encode()]
    if reader == "csv":
        return [
            b"Re,FILE\n1,good.vti\n2,good.pvd\n",
            b"name,time,FILE\na,0,good.vti\na,1,good_2.vti\nb,0,good*.vti\n",
            b'\xef\xbb\xbf"a b","FILE_x"\r\n"1,""2""\n",.\r\n',
        ]
    small = lzma.compress(VALUES)
    squeezed = blocks(1, 32, 0, len(_SQUEEZED), data=_SQUEEZED)
    right = plain()
    cells = image(data=inline(right)).replace(b"PointData", b"CellData")
    pieces = image(data=inline(right), whole="0 2 0 1 0 1", piece="0 1 0 1 0 1")
    start, end = pieces.index(b"<Piece"), pieces.index(b"</ImageData>")
    second = pieces[start:end].replace(b'"0 1 0 1 0 1"', b'"1 2 0 1 0 1"')
    return [
        image(data=inline(right)),
        cells.replace(b"0 1 0 1 0 1", b"0 2 0 2 0 2"),
        pieces[:end] + second + pieces[end:],
        image(format="ascii", data=b"1 2 3 4 5 6 7 8"),
        image(format="ascii", data=b"\n 1e3 -2.5 3 4\n5 6 7 0.008\n").replace(b"Float32", b"Int16"),
        image(format="appended", appended=right, array='NumberOfComponents="1"'),
        image(file=ZLIB, format="appended", appended=squeezed),
        image(file=ZLIB, data=inline(blocks(1, 64, 32, len(_SQUEEZED)), _SQUEEZED)),
        image(file=_LZMA, data=inline(blocks(1, 32, 0, len(small)), small)),
        image(file=_LZ4, data=inline(blocks(1, 32, 0, 34), b"\xf0\x11" + VALUES)),
        image(file='byte_order="BigEndian"', data=inline(struct.pack(">Q", 32), VALUES)),
        image(attributes='Direction="0 1 0 1 0 0 0 0 1" Spacing="1 2 3"', data=inline(right)),
    ]


_POOL = [
    b"", b"0", b"-1", b"1", b"2", b"4", b"33", b"1e999", b"nan", b"1 1 1", b"0 1 0 1 0 1", b"..",
    b"0 0 0 0 0 0", b"-1 1 0 3 0 0", b"2147483646", b"4294967296", b"9223372036854775808", b"/",
    b"good.vti", b"good.pvd", b"good*.vti", b"data.csv", b"raw", b"base64", b"ascii", b"binary",
    b"appended", b"UInt32", b"UInt64", b"BigEndian", b"Float64", b"Int8", b"Bit", b"String", b"a",
    b"vtkZLibDataCompressor", b"vtkLZMADataCompressor", b"vtkLZ4DataCompressor", b"&#10;", b"1.0",
    b"x" * 300,
]  # fmt: skip
_VALUE = re.compile(rb'(?<=[=:, \[]")[^"<]*(?=")|-?[0-9][0-9.eE+-]*')
_TAG = re.compile(rb"<[^<>]*>")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")


def mutated(data: bytes, random: Random) -> bytes:
    """``data`` with one change that leaves its syntax right: a value, a tag, a word of its data."""
    kind = random.choice((_VALUE, _VALUE, _VALUE, _TAG, _BASE64, _BASE64))
    places = list(kind.finditer(data))
    if not places:
        return data
    place, other = random.choice(places), random.choice(places)
    old = place[0]
    if kind is _VALUE:
        new = random.choice([random.choice(_POOL), other[0], old + b"0"])
    elif kind is _TAG:
        new = random.choice([b"", old + old, other[0], old[:-1] + b"/>", old[:1] + b"/" + old[1:]])
    else:
        new = _changed_words(old, random)
    return data[: place.start()] + new + data[place.end() :]


def _changed_words(text: bytes, random: Random) -> bytes:
    """Base64 of numbers, one of them another."""
    try:
        raw = bytearray(base64.b64decode(text))
    except ValueError:
        return text
    at = 8 * random.randrange(len(raw) // 8 + 1)
    number = random.choice([0, 1, 2, 8, 31, 32, 33, 2**31, 2**40, 2**63, 2**64 - 1])
    raw[at : at + 8] = struct.pack("<Q", number)
    return base64.b64encode(raw)


def strategy(reader: str) -> st.SearchStrategy[bytes]:
    """Files of one kind that are mostly right."""
    made = {"pvd": _pvds, "vti": _images, "json": _indices, "csv": _tables}[reader]()
    return st.one_of(made, st.builds(_changed, made, _CHANGES))


_CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(min_size=1, max_size=9)), max_size=4
)


def _changed(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """``data`` with bytes replaced, put in or taken out, or cut off."""
    for share, how, what in changes:
        place = int(share * len(data))
        if how == 0:
            data = data[:place] + what + data[place + len(what) :]
        elif how == 1:
            data = data[:place] + what + data[place:]
        elif how == 2:
            data = data[:place] + data[place + len(what) :]
        else:
            data = data[:place]
    return data


def mostly(right: Any, other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """``right``, or one time in eight something else."""
    return st.integers(0, 7).flatmap(lambda n: other if n == 7 else st.just(right))


_NUMBERS = st.one_of(
    st.integers(-3, 4),
    st.integers(),
    st.sampled_from([2**31 - 1, 2**31, 2**32, 2**53, 2**60, 2**63 - 1, 2**63, 2**64, 10**400]),
)
_FLOATS = st.one_of(
    _NUMBERS.map(str), st.floats().map(repr), st.sampled_from(["1_0", "", "x", "0x1", "1e999"])
)
_FILES = st.one_of(
    st.sampled_from(
        ["good.vti", "good.pvd", ".", "..", "", "a.pvd", "data.csv", "good*.vti", "/dev/zero", "**",
         "/**/*.vti", "./good.vti", "good.vti/", "[g]ood.vti", "dataset.json", "speed", "a\0.vti"]
    ),
    st.text(max_size=12),
)  # fmt: skip
_WORDS = st.one_of(st.text(max_size=8), st.sampled_from(["time", "name", "FILE", "nan", "Re"]))


def _escaped(text: str) -> str:
    table = {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\n": "&#10;"}
    return (
        "".join(table.get(c, c) for c in text if c >= " " or c == "\n")
        .encode("utf-8", "replace")
        .decode()
    )


def _pvds() -> st.SearchStrategy[bytes]:
    entry = st.builds(
        '<DataSet timestep="{}" part="{}" file="{}"/>'.format,
        st.integers(0, 9) | _FLOATS, mostly(0, st.just(1)),
        mostly("good.vti", _FILES.map(_escaped)),
    )  # fmt: skip
    body = st.lists(entry, max_size=4).map("".join)
    encodings = mostly("utf-8", st.sampled_from(["utf-16", "utf-16-be", "latin-1"]))
    return st.builds(
        lambda text, encoding: f"<VTKFile><Collection>{text}</Collection></VTKFile>".encode(
            encoding, "replace"
        ),
        body,
        encodings,
    )


def _indices() -> st.SearchStrategy[bytes]:
    leaves = st.one_of(_NUMBERS, st.floats(), st.text(max_size=5), st.none(), st.booleans(), _FILES)
    anything = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4), max_leaves=5)
    usual = {
        "name": st.just("n"),
        "dims": mostly([2, 2, 2], st.lists(_NUMBERS | st.floats(), max_size=4)),
        "vars": mostly(["speed"], st.lists(st.just("speed") | _FILES, max_size=2)),
        "total_samples": mostly(2, _NUMBERS),
    }
    right = st.fixed_dictionaries(usual)
    some = st.dictionaries(st.sampled_from(list(usual)), anything, max_size=1)
    return st.builds(lambda a, b: a | b, right, some).map(lambda data: json.dumps(data).encode())


def _tables() -> st.SearchStrategy[bytes]:
    cell = st.one_of(_WORDS, _FILES, _FLOATS, st.just('"'))
    quoted = cell.map(lambda text: '"' + text.replace('"', '""') + '"')
    file = mostly("good.vti", quoted | cell)
    rows = st.lists(st.builds("{},{}".format, quoted | cell, file), max_size=4)
    head = st.sampled_from(["Re,FILE", "time,FILE", "name,FILE", "FILE,FILE_2", "Time,FILE x"])
    return st.builds(
        lambda first, rest: "\n".join([first, *rest]).encode("utf-8", "surrogatepass"), head, rows
    )


def _images() -> st.SearchStrategy[bytes]:
    extents = st.lists(_NUMBERS, min_size=6, max_size=6).map(lambda n: " ".join(map(str, n)))
    words = st.lists(st.integers(0, 64) | st.integers(0, 2**64 - 1), min_size=3, max_size=6)
    payload = st.one_of(st.just(VALUES), st.just(_SQUEEZED), st.binary(max_size=80))
    data = st.one_of(
        st.just(inline(plain())),
        st.builds(lambda values, n: inline(plain(values, n)), payload, words.map(lambda w: w[0])),
        st.builds(lambda w, d: inline(struct.pack(f"<{len(w)}Q", *w), d), words, payload),
        st.just(inline(blocks(1, 32, 0, len(_SQUEEZED)), _SQUEEZED)),
        st.lists(_FLOATS, min_size=7, max_size=9).map(lambda n: " ".join(n).encode()),
    )
    numbers = st.lists(_FLOATS, min_size=3, max_size=3).map(" ".join)
    turns = st.lists(_FLOATS, min_size=9, max_size=9).map(lambda n: f'Direction="{" ".join(n)}"')
    attributes = st.builds(
        'Spacing="{}" Origin="{}" {}'.format,
        mostly("1 1 1", numbers),
        mostly("0 0 0", numbers),
        mostly("", turns),
    )
    return st.builds(
        lambda whole, piece, file, kind, **others: image(
            whole=whole, piece=piece, file=file, **others
        ).replace(b"Float32", kind),
        whole=mostly("0 1 0 1 0 1", extents),
        piece=mostly(None, extents),
        file=mostly("", st.sampled_from([ZLIB, _LZMA, _LZ4, 'byte_order="BigEndian"'])),
        kind=mostly(b"Float32", st.sampled_from([b"Float64", b"Int8", b"UInt64", b"Bit", b"x"])),
        attributes=attributes,
        array=mostly("", _NUMBERS.map(lambda n: f'NumberOfComponents="{n}"')),
        format=mostly("binary", st.sampled_from(["ascii", "appended"])),
        data=data,
        appended=st.none() | data | payload,
    )
