"""The values in a ``.vti`` file, decoded within the bounds of what the file can hold."""

from __future__ import annotations

import binascii
import lzma
import math
import warnings
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from . import lz4
from .memory import free_memory
from .vti_header import Piece, StoredArray, VtiHeader

# What deflate reaches at most. Of small files more is believed: it does no harm.
_MOST_RATIO = 1032
_SMALL = 150 << 20
_LONGEST_NUMBER = 100
_CHUNK = 3 << 20  # bytes; three are four characters of base64
_LZMA_MEMORY = 128 << 20


def read_values(file: BinaryIO, header: VtiHeader, association: str, name: str) -> np.ndarray:
    """One array as ``(nz, ny, nx, components)`` in its own dtype, native byte order.

    Raises ValueError with the reason when the file does not hold it or the memory cannot, OSError.
    """
    parts = [piece.arrays.get((association, name)) for piece in header.pieces]
    kinds = {(part.type, part.components) if part else None for part in parts}
    if len(kinds) != 1 or None in kinds:
        raise ValueError(f'array "{name}" is not the same in all pieces')
    if len(parts) == 1:
        return _read_piece(file, header, header.pieces[0], association, name)
    decoded = [_read_piece(file, header, p, association, name) for p in header.pieces]
    shape = (*header.grid(association).shape, decoded[0].shape[3])
    _check_memory(math.prod(shape) * decoded[0].itemsize)
    values = np.empty(shape, decoded[0].dtype)
    for piece, part in zip(header.pieces, decoded, strict=True):
        begin = [a - b for a, b in zip(piece.extent[::2], header.extent[::2], strict=True)]
        place = zip(begin[::-1], part.shape, strict=False)
        values[tuple(slice(a, a + n) for a, n in place)] = part
    return values


def _read_piece(
    file: BinaryIO, header: VtiHeader, piece: Piece, association: str, name: str
) -> np.ndarray:
    stored = piece.arrays[association, name]
    shape = (*header.grid(association, piece).shape, stored.components)
    count = math.prod(shape)
    try:
        if stored.format == "ascii":
            flat = _ascii(file, stored, count)
        else:
            flat = _binary(file, header, stored, count)
    except ValueError as error:
        raise ValueError(f'array "{name}": {error}') from error
    return flat.reshape(shape)


def _check_memory(needed: int) -> None:
    if needed > (free := free_memory()):
        raise ValueError(f"its values need {needed} bytes; {free} are free")


def _check_held(needed: int, held: int) -> None:
    if needed > held:
        raise ValueError(f"it needs {needed} bytes; the file has at most {held} for it")


def _ascii(file: BinaryIO, stored: StoredArray, count: int) -> np.ndarray:
    length = stored.end - stored.begin
    _check_held(2 * count - 1, length)  # a digit each, and blanks between them
    _check_memory(8 * count)
    values = np.empty(count, "u1" if stored.type == "bit" else stored.type)
    filled, rest, place = 0, b"", stored.begin
    while place < stored.end and filled < count:
        file.seek(place)
        text = file.read(min(_CHUNK, stored.end - place))
        place += len(text)
        # The last number may go on in the next part.
        words = (rest + text).rsplit(None, 1)
        ended = not text or text[-1:].isspace() or place == stored.end
        rest = b"" if ended else words.pop()
        if len(rest) > _LONGEST_NUMBER:
            raise ValueError("its text is not all numbers")
        part = _numbers(b" ".join(words), values.dtype)[: count - filled]
        values[filled : filled + part.size] = part
        filled += part.size
    if filled != count:
        raise ValueError(f"its text has {filled} numbers; it needs {count}")
    return values


def _numbers(text: bytes, kind: np.dtype[Any]) -> np.ndarray:
    if not text.strip():
        return np.empty(0, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what numpy once warned of, it now raises
            # Told how many to expect, numpy would make up those that are missing.
            return np.fromstring(text, kind, sep=" ")
    except (DeprecationWarning, ValueError):
        raise ValueError("its text is not all numbers") from None


def _binary(file: BinaryIO, header: VtiHeader, stored: StoredArray, count: int) -> np.ndarray:
    bits = stored.type == "bit"
    kind = np.dtype("u1" if bits else header.order + stored.type)
    needed = -(-count // 8) if bits else count * kind.itemsize
    encoded = stored.format == "binary" or header.appended_as == "base64"
    source = (_Base64 if encoded else _Raw)(file, stored.begin, stored.end)
    if header.compressor:
        data = _decompressed(source, header, needed)
    else:
        length = int(source.numbers(header.word, 1)[0])
        _check_held(needed, min(source.left, length))
        _check_memory(needed)
        data = np.empty(needed, np.uint8)
        source.fill(data)
    if bits:
        return np.unpackbits(data, count=count)
    values = data.view(kind)
    return values if kind.isnative else values.astype(kind.newbyteorder("="))


def _decompressed(source: _Raw, header: VtiHeader, needed: int) -> np.ndarray:
    """All blocks of a compressed array, as bytes."""
    blocks, length, last = (int(n) for n in source.numbers(header.word, 3))
    sizes = source.numbers(header.word, blocks)
    source.end_group()
    promised = (blocks - (last > 0)) * length + last
    if promised != needed or (last and not blocks):
        raise ValueError(f"its {blocks} blocks have {promised} bytes; it needs {needed}")
    _check_held(int(sizes.max(initial=0)), source.left)
    held = int(sizes.sum(dtype=np.uint64))
    _check_held(held, source.left)
    if needed > max(_MOST_RATIO * held, _SMALL):
        raise ValueError(f"it promises {needed} bytes from {held}: more than compression reaches")
    _check_memory(needed)
    decompress = _DECOMPRESSORS[header.compressor]
    data = np.empty(needed, np.uint8)
    for number, size in enumerate(sizes):
        part = data[number * length :][: last if last and number == blocks - 1 else length]
        decompress(source.read(int(size)), part)
    return data


def _zlib(data: bytes, target: np.ndarray) -> None:
    _fill(target, data, zlib.decompressobj())


def _lzma(data: bytes, target: np.ndarray) -> None:
    _fill(target, data, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY))


def _fill(target: np.ndarray, data: bytes, decompressor: Any) -> None:
    """In parts, for a block may be a whole volume, which should not be there twice."""
    place = 0
    try:
        while place < len(target):
            part = decompressor.decompress(data, min(_CHUNK, len(target) - place))
            if not part:
                raise ValueError(f"a block has {place} bytes; expected {len(target)}")
            target[place : place + len(part)] = np.frombuffer(part, np.uint8)
            place, data = place + len(part), getattr(decompressor, "unconsumed_tail", b"")
        # Only at the end is the checksum looked at.
        if not decompressor.eof and (decompressor.decompress(data, 1) or not decompressor.eof):
            raise ValueError(f"a block has not ended after {len(target)} bytes")
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(str(error)) from error


_DECOMPRESSORS: dict[str, Callable[[bytes, np.ndarray], None]] = {
    "zlib": _zlib,
    "lzma": _lzma,
    "lz4": lz4.decompress,
}


class _Raw:
    """Bytes of a file from ``begin`` on, one group after the other; ``end``: that of the file."""

    def __init__(self, file: BinaryIO, begin: int, end: int):
        self._file, self._place, self._end = file, begin, end

    @property
    def left(self) -> int:
        """How many bytes there can still be."""
        return self._end - self._place

    def read(self, count: int) -> bytes:
        """Raises ValueError when there are fewer."""
        _check_held(count, self.left)
        self._file.seek(self._place)
        data = self._file.read(count)
        self._place += count
        if len(data) != count:
            raise ValueError("the file ends early")
        return data

    def fill(self, data: np.ndarray) -> None:
        for begin in range(0, len(data), _CHUNK):
            part = data[begin : begin + _CHUNK]
            part[:] = np.frombuffer(self.read(len(part)), np.uint8)

    def numbers(self, kind: np.dtype[Any], count: int) -> np.ndarray:
        return np.frombuffer(self.read(count * kind.itemsize), kind)

    def end_group(self) -> None:
        """What follows is encoded on its own."""


class _Base64(_Raw):
    """The same of text in base64."""

    def __init__(self, file: BinaryIO, begin: int, end: int):
        super().__init__(file, begin, end)
        self._skip_blanks()
        self._rest = b""

    def _skip_blanks(self) -> None:
        while self._place < self._end:
            self._file.seek(self._place)
            text = self._file.read(min(_CHUNK, self._end - self._place))
            self._place += len(text) - len(text.lstrip())
            if not text or text.lstrip():
                return

    @property
    def left(self) -> int:
        return len(self._rest) + (self._end - self._place) // 4 * 3

    def read(self, count: int) -> bytes:
        _check_held(count, self.left)
        missing = max(count - len(self._rest), 0)
        self._file.seek(self._place)
        text = self._file.read(-(-missing // 3) * 4)
        self._place += len(text)
        data = self._rest + binascii.a2b_base64(text)
        # Characters that are none of base64 are left out by Python.
        if len(data) < count:
            raise ValueError("its data are no base64 text of that length")
        self._rest = data[count:]
        return data[:count]

    def end_group(self) -> None:
        self._rest = b""
