"""Draws what test_rendering.py looks at: ``drive_rendering.py PICTURES.npz``; needs a display."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np

from metainr_core.errors import MetaINRError
from metainr_core.grid import Grid
from metainr_core.metrics import magnitude
from metainr_core.rendering import Renderer, View, render

GRID = Grid((14, 12, 10), spacing=(1.0, 2.0, 0.5), origin=(3.0, 4.0, 5.0))
SMALL = (96, 64)
FRONT = View(direction=(0.0, 0.0, 1.0))


def wave(grid: Grid, components: int = 1) -> np.ndarray:
    """Smooth, 0 to 1."""
    z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in grid.shape), indexing="ij")
    parts = [0.5 + 0.5 * np.sin(5 * x + c) * np.cos(4 * y - c) * z for c in range(components)]
    return np.stack(parts, axis=-1).astype(np.float32)


def draw(values: np.ndarray, grid: Grid = GRID) -> np.ndarray:
    return render(values, grid, value_range=(0.0, 1.0), size=SMALL)


def pictures() -> dict[str, np.ndarray]:
    values, noise = wave(GRID), np.random.default_rng(0).random((10, 12, 14, 1), np.float32)
    made = {"wave": draw(values), "noise": draw(noise)}

    series = Renderer(GRID, value_range=(0.0, 1.0), size=SMALL)
    for name, volume in (("first", noise), ("second", values), ("third", noise)):
        made[name] = series(volume)
    draw(noise)  # in a window of its own, which is then the current one
    made["fourth"] = series(noise)
    fine = GRID.scaled(2.0)
    made["fine"] = series(wave(fine), fine)
    made["part"] = series(values[:, :, :7], replace(GRID, dims=(7, 12, 10)))

    vectors = wave(GRID, 3)
    made["vectors"], made["lengths"] = draw(vectors), draw(magnitude(vectors)[..., None])
    made["beyond"], made["clipped"] = draw(noise * 3 - 1), draw(np.clip(noise * 3 - 1, 0, 1))

    # One volume, described in other ways.
    made["reversed"] = draw(
        noise[:, :, ::-1], replace(GRID, spacing=(-1.0, 2.0, 0.5), origin=(16.0, 4.0, 5.0))
    )
    made["started"] = draw(noise, replace(GRID, start=(7, 0, 0), origin=(-4.0, 4.0, 5.0)))
    made["cells"] = draw(noise, replace(GRID, association="cell", origin=(2.5, 3.0, 4.75)))
    swapped = Grid((12, 14, 10), (2.0, 1.0, 0.5), GRID.origin, (0, 1, 0, 1, 0, 0, 0, 0, 1))
    made["turned"] = draw(np.swapaxes(noise, 1, 2), swapped)

    corner = np.zeros((8, 8, 8, 1), np.float32)
    corner[:, 5:, 5:] = 1
    made["corner"] = render(corner, Grid((8, 8, 8)), value_range=(0, 1), size=(64, 64), view=FRONT)
    even = np.full((8, 8, 8, 1), 2.5, np.float32)
    made["even"] = render(even, Grid((8, 8, 8)), value_range=(2, 12), size=(64, 64), view=FRONT)
    made["constant"] = render(even, Grid((8, 8, 8)), value_range=(2.5, 2.5), size=(64, 64))

    layer = Grid((9, 8, 1))
    made["layer"] = render(wave(layer) + 0.5, layer, value_range=(0, 2), size=(64, 64))
    # Longer than a texture may be where OpenGL runs without a graphics card.
    long = Grid((3000, 40, 40))
    made["long"] = render(np.ones((*long.shape, 1), np.float32), long, value_range=(0, 1))
    return made


def refusals() -> dict[str, str]:
    renderer = Renderer(GRID, value_range=(0.0, 1.0), size=SMALL)
    hole = wave(GRID)
    hole[3, 2, 1] = np.nan
    found = {}
    for name, values in (("shape", wave(GRID)[1:]), ("hole", hole)):
        try:
            renderer(values)
        except MetaINRError as error:
            found[name] = str(error)
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **pictures())
    print(json.dumps(refusals()))
