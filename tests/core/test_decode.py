"""The tensor-grid decoder against the plain forward pass at explicit coordinates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metainr_core import decode, fused
from metainr_core.config import SirenConfig
from metainr_core.decode import decode_grid
from metainr_core.errors import MetaINRWarning
from metainr_core.grid import Grid
from metainr_core.layout import BrickLayout
from metainr_core.siren import Siren, forward, initialize

CENTRE, HALF = 3.0, 5.0


def networks(layout: BrickLayout, components: int = 1, layers: int = 1) -> Siren:
    config = SirenConfig(8, layers, 6.0)
    generator = torch.Generator().manual_seed(layout.bricks)
    return initialize(config, layout.bricks, components, generator)


def scale(components: int = 1) -> tuple[np.ndarray, np.ndarray]:
    centre = np.full(components, CENTRE, np.float32) + np.arange(components, dtype=np.float32)
    return centre, np.full(components, HALF, np.float32)


def oracle(siren: Siren, layout: BrickLayout, positions: list[np.ndarray]) -> np.ndarray:
    """Point by point: every brick's network at explicit coordinates, weighted by its share."""
    z, y, x = (a.ravel() for a in np.meshgrid(*positions[::-1], indexing="ij"))
    components = siren.biases[-1].shape[2]
    total = np.zeros((x.size, components))
    for brick in range(layout.bricks):
        share = np.ones(x.size)
        where = []
        for axis, place, p in zip(layout.axes, layout.position(brick), (x, y, z), strict=True):
            share = share * axis.weights(place, p)
            where.append(axis.local(place, p))
        weights, biases = (
            [t[brick : brick + 1] for t in ts] for ts in (siren.weights, siren.biases)
        )
        one = Siren(weights, biases, siren.omega_0)
        points = torch.tensor(np.stack(where, -1)[None], dtype=torch.float32)
        total += share[:, None] * forward(one, points)[0].numpy()
    centre, half = scale(components)
    return (centre + half * total).reshape(*(p.size for p in positions[::-1]), components)


def compare(dims: tuple[int, int, int], brick_size: int, target: Grid | None = None) -> None:
    grid = Grid(dims)
    layout = BrickLayout.of(dims, brick_size)
    siren = networks(layout, 2)
    positions = grid.index_coordinates(target or grid)
    found = decode_grid(siren, layout, positions, *scale(2))
    assert found.dtype == np.float32
    assert found.shape == (*(target or grid).shape, 2)
    assert found == pytest.approx(oracle(siren, layout, positions), abs=2e-5)


@pytest.mark.parametrize("brick_size", [0, 4, 5])
@pytest.mark.parametrize("dims", [(12, 10, 8), (13, 7, 1), (1, 9, 6), (1, 1, 1)])
@pytest.mark.parametrize("factor", [1.0, 1.7, 0.6])
def test_decoded_values_are_those_of_the_networks(
    dims: tuple[int, int, int], brick_size: int, factor: float
) -> None:
    compare(dims, brick_size, Grid(dims).scaled(factor))


@settings(max_examples=25)
@given(
    dims=st.tuples(*[st.integers(1, 14)] * 3),
    new=st.tuples(*[st.integers(1, 14)] * 3),
    brick_size=st.just(0) | st.integers(4, 8),
)
def test_any_grid_and_any_bricks(
    dims: tuple[int, int, int], new: tuple[int, int, int], brick_size: int
) -> None:
    compare(dims, brick_size, Grid(dims).resampled(new))


@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("brick_size", [0, 4])
@pytest.mark.parametrize("values", [1024, 1 << 13, 1 << 30])
def test_chunks_do_not_change_the_values(
    monkeypatch: pytest.MonkeyPatch, brick_size: int, values: int, layers: int
) -> None:
    """Those of PyTorch, against the fused library where there is one."""
    dims = (23, 19, 11)
    layout = BrickLayout.of(dims, brick_size)
    siren = networks(layout, 1, layers)
    positions = Grid(dims).index_coordinates(Grid(dims))
    whole = decode_grid(siren, layout, positions, *scale())
    monkeypatch.setattr(fused, "serves", lambda *_: False)
    monkeypatch.setitem(decode._ACTIVATIONS, "cpu", values * siren.weights[0].shape[2])
    sizes: list[int] = []
    evaluate = decode._evaluate

    def spy(siren: Siren, tiles: list, dtype: torch.dtype) -> torch.Tensor:
        result = evaluate(siren, tiles, dtype)
        sizes.append(result[..., 0].numel())
        return result

    monkeypatch.setattr(decode, "_evaluate", spy)
    assert decode_grid(siren, layout, positions, *scale()) == pytest.approx(whole, abs=3e-5)
    assert sum(sizes) == whole.size, "each voxel of the original grid is evaluated once"
    assert max(sizes) <= values
    assert len(sizes) > 1 or values > whole.size


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "serves", lambda *_: False)


@pytest.mark.usefixtures("without_library")
@pytest.mark.parametrize("brick_size", [0, 4])
def test_a_sub_box_is_a_slice_and_evaluates_only_its_bricks(
    monkeypatch: pytest.MonkeyPatch, brick_size: int
) -> None:
    grid = Grid((12, 10, 8))
    layout = BrickLayout.of(grid.dims, brick_size)
    siren = networks(layout)
    whole = decode_grid(siren, layout, grid.index_coordinates(grid), *scale())
    evaluated: list[int] = []
    evaluate = decode._evaluate

    def spy(siren: Siren, tiles: list, dtype: torch.dtype) -> torch.Tensor:
        evaluated.extend(tile.brick for tile in tiles)
        return evaluate(siren, tiles, dtype)

    monkeypatch.setattr(decode, "_evaluate", spy)
    part = grid.cropped([7, 9, 2, 6, 4, 7])
    found = decode_grid(siren, layout, grid.index_coordinates(part), *scale())
    assert found == pytest.approx(whole[4:8, 2:7, 7:10], abs=1e-6)
    if brick_size:
        assert 0 < len(set(evaluated)) <= layout.bricks // 2


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_values_are_continuous_across_seams(axis: int) -> None:
    dims = (12, 12, 12)
    layout = BrickLayout.of(dims, 4)
    siren = networks(layout)
    tiny = 1e-5
    seams = layout.axes[axis].seams
    assert seams
    edges = sorted({float(s + side) for s in seams for side in (0, 1)})
    fine = np.array([e + d for e in edges for d in (-tiny, 0.0, tiny)])
    positions = [np.linspace(0, 11, 23) for _ in range(3)]
    positions[axis] = fine
    values = np.moveaxis(decode_grid(siren, layout, positions, *scale())[..., 0], 2 - axis, 0)
    jumps = np.abs(np.diff(values.reshape(len(edges), 3, -1), axis=1))
    assert jumps.max() < 1e-3
    # The check can fail: hard cuts between unlike networks jump by far more.
    voxels = [np.arange(12.0)] * 3
    steps = np.abs(np.diff(decode_grid(siren, layout, voxels, *scale())[..., 0], axis=2 - axis))
    assert steps.max() > 0.1


def test_reversed_positions_give_reversed_values() -> None:
    dims = (12, 10, 8)
    layout = BrickLayout.of(dims, 4)
    siren = networks(layout)
    positions = [np.arange(float(n)) for n in dims]
    forwards = decode_grid(siren, layout, positions, *scale())
    backwards = decode_grid(siren, layout, [p[::-1].copy() for p in positions], *scale())
    assert backwards == pytest.approx(forwards[::-1, ::-1, ::-1], abs=1e-5)


@pytest.mark.usefixtures("without_library")
def test_progress_runs_from_zero_towards_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(decode._ACTIVATIONS, "cpu", 1)
    layout = BrickLayout.of((20, 20, 20), 0)
    positions = [np.arange(20.0)] * 3
    seen: list[float] = []
    siren = networks(layout)
    decode_grid(siren, layout, positions, *scale(), progress=lambda f, m: seen.append(f))
    assert seen[0] == 0
    assert seen == sorted(seen)
    assert 0.5 < seen[-1] <= 1


@pytest.mark.parametrize("library", [True, False])
def test_products_in_bf16_change_little(monkeypatch: pytest.MonkeyPatch, library: bool) -> None:
    if not library:
        monkeypatch.setattr(fused, "serves", lambda *_: False)
    dims = (20, 18, 16)
    layout = BrickLayout.of(dims, 8)
    siren = networks(layout, 2, 2)
    positions = Grid(dims).index_coordinates(Grid(dims))
    exact = decode_grid(siren, layout, positions, *scale(2))
    found = decode_grid(siren, layout, positions, *scale(2), dtype=torch.bfloat16)
    error = np.abs(found - exact).max() / np.ptp(exact)
    assert 0 < error < 0.02


@pytest.mark.usefixtures("without_library")
def test_where_memory_is_short_fewer_bricks_are_decoded_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = BrickLayout.of((40, 40, 40), 8)
    siren, positions = networks(layout), [np.arange(40.0)] * 3
    whole = decode_grid(siren, layout, positions, *scale())
    evaluate = decode._evaluate

    def short(siren: Siren, tiles: list, dtype: torch.dtype) -> torch.Tensor:
        if len(tiles) > 1:
            raise torch.OutOfMemoryError("no memory")
        return evaluate(siren, tiles, dtype)

    monkeypatch.setattr(decode, "_evaluate", short)
    with pytest.warns(MetaINRWarning, match="bricks are decoded at once"):
        found = decode_grid(siren, layout, positions, *scale())
    assert found == pytest.approx(whole, abs=1e-6)


def test_the_networks_are_left_alone() -> None:
    layout = BrickLayout.of((8, 8, 8), 4)
    siren = networks(layout)
    before = siren.clone()
    decode_grid(siren, layout, [np.arange(8.0)] * 3, *scale())
    assert all(torch.equal(a, b) for a, b in zip(siren.tensors, before.tensors, strict=True))


@pytest.mark.cuda
@pytest.mark.parametrize("brick_size", [0, 8])
def test_the_device_decodes_as_the_processor(cuda: torch.device, brick_size: int) -> None:
    dims = (40, 30, 20)
    layout = BrickLayout.of(dims, brick_size)
    siren = networks(layout, 2, 3)
    positions = Grid(dims).index_coordinates(Grid(dims).scaled(1.3))
    plain = decode_grid(siren, layout, positions, *scale(2))
    found = decode_grid(siren.to(cuda), layout, positions, *scale(2))
    assert found == pytest.approx(plain, abs=1e-4)
