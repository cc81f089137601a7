"""A smooth random series of any size: fields whose values do not matter, only their number."""

from __future__ import annotations

import numpy as np

from metainr_core import ArraySeries

_WAVES = 16


def smooth_series(edge: int, steps: int, seed: int = 0) -> ArraySeries:
    """``steps`` moments of drifting plane waves on ``edge``³ points, slow ones the strongest."""
    draw = np.random.default_rng(seed)
    cycles = draw.uniform(-1, 1, (3, _WAVES)) * edge / 8
    speed, start = draw.uniform(0.1, 0.5, (2, 3, _WAVES))
    height = 1 / (1 + np.linalg.norm(cycles, axis=0))
    place = np.linspace(0, 2 * np.pi, edge)
    volumes = []
    for step in range(steps):
        phase = cycles[..., None] * place + (start + speed * step)[..., None] * 2 * np.pi
        x, y, z = np.sin(phase, dtype=np.float32)
        planes = (z[:, :, None] * y[:, None]).reshape(_WAVES, -1)
        volume = (planes * height[:, None].astype(np.float32)).T @ x
        volumes.append(volume.reshape(edge, edge, edge))
    return ArraySeries(volumes, name="smooth waves")
