"""Reading safetensors files that strangers may have written.

A file is read as a whole, not mapped: what is done to it meanwhile, as cutting it short, cannot
end the process. Its header has to describe exactly the bytes that follow, each of them once.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from .bounded_json import parse_json
from .errors import DAMAGE, MetaINRError
from .regular_file import open_regular

_LENGTH = 8
_MOST_HEADER = 1 << 26
_METADATA = "__metadata__"
_TYPES = {"F32": "<f4", "F16": "<f2", "U8": "u1"}


class TensorFile:
    """What a file holds: ``data``, all of it, and ``metadata``, texts by name.

    Raises MetaINRError when it is damaged.
    """

    def __init__(self, path: Path, data: bytearray):
        self.path, self.data = path, data
        try:
            header, self._start = _header(io.BytesIO(data), len(data))
            self._tensors = _checked(header, len(data) - self._start)
        except DAMAGE as error:
            raise damaged(path, error) from error
        self.metadata: dict[str, str] = header.get(_METADATA, {})

    @classmethod
    def read(cls, path: Path, *, linked: bool = True) -> TensorFile:
        """The file. Raises MetaINRError when it cannot be read or is damaged.

        ``linked``: a symbolic link is followed, as where people name a file themselves.
        """
        try:
            return cls(path, read_whole(path, linked=linked))
        except OSError as error:
            raise unreadable(path, error) from error

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.data)

    @property
    def names(self) -> list[str]:
        return sorted(self._tensors)

    def tensor(self, name: str, dtype: str, shape: Sequence[int] | None = None) -> np.ndarray:
        """A tensor of this type (``F32``, ``F16``, ``U8``) and shape (None: any), without a copy
        where that can be. Raises MetaINRError when it is another or missing."""
        if name not in self._tensors:
            raise MetaINRError(f"{self.path}: tensor {name} is missing")
        found, own, begin = self._tensors[name]
        if found != dtype or (shape is not None and own != list(shape)):
            if shape is None:
                raise MetaINRError(f"{self.path}: tensor {name} is {found}, not {dtype}")
            raise MetaINRError(
                f"{self.path}: tensor {name} is {found} {own};"
                f" the network needs {dtype} {list(shape)}"
            )
        count, start = math.prod(own), self._start + begin
        array = np.frombuffer(self.data, _TYPES[dtype], count, start) if count else np.empty(0)
        return np.require(array.astype(_TYPES[dtype], copy=False), None, "A").reshape(own)

    def any_tensor(self, name: str) -> np.ndarray:
        """A tensor as it is. Raises MetaINRError."""
        dtype = self._tensors[name][0]
        if dtype not in _TYPES:
            raise MetaINRError(f"{self.path}: tensor {name} is {dtype}")
        return self.tensor(name, dtype)


def read_texts(path: Path, *, linked: bool = True) -> dict[str, str]:
    """``TensorFile.metadata``, of which only the header is read. Raises MetaINRError."""
    try:
        with _opened(path, linked) as file:
            size = os.fstat(file.fileno()).st_size
            header, start = _header(file, size)
        _checked(header, size - start)
    except OSError as error:
        raise unreadable(path, error) from error
    except DAMAGE as error:
        raise damaged(path, error) from error
    return dict(header.get(_METADATA, {}))


def read_whole(path: Path, *, linked: bool = True) -> bytearray:
    """A file's bytes; no more than there were when it was opened. Raises OSError."""
    with _opened(path, linked) as file:
        data = bytearray(os.fstat(file.fileno()).st_size)
        if cast(io.BufferedReader, file).readinto(data) != len(data):
            raise OSError(None, "it was cut short while it was read")
    return data


def unreadable(path: Path, error: OSError) -> MetaINRError:
    if isinstance(error, FileNotFoundError):
        return MetaINRError(f"{path} does not exist")
    return MetaINRError(f"{path} cannot be read: {error.strerror or error}")


def damaged(path: Path, error: Exception) -> MetaINRError:
    return MetaINRError(f"{path} is damaged or no safetensors file: {error}")


def _opened(path: Path, linked: bool) -> AbstractContextManager[BinaryIO]:
    if not linked:
        refuse_link(path)
    return open_regular(path)


def refuse_link(path: Path) -> None:
    """Raises OSError: of an archive's own files none may lead out of its folder."""
    if path.is_symlink():
        raise OSError(
            None, "it is a symbolic link, which an archive's files may not be; copy the file here"
        )


def _header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors begin, in a file of so many bytes."""
    start = _LENGTH + int.from_bytes(file.read(_LENGTH), "little")
    if start > min(size, _MOST_HEADER):
        raise ValueError(f"its header ends at byte {start}, and the file has {size}")
    header = parse_json(file.read(start - _LENGTH))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    texts = header.get(_METADATA, {})
    if not isinstance(texts, dict) or not all(isinstance(t, str) for t in texts.values()):
        raise ValueError("its metadata are not texts")
    return header, start


def _checked(header: dict[str, Any], size: int) -> dict[str, tuple[str, list[int], int]]:
    """Type, shape and first byte of every tensor. Raises one of DAMAGE."""
    tensors, places = {}, []
    for name, entry in header.items():
        if name == _METADATA:
            continue
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [begin, end, *shape]
        if len(shape) > 8 or not all(type(n) is int and 0 <= n < 1 << 63 for n in numbers):
            raise ValueError(f"tensor {name!r} has shape {shape!r:.80}")
        known = _TYPES.get(dtype)
        if known and end - begin != math.prod(shape) * np.dtype(known).itemsize:
            raise ValueError(f"tensor {name!r} has {end - begin} bytes and shape {shape}")
        tensors[name] = dtype, shape, begin
        places.append((begin, end))
    last = 0
    for begin, end in sorted(places):
        if begin != last or end < begin:
            raise ValueError(f"a tensor has bytes {begin} to {end}; expected them from {last} on")
        last = end
    if last != size:
        raise ValueError(f"its tensors have {last} bytes, and {size} are there")
    return tensors
