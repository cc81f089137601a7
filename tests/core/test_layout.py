"""Bricks: who owns which voxel, and which network a grid gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metainr_core.config import SirenConfig
from metainr_core.errors import SettingsError
from metainr_core.grid import Grid
from metainr_core.layout import BITS, STEP_BYTES, Axis, BrickLayout, choose_siren

CUTS = {"count": st.integers(1, 300), "brick_size": st.just(0) | st.integers(4, 80)}


@given(**CUTS)
def test_every_voxel_is_owned_once(count: int, brick_size: int) -> None:
    axis = Axis.cut(count, brick_size)
    voxels = np.arange(count, dtype=float)
    shares = np.array([axis.weights(b, voxels) for b in range(len(axis.starts))])
    assert set(shares.ravel()) <= {0.0, 1.0}
    assert (shares.sum(0) == 1).all()
    assert shares.any(axis=1).all(), "a brick without a voxel of its own is waste"


@given(fractions=st.lists(st.floats(0, 1), min_size=1, max_size=30), **CUTS)
def test_shares_add_to_one_everywhere(count: int, brick_size: int, fractions: list[float]) -> None:
    axis = Axis.cut(count, brick_size)
    where = np.array(fractions) * (count - 1)
    total = np.zeros_like(where)
    for brick in range(len(axis.starts)):
        share = axis.weights(brick, where)
        total += share
        # A brick's network is only asked about where it was trained.
        local = axis.local(brick, where)[share > 0]
        assert (np.abs(local) <= 1 + 1e-9).all()
    assert total == pytest.approx(1)


@given(**CUTS)
def test_bricks_have_one_size_and_cover_the_axis(count: int, brick_size: int) -> None:
    axis = Axis.cut(count, brick_size)
    assert axis.starts[0] == 0
    assert axis.starts[-1] + axis.intervals == count - 1
    assert len(axis.starts) == (1 if brick_size == 0 else -(-count // brick_size))
    if brick_size:
        # One voxel more on each side, at most, for the intervals that neighbours share.
        assert axis.intervals + 1 <= brick_size + 2
    overlaps = np.array(axis.starts[:-1]) + axis.intervals - np.array(axis.starts[1:])
    assert (overlaps >= 1).all()
    # Hand over in the middle of the overlap, as far from both ends as can be.
    for brick, seam in enumerate(axis.seams):
        before = seam - axis.starts[brick + 1]
        after = axis.starts[brick] + axis.intervals - (seam + 1)
        assert before >= 0
        assert after >= 0
        assert abs(before - after) <= 1


def test_the_ends_of_a_brick_are_minus_one_and_one() -> None:
    axis = Axis.cut(20, 8)
    for brick, start in enumerate(axis.starts):
        ends = np.array([start, start + axis.intervals], float)
        assert axis.local(brick, ends) == pytest.approx([-1, 1])
    assert (Axis.cut(1, 0).local(0, np.zeros(3)) == 0).all()


@pytest.mark.parametrize("dims", [(12, 10, 8), (13, 7, 1), (4, 4, 4), (5, 9, 17)])
@pytest.mark.parametrize("brick_size", [0, 4, 5])
def test_split_and_put_together_again(dims: tuple[int, int, int], brick_size: int) -> None:
    layout = BrickLayout.of(dims, brick_size)
    volume = np.random.default_rng(0).random((*dims[::-1], 2))
    parts = layout.split(volume)
    assert parts.shape == (layout.bricks, np.prod(layout.brick_shape), 2)
    result = np.zeros_like(volume)
    for brick, part in enumerate(parts):
        shares, places = [], []
        for axis, n, place in zip(layout.axes, dims, layout.position(brick), strict=True):
            shares.append(axis.weights(place, np.arange(n, dtype=float)))
            places.append(slice(axis.starts[place], axis.starts[place] + axis.intervals + 1))
        x, y, z = shares
        share = (z[:, None, None] * y[:, None] * x)[places[::-1][0], places[1], places[0]]
        block = part.reshape(*layout.brick_shape, 2)
        result[places[2], places[1], places[0]] += share[..., None] * block
    assert (result == volume).all()


def test_one_brick_is_split_without_a_copy() -> None:
    volume = np.zeros((3, 4, 5, 1))
    assert np.shares_memory(BrickLayout.of((5, 4, 3), 0).split(volume), volume)


def test_positions_count_x_fastest() -> None:
    layout = BrickLayout.of((12, 8, 8), 4)
    assert layout.bricks == 12
    assert [layout.position(b) for b in (0, 1, 3, 6, 11)] == [
        (0, 0, 0),
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (2, 1, 1),
    ]


def test_small_volumes_get_one_network_and_large_ones_bricks() -> None:
    small, large = choose_siren(Grid((64, 64, 64))), choose_siren(Grid((128, 128, 128)))
    assert small.brick_size == 0
    assert large.brick_size > 0
    assert large.width < small.width
    assert BrickLayout.of((128, 128, 128), large.brick_size).bricks == 64


@pytest.mark.parametrize(
    ("dims", "components"),
    [((32, 32, 1), 1), ((200, 1, 1), 1), ((24, 24, 24), 1), ((40, 40, 40), 1), ((24, 24, 24), 3)],
)
def test_the_network_of_a_tiny_volume_is_smaller_than_it(
    dims: tuple[int, int, int], components: int
) -> None:
    found = choose_siren(Grid(dims), components)
    budget = np.prod(dims) * components / 8
    assert found.width == 8 or found.parameters(components) <= budget
    wider = SirenConfig(found.width + 1, found.hidden_layers)
    assert wider.parameters(components) > budget


def test_other_volumes_have_the_usual_width() -> None:
    assert choose_siren(Grid((47, 47, 47))).width == 64
    assert choose_siren(Grid((2000, 2000, 1))).width == 20
    assert choose_siren(Grid((24, 24, 24)), width=64).width == 64
    assert choose_siren(Grid((24, 24, 24)), base=SirenConfig(width=64)).width == 64


def test_what_is_given_is_kept_and_the_rest_comes_from_the_base() -> None:
    base = SirenConfig(width=20, hidden_layers=2, omega_0=11.0, first_scale=0.7, brick_size=16)
    grid = Grid((128, 128, 128))
    assert choose_siren(grid, base=base) == base
    changed = choose_siren(grid, base=base, width=8, brick_size=0, omega_0=3.0, hidden_layers=0)
    assert changed == SirenConfig(8, 0, 3.0, 0.7, 0)


@pytest.mark.parametrize("brick_size", [0, 16])
@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("ratio", [2.0, 10.0, 31.3])
@pytest.mark.parametrize("bits", [None, 5, 16, 32])
def test_the_widest_network_that_reaches_the_ratio_is_taken(
    brick_size: int, components: int, ratio: float, bits: int | None
) -> None:
    grid = Grid((40, 40, 40))
    given: Any = {} if bits is None else {"bits_per_weight": bits}
    found = choose_siren(
        grid, components, brick_size=brick_size, hidden_layers=2, target_ratio=ratio, **given
    )
    bricks = BrickLayout.of(grid.dims, brick_size).bricks

    def reached(width: int) -> float:
        config = SirenConfig(width, found.hidden_layers)
        weights = bricks * config.parameters(components) * (bits or BITS["coded"]) / 8
        return grid.voxels * components * 4 / (STEP_BYTES + weights)

    assert reached(found.width) >= ratio > reached(found.width + 1)


def test_a_ratio_replaces_the_width_of_the_base() -> None:
    grid = Grid((40, 40, 40))
    base = SirenConfig(width=200)
    assert choose_siren(grid, base=base, target_ratio=50).width < 80


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan")])
def test_a_ratio_is_a_positive_number(ratio: float) -> None:
    with pytest.raises(SettingsError, match=r"target_ratio is .*; expected a number above 0"):
        choose_siren(Grid((8, 8, 8)), target_ratio=ratio)


def test_a_ratio_out_of_reach_says_what_can_be_reached() -> None:
    with pytest.raises(SettingsError, match=r"width 4 give \d+\.\d; ask for less, or use"):
        choose_siren(Grid((40, 40, 40)), brick_size=8, target_ratio=1000)
    with pytest.raises(SettingsError, match="cannot be reached"):
        choose_siren(Grid((8, 8, 8)), target_ratio=4 * 512 / STEP_BYTES)
    with pytest.raises(SettingsError, match="give one of them"):
        choose_siren(Grid((40, 40, 40)), width=8, target_ratio=10)
