"""Guaranteed errors: what a decoded step lacks of its original, to a bound.

A residual is coded in steps of about twice the bound, from coarse to fine: every second value along
an axis is predicted from its two neighbours there, and the difference coded with one of a few
tables, chosen by how large the values around are. All that decoding repeats is arithmetic element
by element, exact by IEEE 754: every machine decodes the same bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence

import constriction
import numpy as np

from .errors import DAMAGE, ArchiveError, SettingsError

_Categorical, _Uniform = constriction.stream.model.Categorical, constriction.stream.model.Uniform
_Encoder, _Decoder = constriction.stream.queue.RangeEncoder, constriction.stream.queue.RangeDecoder

# Of all: CRC32 of what follows, dims, size of a step. Of a slab: bytes of tables, words of code,
# whether it holds differences.
_HEADER, _SLAB = struct.Struct("<I4Id"), struct.Struct("<II?")
_SLAB_VALUES = 1 << 21  # coded at once, to save memory
# Of the symbols 64 are one number each, the others an eighth of an octave. Numbers stay below 2^28:
# a step is far above the rounding of the largest value, and the coder takes 24 bits at once.
_TABLES, _SYMBOLS, _PLAIN = 8, 240, 64
# Probabilities by table entry, powers of the fourth root of a half. Entry 0: does not occur.
_POWERS = np.cumprod(np.full(256, 0.8408964152537145))[::-1]


def compress(original: np.ndarray, decoded: np.ndarray, bound: float, slack: float = 0.0) -> bytes:
    """What added to ``decoded`` is within ``bound`` of ``original`` everywhere, checked here.

    ``original``, ``decoded``: ``(nz, ny, nx, components)`` float32, finite. ``bound``, ``slack``:
    data units. For every float32 array d within ``slack`` of ``decoded``, ``d + decompress(...)``
    in float32 is within ``bound`` of ``original``. Raises SettingsError when the bound is too
    small for that.
    """

    def residual(part: slice) -> np.ndarray:
        return original[part].astype(np.float64) - decoded[part]

    parts = list(_slabs(original.shape))
    largest = float(np.max([np.abs(original[p]).max() for p in parts])) + bound
    missing = float(np.max([np.abs(residual(p)).max() for p in parts])) + bound
    if not (largest < 3e38 and missing < 3e38):
        raise SettingsError(
            f"the largest error {bound:g} cannot be kept for values up to {largest:g} decoded"
            f" {missing:g} off; expected finite numbers below 3e38"
        )
    rounding, own = (float(np.spacing(np.float32(v))) / 2 for v in (largest, missing))
    least = slack + rounding + 8 * own
    if not (bound > least and slack >= 0):
        raise SettingsError(
            f"the largest error is {bound:g}; expected above {least:g}, as decoding on another"
            f" machine may differ by {slack:g} and float32 rounds; allow a larger error"
        )
    allowed = (bound - slack - rounding) * (1 - 2.0**-40)
    step = 2 * (allowed - own) * (1 - 2.0**-20)
    for _ in range(4):  # the first is right, but for what nobody thought of
        body = b"".join(_pack(residual(p) / step) for p in parts)
        head = _HEADER.pack(0, *original.shape, step)[4:]
        data = struct.pack("<I", zlib.crc32(head + body)) + head + body
        found = decompress(data, original.shape)
        if all(
            np.abs((decoded[p] + found[p]).astype(np.float64) - original[p]).max() <= bound
            and np.abs(residual(p) - found[p]).max() <= allowed
            for p in parts
        ):
            return data
        step /= 2
    raise SettingsError(f"the largest error {bound:g} cannot be kept; allow a larger error")


def check(data: bytes | memoryview, shape: Sequence[int]) -> float:
    """Raises ArchiveError when a residual is not whole or of another shape; returns its step."""
    try:
        crc, *dims, step = _HEADER.unpack_from(data)
    except struct.error as error:
        raise ArchiveError(f"the residual is damaged: {error}; encode again") from error
    if tuple(dims) != tuple(shape):
        raise ArchiveError(
            f"the residual has dims {tuple(dims)}; expected {tuple(shape)}; encode again"
        )
    if crc != zlib.crc32(memoryview(data)[4:]) or not 0 < step < np.inf:
        raise ArchiveError("the residual is damaged: its checksum is wrong; encode again")
    return float(step)


def decompress(data: bytes | memoryview, shape: Sequence[int]) -> np.ndarray:
    """The residual that ``compress`` made, ``shape`` = ``(nz, ny, nx, components)``, float32,
    data units. Raises ArchiveError when it is damaged or of another shape."""
    step = check(data, shape)
    try:
        result = np.empty(shape, np.float32)
        start = _HEADER.size
        for part in _slabs(shape):
            values, start = _unpack(data, start, result[part].shape)
            with np.errstate(over="ignore"):
                result[part] = values * step
            if not np.isfinite([result[part].min(), result[part].max()]).all():
                raise ValueError("it is not finite")
    except (*DAMAGE, AssertionError, struct.error, zlib.error) as error:
        raise ArchiveError(f"the residual is damaged: {error}; encode again") from error
    return result


def resample(residual: np.ndarray, positions: Sequence[np.ndarray]) -> np.ndarray:
    """Linear interpolation of ``(nz, ny, nx, components)`` float32 at a tensor grid of positions.

    ``positions``: voxel indices along x, y, z, float64, as ``decode_grid`` takes; clamped to the
    grid. Whole positions give the stored bits.
    """
    # What shrinks goes first, to save memory.
    for axis in sorted(range(3), key=lambda a: positions[2 - a].size / residual.shape[a]):
        last = residual.shape[axis] - 1
        where = np.clip(positions[2 - axis], 0, last)
        low = where.astype(np.intp)
        share = (where - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
        values = residual.take(low, axis)
        if share.any():
            values += share * (residual.take(np.minimum(low + 1, last), axis) - values)
        residual = values
    return residual


def _slabs(shape: Sequence[int]) -> Iterator[slice]:
    """Runs of z."""
    height = max(1, _SLAB_VALUES // (shape[1] * shape[2] * shape[3]))
    return (slice(z, min(z + height, shape[0])) for z in range(0, shape[0], height))


def _shifted(a: np.ndarray, axis: int, by: int) -> np.ndarray:
    """``a[i + by]`` along the axis, clamped."""
    return a.take(np.clip(np.arange(a.shape[axis]) + by, 0, a.shape[axis] - 1), axis)


def _phases(shape: Sequence[int]) -> int:
    return 1 + 3 * (max(shape[:3]) - 1).bit_length()


_Code = Callable[[int, tuple[slice, ...], np.ndarray, np.ndarray], np.ndarray]


def _walk(shape: Sequence[int], code: _Code) -> np.ndarray:
    """Values, in steps, float64, made from coarse to fine of what ``code`` returns for
    ``(phase, where, sum of two neighbours, size of the values around)``."""
    values = np.zeros(shape)
    corner = (slice(1), slice(1), slice(1))
    values[corner] = code(0, corner, values[corner], values[corner])
    for phase in range(1, _phases(shape)):
        stride = 1 << (_phases(shape) - 1 - phase) // 3
        axis = 2 - (phase - 1) % 3  # z last, which is predicted best and half of all values
        if stride >= shape[axis]:
            continue
        steps = [stride if a > axis else 2 * stride for a in range(3)]
        coarse = values[tuple(slice(None, None, s) for s in steps)]
        size = np.abs(coarse)
        for across in (a for a in range(3) if a != axis):
            size = 2 * size + _shifted(size, across, 1) + _shifted(size, across, -1)
        firsts = [stride if a == axis else 0 for a in range(3)]
        where = tuple(slice(f, None, s) for f, s in zip(firsts, steps, strict=True))
        new = np.arange(values[where].shape[axis])
        near, size = ((a + _shifted(a, axis, 1)).take(new, axis) for a in (coarse, size))
        values[where] = code(phase, where, near, size)
    return values


def _predicted(share: np.int16, near: np.ndarray, whole: bool) -> np.ndarray:
    result = near * (float(share) / 1024)
    return np.rint(result) if whole else result


def _by_table(edges: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of values in the order of their tables, and how many have each."""
    table = np.searchsorted(edges, size.ravel().astype(np.float32)).astype(np.uint8)
    return np.argsort(table, kind="stable"), np.bincount(table, minlength=_TABLES)


def _differences(values: np.ndarray, whole: bool) -> tuple[np.ndarray, list[np.ndarray], list]:
    """Of every phase: share of the neighbours in a prediction, differences, sizes around."""
    shares = np.zeros(_phases(values.shape), "<i2")
    differences, sizes = [], []

    def code(
        phase: int, where: tuple[slice, ...], near: np.ndarray, size: np.ndarray
    ) -> np.ndarray:
        wanted = values[where]
        share = (wanted * near).sum() / max((near * near).sum(), 1e-9)
        shares[phase] = np.rint(1024 * np.clip(share, -1, 1))
        predicted = _predicted(shares[phase], near, whole)
        difference = np.rint(wanted - predicted)
        differences.append(difference.astype(np.int32).ravel())
        sizes.append(size.astype(np.float32).ravel())
        return predicted + difference

    _walk(values.shape, code)
    return shares, differences, sizes


def _pack(values: np.ndarray) -> bytes:
    """A slab, in steps: tables and code."""
    shares, differences, sizes = _differences(values, False)
    # Noise of many steps is coded better as differences along all three axes (Lorenzo).
    lorenzo = np.rint(values)
    whole = bool(np.abs(lorenzo).max() < 1 << 16)
    for axis in range(3):
        lorenzo = np.diff(lorenzo, axis=axis, prepend=0)
    bits = (np.log2(1 + 2 * np.abs(a)).sum() for a in (lorenzo, np.concatenate(differences)))
    if whole := whole and next(bits) < next(bits):
        shares, differences, sizes = _differences(lorenzo, True)
    every = np.concatenate(sizes)
    levels = np.arange(1, _TABLES) / _TABLES
    edges = np.quantile(every[:: 1 + every.size // (1 << 16)], levels).astype("<f4")
    counts = np.zeros(_TABLES * _SYMBOLS)
    phases = []
    for difference, size in zip(differences, sizes, strict=True):
        order, split = _by_table(edges, size)
        number = np.where(difference < 0, -2 * difference - 1, 2 * difference)[order]
        octave = np.frexp(np.maximum(number, _PLAIN).astype(np.float64))[1] - 1
        width = np.where(number < _PLAIN, 0, octave - 3)
        symbol = np.where(number < _PLAIN, number, 8 * (octave - 7) + _PLAIN + (number >> width))
        rows = np.repeat(np.arange(_TABLES) * _SYMBOLS, split)
        counts += np.bincount(rows + symbol, minlength=counts.size)
        phases.append((symbol.astype(np.int32), split, width, number & ((1 << width) - 1)))
    counts = counts.reshape(_TABLES, _SYMBOLS)
    share = np.maximum(counts, 1e-9) / np.maximum(counts.sum(1, keepdims=True), 1)
    entries = np.clip(256 + np.rint(4 * np.log2(share)), 1, 255)
    entries = np.where(counts > 0, entries, 0).astype(np.uint8)
    models = [_Categorical(_POWERS[row], perfect=False) for row in entries]
    encoder = _Encoder()
    for symbol, split, width, rest in phases:
        for model, part in zip(models, np.split(symbol, np.cumsum(split)[:-1]), strict=True):
            encoder.encode(part, model)
        for w in np.unique(width[width > 0]):
            encoder.encode(rest[width == w].astype(np.int32), _Uniform(1 << int(w)))
    tables = zlib.compress(entries.tobytes() + shares.tobytes() + edges.tobytes(), 9)
    words = encoder.get_compressed().astype("<u4")
    return _SLAB.pack(len(tables), words.size, whole) + tables + words.tobytes()


def _unpack(data: bytes | memoryview, start: int, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """A slab, in steps, float64, and where the next one starts."""
    length, words, whole = _SLAB.unpack_from(data, start)
    code_start = start + _SLAB.size + length
    end = code_start + 4 * words
    entries_size, phases = _TABLES * _SYMBOLS, _phases(shape)
    expected = entries_size + 2 * phases + 4 * (_TABLES - 1)
    tables = zlib.decompressobj().decompress(data[start + _SLAB.size : code_start], expected)
    if end > len(data) or len(tables) != expected:
        raise ArchiveError("the residual is damaged: it is too short; encode again")
    entries = np.frombuffer(tables, np.uint8, entries_size).reshape(_TABLES, _SYMBOLS)
    shares = np.frombuffer(tables, "<i2", phases, entries_size)
    edges = np.frombuffer(tables, "<f4", _TABLES - 1, entries_size + 2 * phases)
    models = [_Categorical(_POWERS[row], perfect=False) for row in entries]
    decoder = _Decoder(np.frombuffer(data, "<u4", words, code_start).astype(np.uint32))

    def code(
        phase: int, where: tuple[slice, ...], near: np.ndarray, size: np.ndarray
    ) -> np.ndarray:
        order, split = _by_table(edges, size)
        parts = [decoder.decode(m, int(n)) for m, n in zip(models, split, strict=True)]
        number = np.concatenate(parts)
        width = np.where(number < _PLAIN, 0, (number - _PLAIN) // 8 + 3)
        number = np.where(number < _PLAIN, number, (number % 8 + 8) << width)
        for w in np.unique(width[width > 0]):
            number[width == w] += decoder.decode(_Uniform(1 << int(w)), int((width == w).sum()))
        difference = np.empty(size.size)
        difference[order] = np.where(number & 1, -(number >> 1) - 1, number >> 1)
        return _predicted(shares[phase], near, whole) + difference.reshape(size.shape)

    values = _walk(shape, code)
    for axis in range(3) if whole else ():
        np.cumsum(values, axis=axis, out=values)
    return values, end
