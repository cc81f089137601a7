"""How different two volumes look: LPIPS of their renderings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .errors import LpipsError, RenderingError
from .grid import Grid
from .perceptual import Lpips
from .rendering import Renderer
from .series import Range


class RenderedLpips:
    """LPIPS of one volume rendering of each: same camera, transfer function and background.

    ``net``, ``backbone``: as ``Lpips`` takes them. ``value_range``: of the original's series,
    which the colours span. Raises LpipsError when ``backbone`` is given and is of no use.
    """

    def __init__(self, net: str, backbone: Path | str | None, value_range: Range):
        self._renderer: tuple[Grid, Renderer] | None = None
        self._range = _magnitudes(value_range)
        self.unavailable = ""
        try:
            self._lpips = Lpips(net, backbone)
        except LpipsError as error:
            if backbone is not None:
                raise
            self.unavailable = f"unavailable: {error}"

    def __call__(self, original: np.ndarray, reconstruction: np.ndarray, grid: Grid) -> float | str:
        """Of two arrays ``(nz, ny, nx, components)`` on ``grid``; a text says why there is none."""
        try:
            if not self.unavailable:
                renderer = self._rendering(grid)
                return self._lpips(renderer(original), renderer(reconstruction))
        except RenderingError as error:
            self.unavailable = f"unavailable: {error}"
        return self.unavailable

    def _rendering(self, grid: Grid) -> Renderer:
        if self._renderer is None or self._renderer[0] != grid:
            self._renderer = grid, Renderer(grid, value_range=self._range)
        return self._renderer[1]


def _magnitudes(found: Range) -> tuple[float, float]:
    """The range of what is rendered: of the values, or of what lengths vectors may have."""
    if len(found.low) == 1:
        return found.low[0], found.high[0]
    return 0.0, float(np.linalg.norm(np.abs([found.low, found.high]).max(axis=0)))
