"""The fast path on CPUs: a small C++ library that fits and evaluates many networks at once.

It is compiled from the sources in this folder when first used (a few seconds; the result is kept
in the user's cache folder), for the very processor it runs on. Without a C++ compiler everything
works through PyTorch, slower. ``siren.forward`` is the oracle that both are tested against.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor

from ..rounding import Rounding
from ..siren import Siren
from .build import library
from .decoding import BricksAlong, Decoding
from .shape import Shape

__all__ = ["BricksAlong", "Decoding", "Settings", "fit", "serves"]


class Settings(NamedTuple):
    """Of the optimizer, as ``optim.Descent`` has them."""

    muon: bool
    hidden: bool
    beta_1: float
    beta_2: float
    momentum: float


class _Settings(ctypes.Structure):
    _fields_ = (
        *((n, ctypes.c_int) for n in ("muon", "hidden")),
        *((n, ctypes.c_float) for n in ("beta_1", "beta_2", "momentum")),
    )


class _Grid(ctypes.Structure):
    _fields_ = (
        *((n, ctypes.c_void_p) for n in ("reference", "steps")),
        ("pull", ctypes.c_float),
    )


class _FitJob(ctypes.Structure):
    _fields_ = (
        ("shape", Shape),
        ("settings", _Settings),
        *((n, ctypes.c_int) for n in ("networks", "minibatches", "batch")),
        ("samples", ctypes.c_int64),
        *((n, ctypes.c_void_p) for n in ("values", "points", "index")),
        ("index_stride", ctypes.c_int64),
        ("box", ctypes.c_int32 * 3),
        *((n, ctypes.c_void_p) for n in ("rates", "weights", "first", "second", "losses")),
        ("grid", _Grid),
    )


def serves(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the library can be used for this device and format of products."""
    if device.type != "cpu" or (functions := library()) is None:
        return False
    bfloat16 = dtype == torch.bfloat16 and bool(functions.metainr_bfloat16())
    return dtype == torch.float32 or bfloat16


def fit(
    shape: Siren,
    weights: Tensor,
    moments: tuple[Tensor, Tensor],
    settings: Settings,
    values: Tensor,
    points: Tensor | None,
    brick_shape: tuple[int, int, int],
    index: Tensor,
    schedule: Tensor,
    dtype: torch.dtype,
    rounding: Rounding | None = None,
) -> Tensor:
    """Minibatch descent; what ``training.Trainer.run`` does, on its arrays, and returns.

    ``weights`` and ``moments``, ``(N, parameters)``, are updated in place. ``dtype``: of the
    hidden products, those of Muon included.
    """
    functions = library()
    assert functions is not None
    networks, samples = values.shape[:2]
    rows, minibatches, batch = index.shape
    losses = torch.empty(minibatches, networks)
    values, index, schedule = values.contiguous(), _int32(index), schedule.contiguous()
    points = None if points is None else _int32(points)
    nz, ny, nx = brick_shape
    job = _FitJob(
        Shape.of(shape),
        _Settings(*settings),
        networks,
        minibatches,
        batch,
        samples,
        values.data_ptr(),
        None if points is None else points.data_ptr(),
        index.data_ptr(),
        minibatches * batch if rows > 1 else 0,
        (ctypes.c_int32 * 3)(nx, ny, nz),
        schedule.data_ptr(),
        weights.data_ptr(),
        moments[0].data_ptr(),
        moments[1].data_ptr(),
        losses.data_ptr(),
        _Grid()
        if rounding is None
        else _Grid(rounding.reference.data_ptr(), rounding.steps.data_ptr(), rounding.pull),
    )
    # ctypes lets other Python threads run meanwhile.
    work = functions.metainr_fit
    if not work(ctypes.byref(job), dtype == torch.bfloat16, torch.get_num_threads()):
        raise MemoryError("not enough memory for networks of this width on every core")
    return losses


def _int32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.int32).contiguous()
