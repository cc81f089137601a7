"""Series files made to cost as much as they can: CPU seconds and memory of reading each.

    .venv/bin/python tests/reliability/series_bombs.py --work /dev/shm/bombs

Each is read in a process of its own. Memory is what that process has had at most, beyond its start.
"""

from __future__ import annotations

import argparse
import lzma
import os
import shutil
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from metainr_core.errors import MetaINRError  # noqa: E402
from tests.core.hostile import ZLIB, blocks, image, inline, plain  # noqa: E402
from tests.reliability.fuzzing import peak_memory  # noqa: E402
from tests.reliability.series_inputs import read_all  # noqa: E402

_LZMA = ZLIB.replace("ZLib", "LZMA")
_ZEROS = 512 * 512 * 200


def _pvd(body: bytes) -> bytes:
    return b"<VTKFile><Collection>" + body + b"</Collection></VTKFile>"


def _zeros(compress: Callable[[bytes], bytes], compressor: str) -> bytes:
    packed = compress(bytes(4 * _ZEROS))
    data = blocks(1, 4 * _ZEROS, 0, len(packed), data=packed)
    return image(whole="0 511 0 511 0 199", file=compressor, format="appended", appended=data)


def _blocks(count: int, packed: bytes, size: int, compressor: str) -> bytes:
    sizes = struct.pack("<Q", len(packed)) * count
    data = blocks(count, size, 0, data=sizes + packed * count)
    whole = f"0 {count * size - 1} 0 0 0 0"
    made = image(whole=whole, file=compressor, format="appended", appended=data)
    return made.replace(b"Float32", b"Int8")


def _large_dictionary() -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 64 << 20}]
    return lzma.compress(bytes(8), check=lzma.CHECK_NONE, filters=filters)


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "99,000 time steps": (
        "a.pvd",
        lambda: _pvd(
            b"".join(b'<DataSet timestep="%d" file="good.vti"/>' % n for n in range(99_000))
        ),
    ),
    "a million attributes": (
        "a.pvd",
        lambda: _pvd(
            b"".join(
                b"<a %s/>" % b" ".join(b'a%d_%d=""' % (m, n) for n in range(50_000))
                for m in range(20)
            )
        ),
    ),
    "90,000 arrays": (
        "a.vti",
        lambda: image().replace(
            b"<DataArray",
            b"".join(b'<DataArray type="Int8" Name="%d"/>' % n for n in range(90_000))
            + b"<DataArray",
        ),
    ),
    "100 MB of line breaks": ("a.vti", lambda: image(data=b"\n" * 100_000_000)),
    "50 million numbers as text": (
        "a.vti",
        lambda: image(
            whole="0 367 0 367 0 367", format="ascii", data=b"0 " * 368**3
        ).replace(b"Float32", b"Float64"),
    ),
    "20,000 blocks of a byte": ("a.vti", lambda: _blocks(20_000, zlib.compress(b"\0"), 1, ZLIB)),
    "2,000 dictionaries of 64 MB": ("a.vti", lambda: _blocks(2000, _large_dictionary(), 8, _LZMA)),
    "52 million zeros, zlib": ("a.vti", lambda: _zeros(lambda d: zlib.compress(d, 9), ZLIB)),
    "1 MB of empty lists": ("dataset.json", lambda: b"[" + b"[]," * 340_000 + b"[]]"),
    "2.7 million columns": ("data.csv", lambda: b"FILE" + b",aa" * 2_700_000),
    "4,000 rows of 1,000 cells": (
        "data.csv",
        lambda: (
            b"".join(b"c%d," % n for n in range(999)) + b"FILE\n" + (b"a," * 999 + b"x\n") * 4000
        ),
    ),
    "5,000 members": (
        "data.csv",
        lambda: b"name,FILE\n" + b"".join(b"%d,good.vti\n" % n for n in range(5000)),
    ),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, best in memory")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    (options.work / "good.vti").write_bytes(image(data=inline(plain())))
    read_all(options.work / "good.vti")  # what has to be imported, is
    (options.work / "data.csv").write_text("FILE\ngood.vti\n")
    read_all(options.work / "data.csv")
    print("| file | its size | CPU | memory | 4 × size + 200 MB | outcome |")
    print("|---|---|---|---|---|---|", flush=True)
    for name, (file, make) in BOMBS.items():
        path = options.work / file
        path.write_bytes(make())
        if child := os.fork():
            os.waitpid(child, 0)
            path.unlink()
            continue
        print(_row(name, path), flush=True)
        os._exit(0)
    return 0


def _row(name: str, path: Path) -> str:
    size, before = path.stat().st_size, peak_memory(reset=True)
    start = time.process_time()
    try:
        read_all(path)
        outcome = "read"
    except MetaINRError:
        outcome = "refused"
    seconds, memory = time.process_time() - start, peak_memory() - before
    allowed = f"{(4 * size + 2e8) / 1e6:.0f} MB"
    sizes = f"{size / 1e6:.2f} MB | {seconds:.2f} s | {memory / 1e6:.0f} MB | {allowed}"
    return f"| {path.suffix}: {name} | {sizes} | {outcome} |"


if __name__ == "__main__":
    sys.exit(main())
