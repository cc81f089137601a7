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

# Voxels per task, at least, where the budget has as many.
TASK_VOXELS = 4096


def coordinates(index: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Voxel numbers ``(…)`` (x fastest) in a brick of ``shape`` (nz, ny, nx) as ``(…, 3)``.

    x, y, z, float32, from -1 to 1 along each axis; 0 along an axis of one voxel.
    """
    nz, ny, nx = shape
    rest = torch.div(index, nx, rounding_mode="floor")
    axes = (index - rest * nx, rest % ny, torch.div(rest, ny, rounding_mode="floor"))
    columns = [
        axis.to(torch.float32) * (2 / (n - 1)) - 1
        if n > 1
        else torch.zeros_like(axis, dtype=torch.float32)
        for axis, n in zip(axes, (nx, ny, nz), strict=True)
    ]
    return torch.stack(columns, dim=-1)


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

    A task is learned better from many voxels than many tasks from few: with ``random`` sampling
    a step's voxels come from as many randomly chosen bricks as can have ``TASK_VOXELS`` each, and
    no more voxels are kept than training will draw. The value range is that of the steps read;
    with ``lattice``, as published, that of the whole series.
    One step is in memory at a time, and of each only the kept voxels stay.
    """
    generator = torch.Generator().manual_seed(config.seed)
    steps = range(0, len(series), config.lambda_t)
    total = series.grid.voxels * len(series)
    draws = config.outer_steps * config.inner_steps * config.batch_size * (config.tasks or total)
    budget = int(min(config.fraction * total, draws) / len(steps))
    indices: list[Tensor] = []
    kept: list[np.ndarray] = []
    ranges: list[Range] = []
    for count, step in enumerate(steps):
        progress(count / len(steps), f"sampling step {step + 1} of {len(series)}")
        volume = series.read(step)
        ranges.append(Range.of(volume))
        if config.sampling == "lattice":
            bricks, index = _lattice(layout, config.lambda_s)
        else:
            bricks, index = _random(layout, budget, generator)
        kept.append(layout.split(volume)[bricks[:, None].numpy(), index.numpy()])
        indices.append(index)
    values = np.concatenate(kept)
    lattice = config.sampling == "lattice"
    value_range = series.value_range(progress) if lattice else Range.union(ranges)
    centre, half = value_range.scale()
    normalised = torch.from_numpy((values - centre) / half)
    # Bricks share voxels, so that a little more than all may have been counted.
    share = min(1.0, values[..., 0].size / total)
    return TaskSamples(torch.cat(indices), normalised, layout.brick_shape, value_range, share)


def _lattice(layout: BrickLayout, spacing: int) -> tuple[Tensor, Tensor]:
    """All bricks, and in each every ``spacing``-th voxel per axis, ``(bricks, n)`` int32."""
    axes = (np.arange(0, n, spacing) for n in layout.brick_shape)
    places = np.meshgrid(*axes, indexing="ij")
    lattice = np.ravel_multi_index(tuple(places), layout.brick_shape).ravel()
    index = torch.from_numpy(lattice.astype(np.int32))
    return torch.arange(layout.bricks), index.repeat(layout.bricks, 1)


def _random(layout: BrickLayout, budget: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some bricks, and voxels of each ``(bricks, n)`` int32, together about ``budget``."""
    voxels = int(np.prod(layout.brick_shape))
    count = min(max(budget // TASK_VOXELS, 1), layout.bricks)
    bricks = torch.randperm(layout.bricks, generator=generator)[:count].sort().values
    size = min(max(budget // count, 1), voxels)
    draws = [_choose(voxels, size, generator) for _ in range(count)]
    return bricks, torch.stack(draws).to(torch.int32)


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
