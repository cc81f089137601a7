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


class Settings(NamedTuple):
    """Of the optimizer, as ``optim.Descent`` has them."""

    muon: bool
    hidden: bool
    beta_1: float
    beta_2: float
    momentum: float


class _Shape(ctypes.Structure):
    _fields_ = (
        *((n, ctypes.c_int) for n in ("width", "hidden_layers", "components")),
        ("omega_0", ctypes.c_float),
    )

    @classmethod
    def of(cls, siren: Siren) -> _Shape:
        width, components = siren.weights[-1].shape[1:]
        return cls(width, len(siren.weights) - 2, components, siren.omega_0)


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
        ("shape", _Shape),
        ("settings", _Settings),
        *((n, ctypes.c_int) for n in ("networks", "minibatches", "batch")),
        ("samples", ctypes.c_int64),
        *((n, ctypes.c_void_p) for n in ("values", "points", "index")),
        ("index_stride", ctypes.c_int64),
        ("box", ctypes.c_int32 * 3),
        *((n, ctypes.c_void_p) for n in ("rates", "weights", "first", "second", "losses")),
        ("grid", _Grid),
    )


class _EvaluateJob(ctypes.Structure):
    _fields_ = (
        ("shape", _Shape),
        ("tiles", ctypes.c_int),
        ("box", ctypes.c_int32 * 3),
        *((n, ctypes.c_void_p) for n in ("network", "x", "y", "z", "weights", "values")),
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
    networks, samples = values.shape[:2]
    rows, minibatches, batch = index.shape
    losses = torch.empty(minibatches, networks)
    values, index, schedule = values.contiguous(), _int32(index), schedule.contiguous()
    points = None if points is None else _int32(points)
    nz, ny, nx = brick_shape
    job = _FitJob(
        _Shape.of(shape),
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
    _call("metainr_fit", job, dtype)
    return losses


def evaluate(
    siren: Siren, networks: Tensor, axes: tuple[Tensor, Tensor, Tensor], dtype: torch.dtype
) -> Tensor:
    """Values ``(tiles, nz, ny, nx, components)`` float32 on tensor grids.

    ``networks`` ``(tiles,)``: whose network evaluates a tile; ``axes``: the coordinates along
    x, y, z, ``(tiles, points)`` float32. ``dtype``: of the hidden products.
    """
    x, y, z = (a.contiguous() for a in axes)
    used, networks = networks.unique(return_inverse=True)
    weights, networks = siren.map(lambda t: t[used]).flat(), _int32(networks)
    shape = _Shape.of(siren)
    values = torch.empty(len(x), z.shape[1], y.shape[1], x.shape[1], shape.components)
    job = _EvaluateJob(
        shape,
        len(x),
        (ctypes.c_int32 * 3)(x.shape[1], y.shape[1], z.shape[1]),
        networks.data_ptr(),
        x.data_ptr(),
        y.data_ptr(),
        z.data_ptr(),
        weights.data_ptr(),
        values.data_ptr(),
    )
    _call("metainr_evaluate", job, dtype)
    return values


def _call(name: str, job: ctypes.Structure, dtype: torch.dtype) -> None:
    # ctypes lets other Python threads run meanwhile.
    work = getattr(library(), name)
    if not work(ctypes.byref(job), dtype == torch.bfloat16, torch.get_num_threads()):
        raise MemoryError("not enough memory for networks of this width on every core")


def _int32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.int32).contiguous()
