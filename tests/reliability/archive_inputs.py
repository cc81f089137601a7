"""Archives and priors to begin with, and rules to make others that are wrong in places.

An input's first byte picks the archive that it is put into, and how; the rest is the file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st

from metainr_core import Archive, Prior
from metainr_core.errors import DAMAGE, MetaINRError
from metainr_core.storage import _packed, _unpacked, file_checksum
from metainr_core.tensor_file import TensorFile
from metainr_core.verify import verify

_GOLDEN = Path(__file__).parents[1] / "golden"
# Each of another kind of weights or reference, or of an older format.
_ARCHIVES = [
    "format3/bricks", "format3/bound", "format3/previous_prior", "format3/ensemble",
    "format3/float16", "format3/constant", "format3/cells", "format2/prior", "format1/vectors",
]  # fmt: skip
_STEP = "run/step_000000.safetensors"
_SMALL = 4096  # values of a volume that is decoded as a whole
_LENGTH = struct.Struct("<Q")


def prepare(reader: str, folder: Path) -> None:
    """Copies of the archives."""
    for name in _ARCHIVES:
        place = folder / name.replace("/", "-")
        shutil.copytree(_GOLDEN / name, place / "run")


def put(reader: str, folder: Path, data: bytes) -> Path:
    """Puts an input into its archive, all else of which is as it was: the archive's path."""
    how = data[0] if data else 0
    name = _ARCHIVES[how % len(_ARCHIVES)]
    path = folder / name.replace("/", "-") / "run.minr"
    files = dict(_files(name))
    own = {"index": "run.minr", "prior": "run/prior.safetensors"}.get(reader, _STEP)
    files[own] = data[1:]
    if reader == "step" and how >= 128:
        # So that it is not refused for its hash alone.
        files["run.minr"] = told(files["run.minr"], data[1:])
    elif reader == "step":
        del files["run.minr"]
        path.unlink(missing_ok=True)
    for file, content in files.items():
        (path.parent / file).write_bytes(content)
    return path


@cache
def _files(name: str) -> dict[str, bytes]:
    """What an input may take the place of."""
    folder = _GOLDEN / name
    found = {"run.minr": folder.with_suffix(".minr"), _STEP: folder / Path(_STEP).name}
    found["run/prior.safetensors"] = folder / "prior.safetensors"
    return {file: path.read_bytes() for file, path in found.items() if path.exists()}


def told(index: bytes, step: bytes) -> bytes:
    """The index that says of its first step what this file is."""
    found = json.loads(index)
    found["steps"][0] |= {"sha256": hashlib.sha256(step).hexdigest(), "bytes": len(step)}
    return json.dumps(found).encode()


def read_all(path: Path) -> None:
    """As `info`, `verify`, Decode and the reader do; what one refuses does not keep the others off.

    Raises the last MetaINRError.
    """
    refused: list[MetaINRError] = []

    def tried(call: Callable[..., object], *arguments: Any) -> None:
        try:
            call(*arguments)
        except MetaINRError as error:
            if not str(error).isprintable():
                raise AssertionError(f"a message of several lines: {error!r}") from error
            refused.append(error)

    prior = path.with_suffix("") / "prior.safetensors"
    if prior.exists():
        tried(Prior.load, prior)
    archive = Archive.open(path)
    for name in ("records", "series_range", "members", "total_bytes", "ratio", "times"):
        getattr(archive, name)
    tried(archive.damaged)
    small = archive.grid.voxels * archive.components <= _SMALL
    for step in archive.steps[:2]:
        tried(_decoded, archive, step, None if small else (2, 2, 2))
    # The slowest: for one input in four.
    if len(archive.steps) < 10 and small and archive.total_bytes % 4 == 0:
        tried(verify, path)
    if refused:
        raise refused[-1]


def _decoded(archive: Archive, step: int, dims: tuple[int, int, int] | None) -> None:
    values = archive.decode(step, dims and archive.grid.resampled(dims))
    if not np.isfinite(values).all():
        raise AssertionError("decoded values are not finite")


def seeds(reader: str) -> list[bytes]:
    """Files that are right, of each archive, and for steps with and without the index."""
    own = {"index": "run.minr", "prior": "run/prior.safetensors"}.get(reader, _STEP)
    found = []
    for number, name in enumerate(_ARCHIVES):
        if own in _files(name):
            more = 128 + (number - 128) % len(_ARCHIVES)
            found += [bytes([n]) + _files(name)[own] for n in (number, more)]
    return found


_POOL: list[Any] = [
    0, 1, -1, 2, 3, 7, 64, 10**4, 2**16, 2**31 - 1, 2**31, 2**32, 2**53, 2**63, 2**64, 10**400, -7,
    0.0, 1e-320, 1e38, 1e308, float("nan"), float("inf"), True, False, None, "", "..", "../../x",
    "/etc/passwd", "a\0b", "a\nb", "\x1b]0;x\x07", "\ud800", "x" * 300, "prior", "previous", "none",
    "coded", "float16", "float32", "bf16", "cell", "point", [], {}, [0], [[]], {"a": 1},
]  # fmt: skip


def mutated(data: bytes, random: Random) -> bytes:
    """``data`` with one or a few changes that leave its syntax, sizes and checksums right."""
    for _ in range(random.choice((1, 1, 2, 4))):
        data = data[:1] + _once(data[1:], random)
    return data if random.randrange(16) else bytes([random.randrange(256)]) + data[1:]


def _once(data: bytes, random: Random) -> bytes:
    if random.randrange(12) == 0:
        return _cut(data, random)
    try:
        if data[:1] == b"{":
            return json.dumps(_changed(json.loads(data), random)).encode()
        return _changed_file(data, random)
    except (*DAMAGE, MetaINRError, struct.error, zlib.error):
        return _cut(data, random)


def _cut(data: bytes, random: Random) -> bytes:
    """Other bytes, some more, or fewer."""
    place = random.randrange(len(data) + 1)
    how = random.randrange(4)
    if how == 0:
        return data[:place]
    some = random.randbytes(random.choice((1, 1, 4, 8)))
    return data[:place] + some + data[place + (len(some) if how < 3 else 0) :]


def _changed_file(data: bytes, random: Random) -> bytes:
    """A safetensors file: its metadata, header or tensors, with what follows from that."""
    metadata, entries, body = parts(data)
    part = random.randrange(8)
    if part < 4:
        metadata = _changed(metadata, random)
    elif part < 7 and body:
        for _ in range(random.choice((1, 1, 8))):
            # What is first says how long the rest is.
            at = random.randrange(min(len(body), random.choice((8, 64, 10**9))))
            body[at] = random.choice((random.randrange(256), 0, 255, body[at] ^ 1))
    else:
        entries = _changed(entries, random)
    return joined(metadata, entries, body, keeps_sum=random.randrange(8) == 0)


def parts(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytearray]:
    """Of a file of ours: its metadata, the descriptions of its tensors, and their bytes."""
    (length,) = _LENGTH.unpack_from(data)
    entries = json.loads(data[8 : 8 + length])
    metadata = _unpacked(json.loads(entries.pop("__metadata__")["metainr"]))
    return metadata, entries, bytearray(data[8 + length :])


def joined(metadata: Any, entries: Any, body: bytes | bytearray, keeps_sum: bool = False) -> bytes:
    """The inverse of ``parts``, with the checksum that these tensors have."""
    if "sum" in metadata and not keeps_sum:
        metadata["sum"] = _sum(entries, body) or metadata["sum"]
    packed = "version" not in metadata or metadata["version"] == 3
    text = json.dumps(_packed(metadata) if packed else metadata)
    raw = json.dumps({"__metadata__": {"metainr": text}, **entries}).encode()
    return _LENGTH.pack(len(raw)) + raw + body


def _sum(entries: Any, body: bytes | bytearray) -> str:
    """The checksum that a file with these tensors should have, or nothing."""
    raw = json.dumps(entries).encode()
    try:
        return file_checksum(TensorFile(Path("x"), bytearray(_LENGTH.pack(len(raw)) + raw + body)))
    except MetaINRError:
        return ""


def _changed(value: Any, random: Random) -> Any:
    """A value of JSON with one entry somewhere inside it another one."""
    places = list(_places(value))
    if not places:
        return random.choice(_POOL)
    holder, key = random.choice(places)
    how = random.randrange(10)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, list):
        holder.insert(random.randrange(len(holder) + 1), holder[key])
    elif how == 2:
        other, name = random.choice(places)
        holder[key] = json.loads(json.dumps(other.get(name) if isinstance(other, dict) else 0))
    elif how == 3 and isinstance(holder[key], (int, float)):
        holder[key] = holder[key] * random.choice((2, -1, 1000, 0.5, 1e30)) + random.choice((0, 1))
    else:
        holder[key] = random.choice(_POOL)
    return value


def _places(value: Any) -> Any:
    """Each holder and key in it, at any depth."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(entries):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)


def strategy(reader: str) -> st.SearchStrategy[bytes]:
    """Files of one kind that are mostly right."""
    found = seeds(reader)
    return st.builds(
        lambda number, seed: mutated(found[number], Random(seed)),
        st.integers(0, len(found) - 1),
        st.integers(),
    )
