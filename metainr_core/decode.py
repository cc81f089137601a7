"""Evaluating networks on a grid, in chunks, straight into one array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .layout import Axis, BrickLayout
from .series import Progress, no_progress
from .siren import Siren

# Activations of one chunk: few enough to stay in a CPU's cache, enough to fill a GPU.
_ACTIVATIONS = {"cpu": 1 << 20, "cuda": 1 << 28}


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
    progress: Progress = no_progress,
) -> np.ndarray:
    """Values ``(nz, ny, nx, components)`` float32 at a tensor grid of positions.

    ``positions``: voxel indices along x, y, z, monotone, float64 (``Grid.index_coordinates``).
    ``centre``, ``half``: ``(components,)``; value = centre + half * network. The networks stay
    on their device; arithmetic is float32. Bricks without a position are not evaluated.
    """
    device = siren.weights[0].device
    scaled_half = torch.as_tensor(half, device=device)
    last_weight = siren.weights[-1] * scaled_half
    last_bias = siren.biases[-1] * scaled_half + torch.as_tensor(centre, device=device)
    siren = siren.with_tensors([*siren.tensors[:-2], last_weight, last_bias])

    shape = tuple(p.size for p in positions)[::-1]
    result = torch.from_numpy(np.zeros((*shape, siren.biases[-1].shape[2]), np.float32))
    width = siren.weights[0].shape[2]
    limit = max(_ACTIVATIONS.get(device.type, 1 << 20) // width, 1024)
    tiles = sorted(_tiles(layout, positions, limit), key=lambda tile: tile.shape)
    done = 0
    for group in _groups(tiles, limit):
        progress(done / result[..., 0].numel(), "decode")
        values = _evaluate(siren, group).cpu()
        for tile, block in zip(group, values, strict=True):
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
        done += len(group) * int(np.prod(group[0].shape))
    return result.numpy()


def _supports(axis: Axis, positions: np.ndarray, limit: int) -> list[list[_Support]]:
    """For each brick along the axis, its runs of positions, none longer than ``limit``."""
    result = []
    for brick in range(len(axis.starts)):
        share = axis.weights(brick, positions)
        inside = np.flatnonzero(share)
        local = axis.local(brick, positions).astype(np.float32)
        pieces = np.array_split(inside, -(-inside.size // limit)) if inside.size else []
        result.append([_Support(int(p[0]), local[p], share[p]) for p in pieces])
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
    for brick in range(layout.bricks):
        i, j, k = layout.position(brick)
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


def _evaluate(siren: Siren, tiles: Sequence[_Tile]) -> Tensor:
    """Values ``(tiles, nz, ny, nx, components)``; the same function as ``siren.forward``.

    On a tensor grid the first layer's phase is a sum of three small tables, one per axis, which
    saves making and multiplying coordinates.
    """
    device = siren.weights[0].device
    bricks = torch.tensor([t.brick for t in tiles], device=device)
    omega, count = siren.omega_0, len(siren.weights)
    single = siren.networks == 1 and len(tiles) == 1
    weights = siren.weights if single else [w[bricks] for w in siren.weights]
    biases = siren.biases if single else [b[bricks] for b in siren.biases]
    tables = []
    for axis in range(3):
        local = np.stack([t.supports[axis].local for t in tiles])
        phase = torch.as_tensor(local, device=device)[:, :, None] * weights[0][:, axis : axis + 1]
        tables.append(omega * phase)
    x, y, z = tables
    y = y + omega * biases[0]
    phase = (z[:, :, None] + y[:, None])[:, :, :, None] + x[:, None, None]
    hidden = phase.flatten(1, 3)
    for layer in range(1, count):
        hidden.sin_()
        if layer < count - 1:
            hidden = torch.baddbmm(omega * biases[layer], hidden, omega * weights[layer])
        else:
            hidden = torch.baddbmm(biases[layer], hidden, weights[layer])
    return hidden.unflatten(1, tiles[0].shape)
