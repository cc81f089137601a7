"""What others make of a series: SZ3 with an absolute error bound, ZFP with a fixed accuracy.

Both compress float32 blocks, each to one stream that is enough to restore it: every time step as
a block of its own (random access, as in an archive of networks), or the whole series as one block
of four axes (no random access). pip install pysz zfpy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metainr_core import Series

from .rate_plot import Point, front, range_width, score

BOUNDS = tuple(float(b) for b in np.geomspace(1e-4, 0.3, 16))
# SZ3's algorithms that predict. The first is its default: interpolation, or Lorenzo where that
# does better on a sample.
SZ3_ALGORITHMS = ("INTERP_LORENZO", "INTERP", "LORENZO_REG")
# What becomes a block, and the order of its axes, the slowest first: without t a step. "ty": the
# steps side by side along y. The first is the order of the files. SZ3 depends on the order (up to
# 5 dB with the short axis last), so several are tried.
LAYOUTS = {
    "per step": ("z,y,x", "y,x,z", "x,y,z"),
    "4-D": ("t,z,y,x", "z,y,x,t", "t,x,y,z", "y,x,z,t"),
    "all steps as 3-D": ("z,ty,x", "ty,x,z", "tx,y,z"),
}
# ZFP stays about ten times below its bound, and must first give up the mean of the values.
ZFP_SLACK = 1024.0


@dataclass(frozen=True)
class Codec:
    """``pack(block, bound)``: a float32 block of 3 or 4 axes to a stream, slowest axis first;
    ``unpack(stream, shape)`` back."""

    name: str
    pack: Callable[[np.ndarray, float], Any]
    unpack: Callable[[Any, tuple[int, ...]], np.ndarray]


def sz3(algorithm: str) -> Codec:
    """``algorithm``: one of ``SZ3_ALGORITHMS``."""
    from pysz import sz, szAlgorithm, szConfig, szErrorBoundMode

    def pack(block: np.ndarray, bound: float) -> np.ndarray:
        config = szConfig(*block.shape)
        config.errorBoundMode = szErrorBoundMode.ABS
        config.absErrorBound = bound
        config.cmprAlgo = getattr(szAlgorithm, algorithm)
        return sz.compress(block, config)[0]

    def unpack(stream: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return sz.decompress(stream, np.float32, shape)[0]

    return Codec(algorithm, pack, unpack)


def zfp() -> Codec:
    """With a header, so that the stream is enough."""
    import zfpy

    def pack(block: np.ndarray, bound: float) -> bytes:
        return zfpy.compress_numpy(block, tolerance=bound, write_header=True)

    def unpack(stream: bytes, shape: tuple[int, ...]) -> np.ndarray:
        return zfpy.decompress_numpy(stream).reshape(shape)

    return Codec("ZFP", pack, unpack)


def zfp_bounds(bounds: Sequence[float], width: float) -> list[float]:
    """ZFP rounds an absolute bound down to a power of two; those from the smallest of ``bounds``
    to ``ZFP_SLACK`` times the largest, relative to ``width``, the range of the series."""
    first = math.floor(math.log2(min(bounds) * width))
    last = math.floor(math.log2(ZFP_SLACK * max(bounds) * width))
    return [2.0**power / width for power in range(first, last + 1)]


def read_all(series: Series) -> np.ndarray:
    """``(steps, nz, ny, nx, components)`` float32."""
    return np.stack([series.read(step) for step in range(len(series))])


def arrange(block: np.ndarray, layout: str) -> np.ndarray:
    """A block ``(t, z, y, x)`` or ``(z, y, x)`` with the axes that ``layout`` names, in C order."""
    names = "tzyx"[-block.ndim :]
    order = [names.index(axis) for axis in layout.replace(",", "")]
    lengths = [math.prod(block.shape[names.index(a)] for a in group) for group in layout.split(",")]
    return np.ascontiguousarray(block.transpose(order)).reshape(lengths)


def restore(block: np.ndarray, layout: str, shape: tuple[int, ...]) -> np.ndarray:
    """``arrange`` undone; ``shape``: of the original block."""
    names = "tzyx"[-len(shape) :]
    order = [names.index(axis) for axis in layout.replace(",", "")]
    return block.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))


def measure(data: np.ndarray, codec: Codec, bounds: Sequence[float], layout: str) -> list[Point]:
    """One point per bound, relative to the range of the series. ``data`` as of ``read_all``.

    Every component is compressed on its own. Raises RuntimeError where an error is above its
    bound.
    """
    width = range_width(data)
    return [_point(data, codec, bound, layout, width) for bound in bounds]


def _point(data: np.ndarray, codec: Codec, bound: float, layout: str, width: float) -> Point:
    decoded = np.empty_like(data)
    total, seconds, restore_seconds = 0, 0.0, 0.0
    for component in range(data.shape[-1]):
        field = data[..., component]
        pieces = [field] if "t" in layout else list(field)
        blocks = [arrange(piece, layout) for piece in pieces]
        started = time.perf_counter()
        streams = [codec.pack(block, bound * width) for block in blocks]
        packed = time.perf_counter()
        again = [codec.unpack(s, b.shape) for s, b in zip(streams, blocks, strict=True)]
        restore_seconds += time.perf_counter() - packed
        seconds += packed - started
        total += sum(map(len, streams))
        again = [restore(a, layout, p.shape) for a, p in zip(again, pieces, strict=True)]
        decoded[..., component] = np.stack(again).reshape(field.shape)
    quality = score(data, decoded, width)
    # The last bits of float32 are not the coder's fault.
    slack = float(np.abs(data).max()) / width * float(np.finfo(np.float32).eps)
    if not quality["max_error"] <= bound * (1 + 1e-5) + slack:
        raise RuntimeError(
            f"{codec.name}: the largest error is {quality['max_error']:g} of the range, its bound"
            f" {bound:g}"
        )
    return Point(
        variant=f"{codec.name}, {layout}",
        ratio=data.nbytes / total,
        seconds=seconds,
        restore_seconds=restore_seconds,
        bound=bound,
        **quality,
    )


def curves(data: np.ndarray, bounds: Sequence[float] = BOUNDS) -> Iterator[tuple[str, list[Point]]]:
    """Label and points of each peer; those that others beat are among them.

    SZ3's default algorithm is tried in all layouts, the others in the first and in the one where
    the default did best.
    """
    for label, layouts in LAYOUTS.items():
        default, *others = (sz3(name) for name in SZ3_ALGORITHMS)
        tried = {layout: measure(data, default, bounds, layout) for layout in layouts}
        found = [p for points in tried.values() for p in points]
        best = front(found)
        favourite = max(layouts, key=lambda layout: sum(p in best for p in tried[layout]))
        for layout in dict.fromkeys((layouts[0], favourite)):
            found += [p for codec in others for p in measure(data, codec, bounds, layout)]
        yield f"SZ3 {label}", found
        if label in ("per step", "4-D"):  # ZFP's blocks of 4 voxels per axis know no order
            wide = zfp_bounds(bounds, range_width(data))
            yield f"ZFP {label}", measure(data, zfp(), wide, layouts[0])
