"""Which voxels the prior is learned from, and coordinates of voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .config import PretrainConfig
from .hashing import fingerprint
from .layout import BrickLayout
from .series import Progress, Range, Series


def coordinates(index: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Voxel numbers ``(…)`` (x fastest) in a brick of ``shape`` (nz, ny, nx) as ``(…, 3)``.

    x, y, z, float32, from -1 to 1 along each axis; 0 along an axis of one voxel.
    """
    nz, ny, nx = shape
    rest = torch.div(index, nx, rounding_mode="floor")
    axes = (index - rest * nx, rest % ny, torch.div(rest, ny, rounding_mode="floor"))
    columns = [
        axis.to(torch.float32) * (2 / (n - 1)) - 1 if n > 1 else torch.zeros(axis.shape)
        for axis, n in zip(axes, (nx, ny, nz), strict=True)
    ]
    return torch.stack([c.to(index.device) for c in columns], dim=-1)


@dataclass(frozen=True)
class TaskSamples:
    """The voxels kept of every task; a task is one brick of one time step.

    ``index`` ``(tasks, n)`` int32: voxel numbers in the brick; ``values``
    ``(tasks, n, components)`` float32, normalised to [-1, 1] by ``value_range``.
    """

    index: Tensor
    values: Tensor
    brick_shape: tuple[int, int, int]
    value_range: Range
    voxel_share: float

    def fingerprint(self) -> str:
        return fingerprint(self.index.numpy(), self.values.numpy(), list(self.brick_shape))


def draw_samples(
    series: Series, layout: BrickLayout, config: PretrainConfig, progress: Progress
) -> TaskSamples:
    """Reads every ``lambda_t``-th step of a series and keeps the configured share of its voxels.

    The value range is that of the kept voxels. One step is in memory at a time, and of each only
    the kept voxels stay.
    """
    generator = torch.Generator().manual_seed(config.seed)
    steps = range(0, len(series), config.lambda_t)
    indices: list[Tensor] = []
    kept: list[np.ndarray] = []
    for count, step in enumerate(steps):
        progress(count / len(steps), f"sampling step {step + 1} of {len(series)}")
        bricks = layout.split(series.read(step))
        index = _draw_indices(layout, config, generator)
        rows = np.arange(layout.bricks)[:, None]
        kept.append(bricks[rows, index.numpy()])
        indices.append(index)
    values = np.concatenate(kept)
    value_range = Range.of(values)
    centre, half = value_range.scale()
    normalised = torch.from_numpy((values - centre) / half)
    # Voxels that neighbouring bricks share are counted once: no more than the series has.
    share = min(1.0, values[..., 0].size / (series.grid.voxels * len(series)))
    return TaskSamples(torch.cat(indices), normalised, layout.brick_shape, value_range, share)


def _draw_indices(
    layout: BrickLayout, config: PretrainConfig, generator: torch.Generator
) -> Tensor:
    """Voxel numbers ``(bricks, n)``, int32, each brick's own."""
    shape = layout.brick_shape
    voxels = int(np.prod(shape))
    if config.sampling == "lattice":
        axes = (np.arange(0, n, config.lambda_s) for n in shape)
        lattice = np.ravel_multi_index(tuple(np.meshgrid(*axes, indexing="ij")), shape)
        return torch.from_numpy(lattice.ravel().astype(np.int32)).repeat(layout.bricks, 1)
    fraction = config.fraction or 1 / config.lambda_s**3
    count = max(1, round(fraction * voxels))
    if count == voxels:
        return torch.arange(voxels, dtype=torch.int32).repeat(layout.bricks, 1)
    draws = [_choose(voxels, count, generator) for _ in range(layout.bricks)]
    return torch.stack(draws).to(torch.int32)


def _choose(voxels: int, count: int, generator: torch.Generator) -> Tensor:
    """``count`` distinct voxel numbers, sorted; sparse draws make no permutation of them all."""
    if count * 4 > voxels:
        return torch.randperm(voxels, generator=generator)[:count].sort().values
    chosen: Tensor = torch.empty(0, dtype=torch.int64)
    while chosen.numel() < count:
        more = torch.randint(voxels, (count - chosen.numel() + 16,), generator=generator)
        chosen = torch.cat([chosen, more]).unique()
    drop = torch.randperm(chosen.numel(), generator=generator)[:count]
    return chosen[drop].sort().values
