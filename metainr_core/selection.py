"""Time steps that represent a run, chosen along its path on a map."""

from __future__ import annotations

import numpy as np

from .errors import SettingsError
from .projection import Projection


def select_steps(projection: Projection, count: int) -> list[int]:
    """``count`` representative steps of each member, in step order.

    Raises SettingsError when ``count`` is below 2 or above the steps of a member.
    """
    chosen = []
    for member, path in zip(projection.members, projection.paths, strict=True):
        if not 2 <= count <= len(path):
            where = f' of member "{member.name}"' if member.name else ""
            steps = f"there is 1 step{where}, nothing to select from"
            if len(path) > 1:
                steps = f"expected 2 to {len(path)}, all steps{where}"
            raise SettingsError(f"select is {count}; {steps}")
        chosen += [projection.steps[path[i]] for i in select(projection.positions[path], count)]
    return chosen


def select(path: np.ndarray, count: int) -> list[int]:
    """Places of ``count`` points along a path ``(n, 2)``, the first and the last among them.

    They lie where the cost of the path reaches ``count`` equally spaced levels: of all distinct
    points in order, those nearest to the levels in sum. 2 <= ``count`` <= n.
    """
    cost = path_cost(path)
    levels = np.linspace(0, cost[-1], count)
    away = np.abs(cost - levels[:, None])
    # The first level's only place is the first point, the last one's is the last.
    away[0, 1:] = away[-1, :-1] = np.inf
    best, came_from = away[0], []
    for row in away[1:]:
        place = _running_argmin(best)
        came_from.append(place)
        # A point after the one of the level before.
        best = np.append(np.inf, best[place[:-1]] + row[1:])
    chosen = [len(path) - 1]
    for place in reversed(came_from):
        chosen.append(int(place[chosen[-1] - 1]))
    return chosen[::-1]


def path_cost(path: np.ndarray) -> np.ndarray:
    """Cost of a path ``(n, 2)`` from its start to each point: 0 to 2, ``(n,)`` float64.

    Length along the path plus turning angle, each over its total, after Porter et al. 2019 ("A
    deep learning approach to selecting representative time steps for time-varying multivariate
    data"). A point's turning angle counts half before it and half after it, so that a path and
    its reverse give the same points. Without any length the points are spaced evenly.
    """
    steps = np.diff(path, axis=0)
    length = np.hypot(*steps.T)
    moves = np.flatnonzero(length > 0)
    if not len(moves):
        return np.linspace(0, 1, len(path))
    # Of each move; rests between them, on one spot, have no direction.
    heading = np.arctan2(*steps[moves].T[::-1])
    turn = np.abs((np.diff(heading) + np.pi) % (2 * np.pi) - np.pi)
    angle = np.zeros(len(length))
    np.add.at(angle, moves[:-1], turn / 2)
    np.add.at(angle, moves[1:], turn / 2)
    total = angle.sum()
    cost = length / length.sum() + (angle / total if total > 1e-9 else 0)
    return np.append(0, np.cumsum(cost))


def _running_argmin(values: np.ndarray) -> np.ndarray:
    """The place of the smallest value up to each place."""
    smallest = np.minimum.accumulate(values)
    is_new = np.append(True, smallest[1:] < smallest[:-1])
    return np.maximum.accumulate(np.where(is_new, np.arange(len(values)), 0))
