"""Which voxels a prior reads, and where they lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metainr_core import sampling
from metainr_core.config import PretrainConfig
from metainr_core.ensemble import EnsembleSeries, Run
from metainr_core.layout import BrickLayout
from metainr_core.sampling import (
    GRADIENT_SHARE,
    TaskSamples,
    coordinates,
    draw_samples,
    gradient_shares,
    systematic_draws,
)
from metainr_core.series import ArraySeries, Range, Series, no_progress

Maker = Callable[..., ArraySeries]


def draw(series: Series, brick_size: int = 0, **settings: Any) -> TaskSamples:
    layout = BrickLayout.of(series.grid.dims, brick_size)
    return draw_samples(series, layout, PretrainConfig(**settings), no_progress)


def taken_from(samples: TaskSamples, series: ArraySeries, brick_size: int, every: int) -> list[int]:
    """The brick that each task's voxels come from, by looking for the values in all of them."""
    layout = BrickLayout.of(series.grid.dims, brick_size)
    steps = range(0, len(series), every)
    per_step = len(samples.index) // len(steps)
    centre, half = samples.value_range.scale()
    found = []
    for task, (index, values) in enumerate(zip(samples.index, samples.values, strict=True)):
        volume = series.read(steps[task // per_step])
        k, j, i = np.unravel_index(index.numpy(), layout.brick_shape)
        for brick in range(layout.bricks):
            start = [a.starts[p] for a, p in zip(layout.axes, layout.position(brick), strict=True)]
            there = volume[k + start[2], j + start[1], i + start[0]]
            if np.allclose((there - centre) / half, values.numpy(), atol=1e-6):
                found.append(brick)
                break
    assert len(found) == len(samples.index), "values of no brick at these voxels"
    return found


@pytest.mark.parametrize("brick_size", [0, 5])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.4])
@pytest.mark.parametrize("components", [1, 2])
def test_random_voxels_are_distinct_and_no_more_than_asked(
    make_series: Maker,
    monkeypatch: pytest.MonkeyPatch,
    brick_size: int,
    fraction: float,
    components: int,
) -> None:
    monkeypatch.setattr(sampling, "TASK_VOXELS", 40)
    series = make_series(steps=5, components=components)
    samples = draw(series, brick_size, fraction=fraction, lambda_t=2)
    layout = BrickLayout.of(series.grid.dims, brick_size)
    voxels = int(np.prod(layout.brick_shape))
    tasks, size = samples.index.shape
    assert samples.index.dtype == torch.int32
    assert samples.values.dtype == torch.float32
    assert samples.values.shape == (tasks, size, components)
    for index in samples.index:
        assert index.unique().numel() == size
        assert 0 <= int(index.min()) <= int(index.max()) < voxels
    assert not torch.equal(samples.index[0], samples.index[-1])
    total = series.grid.voxels * len(series)
    assert samples.voxel_share == pytest.approx(tasks * size / total)
    assert 0.8 * fraction < samples.voxel_share <= fraction or size == voxels
    bricks = taken_from(samples, series, brick_size, every=2)
    per_step = tasks // 3
    for step in range(3):
        chosen = bricks[step * per_step : (step + 1) * per_step]
        assert len(set(chosen)) == per_step, "a brick is one task of its step, not two"
    read = [series.scan()[step].range for step in (0, 2, 4)]
    assert samples.value_range == Range.union(read)
    assert float(samples.values.abs().max()) <= 1 + 1e-6


def test_random_voxels_are_spread_evenly(make_series: Maker) -> None:
    series = make_series(steps=1, dims=(20, 20, 20))
    counts = torch.zeros(8000)
    for seed in range(40):
        counts[draw(series, fraction=0.05, seed=seed).index[0].long()] += 1
    # 2 expected per voxel; the halves of the volume differ by chance alone (deviation 126).
    assert float(counts.sum()) == 40 * 400
    assert abs(float(counts[:4000].sum() - counts[4000:].sum())) < 600
    assert float(counts.max()) < 12


def test_no_more_is_kept_than_training_draws(make_series: Maker) -> None:
    settings: dict[str, Any] = {"outer_steps": 2, "inner_steps": 3, "batch_size": 5, "tasks": 4}
    samples = draw(make_series(), fraction=1.0, lambda_t=2, **settings)
    assert samples.index.numel() == 2 * 3 * 5 * 4


@pytest.mark.parametrize("brick_size", [0, 5])
def test_the_lattice_is_every_nth_voxel_of_every_brick(make_series: Maker, brick_size: int) -> None:
    series = make_series(steps=3, dims=(12, 10, 7))
    samples = draw(series, brick_size, sampling="lattice", lambda_s=4, lambda_t=2)
    layout = BrickLayout.of(series.grid.dims, brick_size)
    shape = layout.brick_shape
    axes = [list(range(0, n, 4)) for n in shape]
    expected = [
        (k * shape[1] + j) * shape[2] + i for k in axes[0] for j in axes[1] for i in axes[2]
    ]
    assert all(index.tolist() == expected for index in samples.index)
    assert taken_from(samples, series, brick_size, every=2) == 2 * list(range(layout.bricks))


def test_the_published_share_of_the_voxels() -> None:
    series = ArraySeries([np.random.default_rng(t).random((16, 16, 16)) for t in range(4)])
    samples = draw(series, sampling="lattice", lambda_s=4, lambda_t=2)
    assert samples.voxel_share == pytest.approx(1 / 64 / 2)
    assert draw(series).voxel_share == pytest.approx(PretrainConfig().fraction, rel=0.01)
    assert PretrainConfig().fraction < 0.01


def test_every_member_of_an_ensemble_is_read(make_series: Maker) -> None:
    runs = [Run(str(n), make_series(steps=n, phase=n)) for n in (1, 2, 5)]
    samples = draw(EnsembleSeries(runs), fraction=1.0, lambda_t=4)
    # Steps 0 | 0 and 1 | 0 and 4 of each.
    steps = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 4)]
    centre, half = samples.value_range.scale()
    for values, (run, step) in zip(samples.values, steps, strict=True):
        wanted = runs[run].series.read(step).reshape(-1, 1)
        np.testing.assert_allclose(values.numpy() * half + centre, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("count", "every", "read"),
    [(1, 4, [0]), (2, 4, [0, 1]), (3, 4, [0, 2]), (4, 4, [0, 3]), (5, 4, [0, 4]), (8, 4, [0, 4]),
     (3, 2, [0, 2]), (2, 2, [0, 1])],
)  # fmt: skip
def test_of_a_short_series_first_and_last_are_read(
    make_series: Maker, count: int, every: int, read: list[int]
) -> None:
    series = make_series(steps=count)
    samples = draw(series, fraction=0.1, lambda_t=every)
    assert len(samples.index) == len(read)
    assert samples.value_range == Range.union(series.scan()[step].range for step in read)
    assert samples.voxel_share == pytest.approx(0.1, rel=0.02)
    lattice = draw(series, sampling="lattice", lambda_s=4, lambda_t=every)
    assert len(lattice.index) == -(-count // every), "not as published"


def test_all_voxels_are_all_voxels(make_series: Maker) -> None:
    series = make_series(steps=2)
    samples = draw(series, fraction=1.0, lambda_t=1)
    assert samples.index[0].tolist() == list(range(series.grid.voxels))
    assert samples.voxel_share == 1


def test_at_least_one_voxel_is_kept(make_series: Maker) -> None:
    series = make_series(steps=1, dims=(3, 3, 3))
    assert draw(series, fraction=1e-9).index.shape == (1, 1)
    assert draw(series, sampling="lattice", lambda_s=100).index.shape == (1, 1)


def test_equal_seeds_draw_equal_voxels(make_series: Maker) -> None:
    series = make_series()
    first, again, other = (draw(series, fraction=0.1, seed=s).fingerprint() for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert draw(make_series(phase=0.1), fraction=0.1, seed=1).fingerprint() != first


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5), (3, 1, 1), (1, 1, 1)])
def test_coordinates_run_from_minus_one_to_one(shape: tuple[int, int, int]) -> None:
    voxels = int(np.prod(shape))
    found = coordinates(torch.arange(voxels), shape)
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    expected = np.stack([x.ravel(), y.ravel(), z.ravel()], -1)
    assert found.dtype == torch.float32
    assert found.numpy() == pytest.approx(expected, abs=1e-6)
    order = torch.randperm(voxels).reshape(voxels, 1).to(torch.int32)
    assert torch.equal(coordinates(order, shape), found[order.long()])


def bricks(count: int = 3, components: int = 1) -> tuple[Tensor, tuple[int, int, int]]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 60, components, generator=generator), (3, 4, 5)


@pytest.mark.parametrize("components", [1, 2])
def test_shares_follow_the_differences_to_all_neighbours(components: int) -> None:
    values, shape = bricks(components=components)
    shares = gradient_shares(values, shape)
    nz, ny, nx = shape
    volume = values.view(3, nz, ny, nx, components).double()
    sizes = torch.zeros(3, nz, ny, nx, dtype=torch.float64)
    for z, y, x in np.ndindex(nz, ny, nx):
        for dz, dy, dx in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
            for sign in (1, -1):
                c, b, a = z + sign * dz, y + sign * dy, x + sign * dx
                if 0 <= c < nz and 0 <= b < ny and 0 <= a < nx:
                    step = volume[:, c, b, a] - volume[:, z, y, x]
                    sizes[:, z, y, x] += step.square().sum(-1)
    sizes = sizes.sqrt().flatten(1)
    wanted = GRADIENT_SHARE * sizes / sizes.sum(1, keepdim=True) + (1 - GRADIENT_SHARE) / 60
    torch.testing.assert_close(shares.double(), wanted, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(shares.sum(1), torch.ones(3))


def test_a_constant_brick_is_drawn_from_evenly() -> None:
    values, shape = bricks()
    values[1] = 0.5
    shares = gradient_shares(values, shape)
    torch.testing.assert_close(shares[1], torch.full((60,), 1 / 60))
    flat = gradient_shares(values[:, :5], (1, 1, 5))
    assert bool(flat.isfinite().all())


@pytest.mark.parametrize("draws", [1, 59, 60, 1000])
@pytest.mark.parametrize("offset", [0.0, 0.4, 0.999])
def test_draws_keep_to_their_shares(draws: int, offset: float) -> None:
    values, shape = bricks()
    shares = gradient_shares(values, shape)
    order = torch.randperm(draws, generator=torch.Generator().manual_seed(0))
    index = systematic_draws(shares, order, offset)
    assert index.shape == (3, draws)
    assert index.dtype == torch.int32
    for row, share in zip(index, shares, strict=True):
        counts = torch.bincount(row, minlength=60)
        assert float((counts - draws * share).abs().max()) <= 1.001
    # The same place in the order for every row; sorted without it.
    assert torch.equal(systematic_draws(shares, order.argsort().argsort(), offset), index)
    straight = systematic_draws(shares, torch.arange(draws), offset)
    assert bool((straight.diff(dim=1) >= 0).all())


def test_draws_of_one_brick_do_not_depend_on_the_others() -> None:
    values, shape = bricks()
    shares, order = gradient_shares(values, shape), torch.randperm(64)
    together = systematic_draws(shares, order, 0.3)
    for n in range(3):
        alone = gradient_shares(values[n : n + 1], shape)
        assert torch.equal(systematic_draws(alone, order, 0.3)[0], together[n])
