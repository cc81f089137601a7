"""Representative steps: on paths whose answer is known, and against trying all choices."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metainr_core.errors import SettingsError
from metainr_core.members import Member
from metainr_core.projection import Projection
from metainr_core.selection import path_cost, select, select_steps


def line(count: int) -> np.ndarray:
    return np.stack([np.arange(count), np.zeros(count)], axis=1).astype(float)


def test_a_straight_even_line_gives_even_steps() -> None:
    assert path_cost(line(5)) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert select(line(13), 4) == [0, 4, 8, 12]
    assert select(line(13), 2) == [0, 12]
    assert select(line(13), 13) == list(range(13))


def test_an_uneven_line_gives_even_lengths() -> None:
    at = np.array([0, 1, 2, 3, 4, 20, 36, 40.0])
    assert select(np.stack([at, 3 * at], axis=1), 3) == [0, 5, 7]


@pytest.mark.parametrize("corner", [3, 4, 7])
def test_the_corner_is_chosen(corner: int) -> None:
    path = line(11)
    path[corner:] = [(corner, i) for i in range(11 - corner)]
    assert select(path, 3) == [0, corner, 10]
    # Length 1 in ten parts, and one right angle, half of it on either side of its point.
    half = np.where(np.arange(11) == corner, 0.5, 0) + (np.arange(11) > corner)
    assert path_cost(path) == pytest.approx(np.arange(11) / 10 + half)


def test_angles_by_hand() -> None:
    # Right, up, back left, rest, left, down: angles of 90, 90, 0, 90 degrees; lengths 1 1 1 0 2 1.
    path = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 1), (-2, 1), (-2, 0)], float)
    lengths = np.array([1, 1, 1, 0, 2, 1]) / 6
    angles = np.array([45, 90, 45, 0, 45, 45]) / 270
    assert path_cost(path) == pytest.approx([0, *np.cumsum(lengths + angles)])


def test_a_path_on_one_spot_gives_even_steps() -> None:
    assert select(np.ones((9, 2)), 3) == [0, 4, 8]


paths = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=9).map(
    lambda points: np.array(points, float)
)


@given(paths, st.integers(2, 9))
def test_no_other_choice_is_nearer_to_the_levels(path: np.ndarray, count: int) -> None:
    count = min(count, len(path))
    chosen = select(path, count)
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1], len(chosen)) == (0, len(path) - 1, count)
    cost = path_cost(path)
    levels = np.linspace(0, cost[-1], count)
    between = combinations(range(1, len(path) - 1), count - 2)
    away = [np.abs(cost[[0, *c, len(path) - 1]] - levels).sum() for c in between]
    assert np.abs(cost[chosen] - levels).sum() == pytest.approx(min(away))


@given(paths)
def test_the_reverse_costs_the_same(path: np.ndarray) -> None:
    cost = path_cost(path)
    assert path_cost(path[::-1]) == pytest.approx(cost[-1] - cost[::-1])


def ensemble(*counts: int) -> Projection:
    members, first = [], 0
    for number, count in enumerate(counts):
        members.append(Member(f"run {number}" if len(counts) > 1 else "", first, count))
        first += count
    total = sum(counts)
    return Projection(
        steps=tuple(range(total)),
        times=tuple(float(i) for m in members for i in range(m.count)),
        members=tuple(members),
        member=tuple(i for i, m in enumerate(members) for _ in m.steps),
        x=np.arange(total, dtype=float),
        y=np.zeros(total),
        method="pca",
    )


def test_every_member_has_its_own() -> None:
    assert select_steps(ensemble(9, 5), 3) == [0, 4, 8, 9, 11, 13]


@pytest.mark.parametrize(
    ("counts", "count", "message"),
    [
        ((4,), 1, "select is 1; expected 2 to 4, all steps"),
        ((4,), 5, "select is 5; expected 2 to 4, all steps"),
        ((9, 3), 4, 'select is 4; expected 2 to 3, all steps of member "run 1"'),
        ((1,), 2, "select is 2; there is 1 step, nothing to select from"),
    ],
)
def test_impossible_numbers(counts: tuple[int, ...], count: int, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        select_steps(ensemble(*counts), count)
    assert str(caught.value) == message
