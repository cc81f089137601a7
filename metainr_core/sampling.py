"""Which voxels the prior and the fits are learned from, and coordinates of voxels."""

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
# Share of a fit's draws that go where the values change; the rest goes everywhere alike.
GRADIENT_SHARE = 0.5


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


def gradient_shares(values: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """How large a share of a fit's draws each voxel gets, ``(N, n)`` float32, rows adding to 1.

    ``values`` ``(N, n, components)`` of bricks of ``shape`` (nz, ny, nx). ``GRADIENT_SHARE`` of
    the draws follow the size of the local gradient, the root of the summed squares of all
    differences to the neighbours along the axes: a small part of the voxels, at fronts and
    shear layers, holds most of the squared error (examples/benchmarks/RESULTS.md).
    """
    bricks = values.unflatten(1, shape)
    squares = torch.zeros(bricks.shape[:-1], device=values.device)
    for axis in (1, 2, 3):
        steps = bricks.diff(dim=axis).square_().sum(-1)
        count = bricks.shape[axis]
        squares.narrow(axis, 0, count - 1).add_(steps)
        squares.narrow(axis, 1, count - 1).add_(steps)
    shares = squares.flatten(1).sqrt_()
    total = shares.sum(1, keepdim=True)
    # A brick without any gradient is drawn from evenly.
    shares.mul_(GRADIENT_SHARE / total.clamp_min(1e-30))
    return shares.add_((1 - shares.sum(1, keepdim=True)) / shares.shape[1])


def systematic_draws(shares: Tensor, order: Tensor, offset: float) -> Tensor:
    """Voxel numbers ``(N, draws)`` int32: voxel i about ``draws × shares[:, i]`` times.

    ``shares`` ``(N, n)``; ``order``, a permutation of the draws, is the same for all rows;
    ``offset`` in [0, 1) decides which voxels get the rounding (systematic resampling).
    """
    draws = len(order)
    edges = (shares.double().cumsum(1) * draws + offset).floor_().long()
    edges.clamp_(max=draws)
    edges[:, -1] = draws
    counts = edges.diff(dim=1, prepend=torch.zeros_like(edges[:, :1]))
    numbers = torch.arange(shares.shape[1], dtype=torch.int32, device=shares.device)
    size = draws * len(shares)
    sorted_draws = numbers.repeat(len(shares)).repeat_interleave(counts.flatten(), output_size=size)
    return sorted_draws.view(-1, draws)[:, order]


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
    """Reads every ``lambda_t``-th step of each member and keeps the share of voxels asked for.

    With ``random`` sampling the last step too where else only the first would be read: a prior
    of one step is worse for the others (examples/benchmarks/RESULTS.md).

    A task is learned better from many voxels than many tasks from few: with ``random`` sampling
    a step's voxels come from as many randomly chosen bricks as can have ``TASK_VOXELS`` each, and
    no more voxels are kept than training will draw. The value range is that of the steps read;
    with ``lattice``, as published, that of the whole series.
    One step is in memory at a time, and of each only the kept voxels stay.
    """
    generator = torch.Generator().manual_seed(config.seed)
    steps = [step for member in series.members for step in _read(member.steps, config)]
    total = series.grid.voxels * len(series)
    draws = config.outer_steps * config.inner_steps * config.batch_size * (config.tasks or total)
    budget = int(min(config.fraction * total, draws) / len(steps))
    index, values = torch.empty(0), np.empty(0)
    ranges: list[Range] = []
    for count, step in enumerate(steps):
        progress(count / len(steps), f"sampling step {step + 1} of {len(series)}")
        volume = series.read(step)
        ranges.append(Range.of(volume))
        if config.sampling == "lattice":
            bricks, drawn = _lattice(layout, config.lambda_s)
        else:
            bricks, drawn = _random(layout, budget, generator)
        tasks = len(bricks)
        if count == 0:
            # Every step gives as many. Of a long series they are large: no list to join.
            index = torch.empty((len(steps) * tasks, drawn.shape[1]), dtype=torch.int32)
            values = np.empty((*index.shape, series.components), np.float32)
        part = slice(count * tasks, (count + 1) * tasks)
        index[part] = drawn
        values[part] = layout.split(volume)[bricks[:, None].numpy(), drawn.numpy()]
        del volume  # before the next is read
    lattice = config.sampling == "lattice"
    value_range = series.value_range(progress) if lattice else Range.union(ranges)
    centre, half = value_range.scale()
    values -= centre
    values /= half
    # Bricks share voxels, so that a little more than all may have been counted.
    share = min(1.0, values[..., 0].size / total)
    return TaskSamples(index, torch.from_numpy(values), layout.brick_shape, value_range, share)


def _read(steps: range, config: PretrainConfig) -> range:
    """Which of a member's steps."""
    if config.sampling == "lattice":
        return steps[:: config.lambda_t]
    return steps[:: min(config.lambda_t, max(len(steps) - 1, 1))]


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
