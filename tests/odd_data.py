"""Odd series, and what the core, the shell and ParaView answer: tests/RELIABILITY.md, "Odd data".

No VTK and no pytest is needed here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metainr_core.grid import Grid

SIZE = (8, 7, 6)
TURNED = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
MIRRORED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SHEARED = (1.0, 0.5, 0.0, 0.0, 1.0, 0.3, 0.0, 0.0, 2.0)
NAME = "a b/c \"ζ\" '%d' {x} ../y #1 <&> \n"
STEPS = 3


@dataclass(frozen=True)
class Case:
    """A series, and the answer to it.

    ``volumes``: ``(nz, ny, nx)`` or with components. ``refused``, ``warned``: regular expressions;
    a refusal names what is wrong and the cure, a warning what is lost, once for each command;
    ``by``: which of ``pretrain`` and ``encode`` give it. ``files``: whether .vti files can hold
    it (and it is not left to other tests to read them).
    """

    volumes: Sequence[np.ndarray]
    grid: Grid = field(default_factory=lambda: Grid(SIZE))
    times: Sequence[float] = (0.0, 1.0, 2.0)
    array: str = "speed"
    ignore: bool = False
    refused: str = ""
    warned: str = ""
    by: tuple[str, ...] = ("pretrain", "encode")
    files: bool = True


def wave(dims: Sequence[int] = SIZE, time: float = 0.0) -> np.ndarray:
    """``(nz, ny, nx)`` float64, within -1.5 to 1.5."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in dims[::-1]), indexing="ij")
    return np.sin(2 * x + 0.2 * time) * np.cos(1.5 * y) + 0.5 * z


WAVES = [wave(time=t) for t in range(STEPS)]
SINGLE = [w.astype(np.float32) for w in WAVES]


def scaled(factor: float, offset: float = 0.0, kind: str = "f8") -> list[np.ndarray]:
    return [(offset + factor * w).astype(kind) for w in WAVES]


def whole(kind: str) -> list[np.ndarray]:
    """The waves over nearly all of an integer type."""
    limits = np.iinfo(kind)
    low, high = float(limits.min), float(limits.max)
    return [(low + (0.02 + 0.32 * (w + 1.5)) * (high - low)).astype(kind) for w in WAVES]


def with_value(value: float) -> list[np.ndarray]:
    volumes = [w.copy() for w in SINGLE]
    volumes[1][2, 3, 4] = value
    return volumes


def on(grid: Grid) -> Case:
    return Case([wave(grid.dims, t).astype(np.float32) for t in range(STEPS)], grid)


def cases() -> dict[str, Case]:
    nonfinite = r"step 1 .*1 non-finite values \(first at x, y, z = \(4, 3, 2\)\); clean them or"
    large = r"too large for float32 networks.* scale them to below 1\.7e\+38 first"
    rounded = r"float32, as which it is taken, is off by up to .* % of its range"
    steps = [*SINGLE, *SINGLE]
    far = [s * np.float32(10 if n == 1 else 1) for n, s in enumerate(steps)]
    farther = [s * np.float32(1e5 if n == 1 else 1) for n, s in enumerate(steps)]
    kinds = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
    found = {
        "NaN": Case(with_value(math.nan), refused=nonfinite, by=("encode",)),
        "infinity": Case(with_value(-math.inf), refused=nonfinite, by=("encode",)),
        "NaN, replaced": Case(with_value(math.nan), ignore=True),
        "all NaN": Case([SINGLE[0] * np.nan], times=(0.0,), ignore=True, refused="all; nothing is"),
        "constant": Case([s * 0 + 5 for s in SINGLE]),
        "zero": Case([s * 0 for s in SINGLE]),
        "constant in space": Case([s * 0 + n for n, s in enumerate(SINGLE)]),
        "constant in time": Case(SINGLE[:1] * 3),
        "constant component": Case([np.stack([s, s * 0 + 3], -1) for s in SINGLE]),
        "1e-38": Case(scaled(1e-38)),
        "1e-44": Case(scaled(1e-44), warned=rounded),
        "1e38": Case(scaled(1e38)),
        "±3e38": Case(scaled(2e38, kind="f4"), refused=large),
        "1e300": Case(scaled(1e300), refused=large),
        **{np.dtype(kind).name: Case(whole(kind), files=kind in ("i1", "u8")) for kind in kinds},
        "int32 above 2^24": Case(scaled(500, 2e9, "i4"), warned=rounded),
        "float16": Case(scaled(1, kind="f2"), files=False),
        "bool": Case([w > 0 for w in WAVES], files=False),
        "complex": Case([w * 1j for w in WAVES], refused="is of type complex128", files=False),
        "texts": Case([w.astype("U4") for w in WAVES], refused="is of type <U4", files=False),
        "float64": Case(scaled(1)),
        "1e9 + a signal": Case(scaled(1, 1e9), warned=rounded),
        "a step ten times as large": Case(
            far, times=range(6), warned="times closer to their middle: such", by=("encode",)
        ),
        "a step 1e5 times as large": Case(
            farther, times=range(6), refused="times closer to their middle; pre", by=("encode",)
        ),
        "1×1×1": on(Grid((1, 1, 1))),
        "1×1×9": on(Grid((1, 1, 9))),
        "9×1×1": on(Grid((9, 1, 1))),
        "2×2×2": on(Grid((2, 2, 2))),
        "2-D": on(Grid((9, 8, 1))),
        "2-D cells": on(Grid((9, 8, 1), association="cell", flat=(False, False, True))),
        "1000×1×3": on(Grid((1000, 1, 3))),
        "spacing 1 : 10,000": on(Grid(SIZE, spacing=(1e-4, 1.0, 1.0))),
        "negative spacing": on(Grid(SIZE, spacing=(-0.5, 1.0, -2.0))),
        "turned": on(Grid(SIZE, direction=TURNED)),
        "mirrored": on(Grid(SIZE, direction=MIRRORED)),
        "sheared": on(Grid(SIZE, direction=SHEARED)),
        "extent from -5": on(Grid(SIZE, start=(-5, 3, 100))),
        "irregular times": Case(SINGLE, times=(-1e9, 0.125, 3e5)),
        "close times": Case(SINGLE, times=(1.0, 1.0 + 1e-12, 1.0 + 2e-12)),
        "unsorted times": Case(SINGLE, times=(2.0, 0.0, 1.0), refused="0.0 after 2.0; times must"),
        "equal times": Case(SINGLE, times=(0.0, 1.0, 1.0), refused="1.0 after 1.0; times must"),
        "a time of NaN": Case(SINGLE, times=(0.0, math.nan, 1.0), refused="nan after 0.0; times m"),
        "one step": Case(SINGLE[:1], times=(7.0,)),
        "an odd name": Case(SINGLE, array=NAME),
        "another shape": Case(
            [*SINGLE[:2], SINGLE[2][:5]], refused="step 2 .*all steps need one grid", files=False
        ),
    }  # fmt: skip
    return found


def psnr_of(original: np.ndarray, decoded: np.ndarray) -> float:
    """Peak signal-to-noise ratio over the original's own range, in dB, in float64 throughout."""
    original, decoded = (a.astype(np.float64).reshape(decoded.shape) for a in (original, decoded))
    flat = original.reshape(-1, original.shape[-1])
    width = float(np.ptp(flat, axis=0).max())
    error = float(np.max(np.abs(original - decoded)))
    if error == 0:
        return math.inf
    if width == 0:
        return -math.inf
    mean = float(np.mean(((original - decoded) / error) ** 2))  # no number here is out of range
    return 20 * math.log10(width / error) - 10 * math.log10(mean)


def settings() -> dict[str, Any]:
    """Of pretraining: enough to run every line, in hundredths of a second."""
    return {"outer_steps": 8, "inner_steps": 8, "tasks": 2, "batch_size": 64}
