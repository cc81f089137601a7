"""What the demonstration of the projection measures, on maps whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("sklearn")
from benchmarks.projection import likeness, measure, nearest

from metainr_core.members import Member
from metainr_core.projection import Projection


def found(*counts: int) -> Projection:
    firsts = np.cumsum((0, *counts))
    members = tuple(
        Member(f"run {i}", int(first), n)
        for i, (first, n) in enumerate(zip(firsts, counts, strict=False))
    )
    total = sum(counts)
    return Projection(
        steps=tuple(range(total)),
        times=tuple(float(i) for n in counts for i in range(n)),
        members=members,
        member=tuple(i for i, n in enumerate(counts) for _ in range(n)),
        x=np.zeros(total),
        y=np.zeros(total),
        method="pca",
    )


def distances(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points, axis=-1)


def test_two_even_lines_far_apart() -> None:
    at = np.arange(9.0)
    points = np.concatenate([np.stack([at, 0 * at], 1), np.stack([at, 0 * at + 1000], 1)])
    result = measure(distances(points), found(9, 9))
    # The mean distance of two of n points on an even line is (n + 1) / 3.
    assert result["jump"] == pytest.approx(3 / 10)
    assert result["order"] == pytest.approx(1)
    assert result["own"] == 1
    assert result["silhouette"] > 0.99


def test_a_cycle_is_continuous_though_its_steps_are_far_apart() -> None:
    angle = 2 * math.pi * np.arange(40) / 5.03  # a little more than five steps a turn
    result = measure(distances(np.stack([np.cos(angle), np.sin(angle)], 1)), found(40))
    assert result["jump"] == pytest.approx(0.92, abs=0.02)
    assert result["after"] < 0.1
    assert abs(result["order"]) < 0.2
    assert "own" not in result


def test_random_points_have_no_order() -> None:
    points = np.random.default_rng(0).normal(size=(400, 50))
    result = measure(distances(points), found(200, 200))
    assert result["jump"] == pytest.approx(1, abs=0.02)
    assert result["after"] == pytest.approx(1, abs=0.02)
    assert result["order"] == pytest.approx(0, abs=0.05)
    assert result["silhouette"] == pytest.approx(0, abs=0.01)
    assert result["own"] == pytest.approx(0.5, abs=0.1)


def test_likeness_and_neighbours() -> None:
    table = distances(np.array([[0.0], [1.0], [10.0], [12.0]]))
    assert nearest(table).tolist() == [1, 0, 3, 2]
    assert likeness(table, np.exp(table)) == pytest.approx(1)
    assert likeness(table, -table) == pytest.approx(-1)
