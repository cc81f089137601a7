"""Evaluating bricks' networks on a grid, by threads of the library."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..series import Progress, no_progress
from ..siren import Siren
from .build import library
from .shape import Shape

_RUNNING, _FINISHED = 0, 1
_WAIT = 50  # milliseconds between calls of progress


@dataclass(frozen=True)
class BricksAlong:
    """The bricks along one axis of a grid of ``positions`` values.

    ``first``, ``count``, ``turn``: ``(bricks,)`` int32. A brick's values lie at ``first`` …
    ``first + count - 1``; bricks of one turn share no position. ``local``, ``share``: ``(bricks,
    longest count)`` float32, coordinates for the network and shares in the value.
    """

    positions: int
    first: np.ndarray
    count: np.ndarray
    turn: np.ndarray
    local: np.ndarray
    share: np.ndarray

    def part(self, bricks: np.ndarray) -> BricksAlong:
        """Of some of the bricks, by their places."""
        arrays = self.first, self.count, self.turn, self.local, self.share
        return BricksAlong(self.positions, *(a[bricks] for a in arrays))


class _Axis(ctypes.Structure):
    _fields_ = (
        *((n, ctypes.c_int) for n in ("bricks", "positions")),
        *((n, ctypes.c_void_p) for n in ("first", "count", "turn")),
        ("longest", ctypes.c_int),
        *((n, ctypes.c_void_p) for n in ("local", "share")),
    )

    @classmethod
    def of(cls, axis: BricksAlong) -> _Axis:
        bricks, longest = axis.local.shape
        first, count, turn = (a.ctypes.data for a in (axis.first, axis.count, axis.turn))
        local, share = axis.local.ctypes.data, axis.share.ctypes.data
        return cls(bricks, axis.positions, first, count, turn, longest, local, share)


class _DecodeJob(ctypes.Structure):
    _fields_ = (
        ("shape", Shape),
        ("axes", _Axis * 3),
        *((n, ctypes.c_void_p) for n in ("weights", "values")),
    )


class Decoding:
    """Values ``(nz, ny, nx, components)`` float32 that threads work on from now on.

    ``siren``: the networks of all bricks, x fastest; ``axes``: along x, y, z. ``dtype``: of the
    hidden products. ``background``: on Linux, all other work comes first. When nobody refers to it
    any more, the threads are stopped.
    """

    def __init__(
        self, siren: Siren, axes: Sequence[BricksAlong], dtype: torch.dtype, background: bool
    ):
        shape, weights = Shape.of(siren), siren.flat()
        z, y, x = (axis.positions for axis in reversed(axes))
        self._values = np.zeros((z, y, x, shape.components), np.float32)
        job = _DecodeJob(
            shape,
            (_Axis * 3)(*map(_Axis.of, axes)),
            weights.data_ptr(),
            self._values.ctypes.data,
        )
        functions = _functions()
        # Whoever waits takes part.
        threads = torch.get_num_threads() - (not background)
        handle = functions.metainr_decode_start(
            ctypes.byref(job), dtype == torch.bfloat16, threads, background
        )
        if not handle:
            raise MemoryError("not enough memory to decode")
        self._handle = handle
        # At exit too. The arrays stay until the threads have ended.
        arrays = (weights, axes, self._values)
        self._end = weakref.finalize(self, _end, functions.metainr_decode_end, handle, arrays)

    def done(self) -> bool:
        """Whether ``values`` has nothing to wait for."""
        fraction = ctypes.c_double()
        return _functions().metainr_decode_wait(self._handle, 0, ctypes.byref(fraction)) != _RUNNING

    def values(self, progress: Progress = no_progress) -> np.ndarray:
        """Waits for them; to be called once. Raises MemoryError, and what ``progress`` raises."""
        state, fraction, wait = _RUNNING, ctypes.c_double(), _functions().metainr_decode_wait
        try:
            while state == _RUNNING:
                progress(fraction.value, "decode")
                # ctypes lets other Python threads run meanwhile.
                state = wait(self._handle, _WAIT, ctypes.byref(fraction))
        finally:
            self._end()
        if state != _FINISHED:
            raise MemoryError("not enough memory for networks of this width on every core")
        return self._values


def _end(end: Callable[[int], None], handle: int, arrays: tuple[object, ...]) -> None:
    end(handle)


def _functions() -> ctypes.CDLL:
    functions = library()
    assert functions is not None
    functions.metainr_decode_start.restype = ctypes.c_void_p
    functions.metainr_decode_wait.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    functions.metainr_decode_end.argtypes = (ctypes.c_void_p,)
    functions.metainr_decode_end.restype = None
    return functions
