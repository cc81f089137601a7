"""Decoded time steps as images: those shown lately, and the one that is going to be asked for."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from vtkmodules.vtkCommonDataModel import vtkImageData

from metainr_core.errors import MetaINRError
from metainr_core.grid import Grid
from metainr_core.memory import free_memory

from .filter import Progress

# Of the images that one filter keeps: 1 GiB, and no more than a quarter of the memory that there
# is for them.
_KEPT_BYTES = 1 << 30
_KEPT_SHARE = 4


class StepImages:
    """The steps of one archive. A key is ``(step, grid, device)``."""

    def __init__(self, archive: Any):
        self._archive = archive
        self._images: OrderedDict[Any, vtkImageData] = OrderedDict()
        # The step that threads of the compiled library decode, and what waits for it.
        self._begun: tuple[Any, Callable[[Progress], np.ndarray]] | None = None

    def image(self, step: int, grid: Grid, device: str, progress: Progress) -> vtkImageData:
        """Raises MetaINRError, and what ``progress`` raises."""
        from metainr_core.vti import make_image

        key = (step, grid, device)
        if key not in self._images:
            # What was begun for another step is dropped, and its threads stop.
            begun, self._begun = self._begun, None
            if begun is not None and begun[0] == key:
                values = begun[1](progress)
            else:
                begun = None
                self._make_room(grid)
                values = self._archive.decode(step, grid, device=device, progress=progress)
            self._images[key] = make_image(values, grid, self._archive.array)
        self._images.move_to_end(key)
        return self._images[key]

    def begin(self, step: int, grid: Grid, device: str) -> None:
        """Has a step decoded in the background. What goes wrong is told when it is asked for."""
        key = (step, grid, device)
        if key in self._images or (self._begun is not None and self._begun[0] == key):
            return
        self._begun = None
        # The image that was asked for last goes only where there is no room for two.
        if 2 * self._bytes(grid) > self._allowed():
            return
        self._make_room(grid)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                values = self._archive.decode_ahead(step, grid, device=device)
        except MetaINRError:
            return
        if values is not None:
            self._begun = key, values

    def _bytes(self, grid: Grid) -> int:
        return 4 * grid.voxels * self._archive.components

    def _kept(self) -> int:
        return sum(image.GetActualMemorySize() << 10 for image in self._images.values())

    def _allowed(self) -> int:
        return min(_KEPT_BYTES, (free_memory() + self._kept()) // _KEPT_SHARE)

    def _make_room(self, grid: Grid) -> None:
        """Forgets the images that were not used for longest, before one on ``grid``."""
        kept, allowed = self._kept() + self._bytes(grid), self._allowed()
        while self._images and kept > allowed:
            _, image = self._images.popitem(last=False)
            kept -= image.GetActualMemorySize() << 10


class Direction:
    """Guesses the next step from those that were asked for, as positions 0 … count - 1."""

    def __init__(self) -> None:
        self._asked = 0, 0
        self._stride = 0
        self._guess: int | None = None

    def after(self, position: int, count: int) -> int | None:
        """What follows ``position``, which is asked for now; None where nobody can know.

        After a step by one another one is expected, around the end too; by more, after two equal
        ones. Asking for the same again changes nothing.
        """
        last, before = self._asked
        if (position, count) == (last, before):
            return self._guess
        # The shorter way around: from the last to the first it is one step forwards.
        stride = (position - last + count // 2) % count - count // 2 if count == before else 0
        sure = abs(stride) == 1 or (stride != 0 and stride == self._stride)
        self._guess = (position + stride) % count if sure else None
        self._asked, self._stride = (position, count), stride
        return self._guess
