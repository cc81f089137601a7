"""Values of an archive's steps from their networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch

from . import fused
from .decode import decode_grid, start_grid
from .device import decode_dtype, find_device
from .errors import MetaINRError
from .grid import Grid
from .layout import BrickLayout
from .memory import free_memory
from .records import Header, StepRecord
from .residual import resample
from .series import Progress, no_progress
from .siren import Siren
from .step_files import StepFiles

_Plan = tuple[Siren, BrickLayout, list[np.ndarray], np.ndarray, np.ndarray, torch.dtype]


class Decoder:
    """Decodes what ``files`` hold; ``records`` is the archive's own, by step."""

    def __init__(self, header: Header, files: StepFiles, records: Mapping[int, StepRecord]):
        self._header, self._files, self._records = header, files, records

    def decode(self, step: int, grid: Grid, device: str, progress: Progress) -> np.ndarray:
        """See ``Archive.decode``."""
        siren = self._files.load(step)
        with self._memory_for(step, grid):
            plan = self._plan(step, siren.to(find_device(device)), grid)
            return self._complete(step, grid, decode_grid(*plan, progress))

    def decode_ahead(
        self, step: int, grid: Grid, device: str
    ) -> Callable[[Progress], np.ndarray] | None:
        """See ``Archive.decode_ahead``."""
        siren = self._files.load(step).to(find_device(device))
        with self._memory_for(step, grid):
            plan = self._plan(step, siren, grid)
            if not fused.serves(siren.weights[0].device, plan[-1]):
                return None
            decoding = start_grid(*plan, background=True)

        def values(progress: Progress = no_progress) -> np.ndarray:
            with self._memory_for(step, grid, held=True):
                return self._complete(step, grid, decoding.values(progress))

        return values

    def _plan(self, step: int, siren: Siren, grid: Grid) -> _Plan:
        """The arguments of ``decode_grid`` up to ``dtype``."""
        dtype = decode_dtype(self._records[step].precision, siren.weights[0].device)
        centre, half = self._header.value_range.scale()
        where = self._header.grid.index_coordinates(grid)
        return siren, self._files.layout, where, centre, half, dtype

    def _complete(self, step: int, grid: Grid, values: np.ndarray) -> np.ndarray:
        """With what the networks lack, where a bound is kept."""
        if self._records[step].bound:
            where = self._header.grid.index_coordinates(grid)
            values += resample(self._files.residual(step), where)
        return values

    @contextmanager
    def _memory_for(self, step: int, grid: Grid, held: bool = False) -> Iterator[None]:
        """Says what to do where there is not enough; ``held``: the values have theirs."""
        # The values, and where they lie along each axis.
        size = 4 * grid.voxels * self._header.components + 32 * sum(grid.dims)
        if self._records[step].bound:  # what is stored of all voxels is read as a whole
            size += 4 * self._header.grid.voxels * self._header.components
        try:
            if not held and size > free_memory():
                raise MemoryError
            yield
        except MemoryError as error:
            raise MetaINRError(
                f"{grid.dims} values need {size / 2**30:.3g} GiB, which this machine does not"
                " have free; decode fewer values or a box of them"
            ) from error
