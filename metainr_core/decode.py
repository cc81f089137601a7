"""Evaluating networks on a grid, in chunks, straight into one array."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import fused
from .device import in_parts
from .layout import Axis, BrickLayout
from .series import Progress, no_progress
from .siren import Siren

# Of one chunk, where PyTorch evaluates: few enough to stay in a CPU's cache, enough to fill a GPU.
_ACTIVATIONS = {"cpu": 1 << 19, "cuda": 1 << 26}


@dataclass(frozen=True)
class _Support:
    """The run of positions along one axis that one brick contributes to."""

    first: int
    local: np.ndarray
    share: np.ndarray


@dataclass(frozen=True)
class _Tile:
    """A box of output values of one brick: its supports along x, y, z."""

    brick: int
    supports: tuple[_Support, _Support, _Support]

    @property
    def shape(self) -> tuple[int, int, int]:
        x, y, z = (s.local.size for s in self.supports)
        return z, y, x


@torch.no_grad()
def decode_grid(
    siren: Siren,
    layout: BrickLayout,
    positions: Sequence[np.ndarray],
    centre: np.ndarray,
    half: np.ndarray,
    dtype: torch.dtype = torch.float32,
    progress: Progress = no_progress,
) -> np.ndarray:
    """Values ``(nz, ny, nx, components)`` float32 at a tensor grid of positions.

    ``positions``: voxel indices along x, y, z, monotone, float64 (``Grid.index_coordinates``).
    ``centre``, ``half``: ``(components,)``; value = centre + half * network. The networks stay
    on their device; ``dtype`` is that of the hidden products. Bricks without a position are not
    evaluated.
    """
    if fused.serves(siren.weights[0].device, dtype):
        return start_grid(siren, layout, positions, centre, half, dtype).values(progress)
    siren = _in_units(siren, centre, half)
    device = siren.weights[0].device
    shape = tuple(p.size for p in positions)[::-1]
    result = torch.from_numpy(np.zeros((*shape, siren.biases[-1].shape[2]), np.float32))
    limit = max(_ACTIVATIONS[device.type] // siren.weights[0].shape[2], 1024)
    tiles = sorted(_tiles(layout, positions, limit), key=lambda tile: tile.shape)
    done = 0
    # While a GPU computes a group of tiles the one before is placed.
    waiting: list[_Arriving] = []
    for group in _groups(tiles, limit):
        progress(done / result[..., 0].numel(), "decode")

        def evaluate(part: slice, group: list[_Tile] = group) -> None:
            waiting.append(_Arriving(group[part], _evaluate(siren, group[part], dtype)))

        in_parts(len(group), len(group), evaluate, "bricks are decoded")
        while len(waiting) > 1:
            waiting.pop(0).place(result)
        done += len(group) * int(np.prod(group[0].shape))
    for arriving in waiting:
        arriving.place(result)
    return result.numpy()


@torch.no_grad()
def start_grid(
    siren: Siren,
    layout: BrickLayout,
    positions: Sequence[np.ndarray],
    centre: np.ndarray,
    half: np.ndarray,
    dtype: torch.dtype = torch.float32,
    background: bool = False,
) -> fused.Decoding:
    """What ``decode_grid`` does, by threads of the fused library, which has to serve."""
    pairs = zip(layout.axes, positions, strict=True)
    axes = [_bricks_along(axis, place) for axis, place in pairs]
    x, y, z = (np.flatnonzero(axis.count) for axis in axes)
    if x.size * y.size * z.size < layout.bricks:
        # Of a box or of few values most bricks are not needed, nor are copies of their networks.
        nx, ny, _ = (axis.count.size for axis in axes)
        bricks = torch.from_numpy((x + nx * (y[:, None] + ny * z[:, None, None])).ravel())
        siren = siren.map(lambda t: t[bricks])
        axes = [axis.part(own) for axis, own in zip(axes, (x, y, z), strict=True)]
    return fused.Decoding(_in_units(siren, centre, half), axes, dtype, background)


def _in_units(siren: Siren, centre: np.ndarray, half: np.ndarray) -> Siren:
    """Networks that give the data's units."""
    device = siren.weights[0].device
    scaled_half = torch.as_tensor(half, device=device)
    weight = siren.weights[-1] * scaled_half
    bias = siren.biases[-1] * scaled_half + torch.as_tensor(centre, device=device)
    return siren.with_tensors([*siren.tensors[:-2], weight, bias])


def _bricks_along(axis: Axis, positions: np.ndarray) -> fused.BricksAlong:
    none = _Support(0, np.zeros(0, np.float32), np.zeros(0))
    every = [runs[0] if runs else none for runs in _supports(axis, positions, positions.size)]
    first = np.array([s.first for s in every], np.int32)
    count = np.array([s.local.size for s in every], np.int32)
    local, share = (np.zeros((len(every), count.max()), np.float32) for _ in range(2))
    turn = np.zeros(len(every), np.int32)
    ends = [0] * len(every)  # of the turns
    for brick in np.argsort(first, kind="stable"):
        n = count[brick]
        local[brick, :n], share[brick, :n] = every[brick].local, every[brick].share
        turn[brick] = next(t for t, end in enumerate(ends) if end <= first[brick])
        ends[turn[brick]] = max(ends[turn[brick]], first[brick] + n)
    return fused.BricksAlong(positions.size, first, count, turn, local, share)


class _Arriving:
    """Values of some tiles on their way from the device."""

    def __init__(self, tiles: Sequence[_Tile], values: Tensor):
        self._tiles = tiles
        self._event: torch.cuda.Event | None = None
        self._values = values
        if values.device.type == "cuda":
            # Only pinned memory is copied to without waiting.
            self._values = torch.empty(values.shape, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def place(self, result: Tensor) -> None:
        """Writes the values, or their share in blended positions, to ``(nz, ny, nx, C)``."""
        if self._event is not None:
            self._event.synchronize()
        for tile, block in zip(self._tiles, self._values, strict=True):
            sx, sy, sz = tile.supports
            region = result[
                sz.first : sz.first + sz.local.size,
                sy.first : sy.first + sy.local.size,
                sx.first : sx.first + sx.local.size,
            ]
            if all((s.share == 1).all() for s in tile.supports):
                region.copy_(block)
            else:
                share = np.einsum("i,j,k->ijk", sz.share, sy.share, sx.share)
                region.addcmul_(block, torch.from_numpy(share.astype(np.float32))[..., None])


def _supports(axis: Axis, positions: np.ndarray, limit: int) -> list[list[_Support]]:
    """For each brick along the axis, its runs of positions, none longer than ``limit``."""
    result: list[list[_Support]] = [[] for _ in axis.starts]
    # Between its seams, and one interval further: those few are looked at closely.
    falling = positions[0] > positions[-1]
    order = positions[::-1] if falling else positions
    seams = np.array(axis.seams)
    first = np.searchsorted(order, np.concatenate([[-np.inf], seams]), side="left")
    last = np.searchsorted(order, np.concatenate([seams + 1, [np.inf]]), side="right")
    if falling:
        first, last = positions.size - last, positions.size - first
    for brick in np.flatnonzero(last > first):
        near = positions[first[brick] : last[brick]]
        share = axis.weights(brick, near)
        inside = np.flatnonzero(share)
        local = axis.local(brick, near).astype(np.float32)
        pieces = np.array_split(inside, -(-inside.size // limit)) if inside.size else []
        result[brick] = [_Support(int(first[brick] + p[0]), local[p], share[p]) for p in pieces]
    return result


def _tiles(layout: BrickLayout, positions: Sequence[np.ndarray], limit: int) -> Iterator[_Tile]:
    """Boxes of at most about ``limit`` values: whole rows where possible."""
    brick_z, brick_y, brick_x = layout.brick_shape
    spans = [  # as many values as a brick has along the axis at this resolution
        max(1, round(min(1.0, n / a.count) * p.size))
        for n, a, p in zip((brick_x, brick_y, brick_z), layout.axes, positions, strict=True)
    ]
    limits = [limit, max(1, limit // spans[0]), max(1, limit // (spans[0] * spans[1]))]
    x, y, z = (_supports(a, p, n) for a, p, n in zip(layout.axes, positions, limits, strict=True))
    used = [[i for i, runs in enumerate(along) if runs] for along in (z, y, x)]
    for k, j, i in itertools.product(*used):
        brick = i + len(x) * (j + len(y) * k)
        for sz in z[k]:
            for sy in y[j]:
                for sx in x[i]:
                    yield _Tile(brick, (sx, sy, sz))


def _groups(tiles: Sequence[_Tile], limit: int) -> Iterator[list[_Tile]]:
    """Runs of tiles of one shape, together at most about ``limit`` values."""
    group: list[_Tile] = []
    for tile in tiles:
        full = group and (len(group) + 1) * int(np.prod(tile.shape)) > limit
        if group and (full or tile.shape != group[0].shape):
            yield group
            group = []
        group.append(tile)
    if group:
        yield group


def _evaluate(siren: Siren, tiles: Sequence[_Tile], dtype: torch.dtype) -> Tensor:
    """Values ``(tiles, nz, ny, nx, components)``; the same function as ``siren.forward``.

    On a tensor grid the first layer's phase is a sum of three small tables, one per axis, which
    saves making and multiplying coordinates.
    """
    device = siren.weights[0].device
    bricks = torch.tensor([t.brick for t in tiles], device=device)
    local = [np.stack([t.supports[axis].local for t in tiles]) for axis in range(3)]
    axes = [torch.from_numpy(a).to(device) for a in local]
    omega = siren.omega_0
    single = siren.networks == 1 and len(bricks) == 1
    weights = siren.weights if single else [w[bricks] for w in siren.weights]
    biases = siren.biases if single else [b[bricks] for b in siren.biases]
    x, y, z = (
        omega * (local[:, :, None] * weights[0][:, axis : axis + 1])
        for axis, local in enumerate(axes)
    )
    y = y + omega * biases[0]
    phase = (z[:, :, None] + y[:, None])[:, :, :, None] + x[:, None, None]
    hidden = phase.flatten(1, 3)
    del phase  # its memory
    for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
        hidden = hidden.sin_().to(dtype)
        hidden = torch.baddbmm((omega * bias).to(dtype), hidden, (omega * weight).to(dtype))
    hidden = torch.bmm(hidden.sin_(), weights[-1].to(hidden.dtype)).float() + biases[-1]
    return hidden.unflatten(1, [a.shape[1] for a in reversed(axes)])
