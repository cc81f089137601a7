"""The input of a filter as a time series that is read one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from vtkmodules.vtkCommonCore import vtkInformation, vtkInformationVector
from vtkmodules.vtkCommonDataModel import vtkDataObject, vtkImageData
from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline

from metainr_core.errors import MetaINRError, SeriesError
from metainr_core.ghosts import warn_of_hidden
from metainr_core.series import Series, check_grid

from .images import ArrayChoice, ghosts_of, grid_of, single_image

Here = Callable[[Callable[[], Any]], Any]
"""Runs a function in the thread that may touch VTK, and returns what it returns."""

_UPDATE_TIME = vtkStreamingDemandDrivenPipeline.UPDATE_TIME_STEP()


class Upstream:
    """What is connected to an input port of an algorithm, updated to any time.

    An algorithm may do that while it executes: everything upstream has finished by then.
    ``steps``: its times, none when it does not depend on time. ``name``: for messages. ``here``:
    where it is updated, for callers in another thread.
    """

    def __init__(self, algorithm: Any, port: int = 0, name: str = "the input"):
        self.name = name
        self.here: Here = lambda call: call()
        connection = algorithm.GetInputConnection(port, 0)
        self._producer, self._port = connection.GetProducer(), connection.GetIndex()
        self._info = self._producer.GetOutputInformation(self._port)
        self.steps = tuple(self._info.Get(vtkStreamingDemandDrivenPipeline.TIME_STEPS()) or ())
        self.requested = self._info.Get(_UPDATE_TIME) if self._info.Has(_UPDATE_TIME) else None

    def image(self, time: float | None) -> vtkImageData:
        """The input at a time (None: at no special one). Raises SeriesError."""
        if not self.here(lambda: self._update(time)):
            raise SeriesError(f"{self.name} cannot be read; see the messages of what is before it")
        return single_image(self._producer.GetOutputDataObject(self._port), self.name)

    @property
    def modified(self) -> int:
        """Grows when something upstream is changed, but not when another time is asked for."""
        return int(self._producer.GetExecutive().GetPipelineMTime())

    def restore(self) -> None:
        """Brings the input back to the time that was asked for before."""
        self.here(lambda: self._update(self.requested))

    def _update(self, time: float | None) -> bool:
        request = vtkInformation()
        if time is None:
            self._info.Remove(_UPDATE_TIME)
        else:
            request.Set(_UPDATE_TIME, time)
        requests = vtkInformationVector()
        requests.SetInformationObject(self._port, request)
        return bool(self._producer.Update(self._port, requests))


class PipelineSeries(Series):
    """All time steps of a filter's input: random access, one step in memory.

    ``upstream``: where they come from. Without time steps the input is one step: what it gives at
    the time asked for.
    """

    def __init__(self, upstream: Upstream, array: ArrayChoice, first: int, ignore_nonfinite: bool):
        from metainr_core.vti import image_values

        self.upstream = upstream
        self._requests = upstream.steps or (upstream.requested,)
        image = upstream.image(self._requests[first])
        self._association, name = array(image)
        grid = grid_of(image, self._association, upstream.name)
        try:
            components = image_values(image, name, self._association).shape[3]
        except MetaINRError as error:
            raise SeriesError(f"{upstream.name}: {error}") from error
        # The view's time must not become the time of data that has none.
        key, info = vtkDataObject.DATA_TIME_STEP(), image.GetInformation()
        times = upstream.steps or (info.Get(key) if info.Has(key) else 0.0,)
        super().__init__(
            upstream.name, grid, name, components, times, ignore_nonfinite=ignore_nonfinite
        )

    @classmethod
    @contextmanager
    def opened(
        cls,
        upstream: Upstream,
        array: ArrayChoice,
        *,
        first: int = 0,
        ignore_nonfinite: bool = False,
    ) -> Iterator[PipelineSeries]:
        """The series of an input, to be used while the algorithm that it is connected to executes.

        ``first``: the step whose grid all others have to have. Afterwards the input is again as it
        was. Raises SeriesError.
        """
        try:
            yield cls(upstream, array, first, ignore_nonfinite)
        finally:
            upstream.restore()

    def where(self, step: int) -> str:
        return f"step {step} (time {self.times[step]:g}) of {self.name}"

    def _load(self, step: int) -> np.ndarray:
        from metainr_core.vti import image_values

        try:
            image = self.upstream.image(self._requests[step])
            grid = grid_of(image, self._association, self.name)
            values = image_values(image, self.array, self._association)
        except MetaINRError as error:
            raise SeriesError(f"{self.where(step)}: {error}") from error
        check_grid(grid, self.grid, self.where(step))
        warn_of_hidden(self, step, ghosts_of(image, self._association))
        # The pipeline may use the memory again; other types are copied when ``read`` converts them.
        return values.copy() if values.dtype == np.float32 else values
