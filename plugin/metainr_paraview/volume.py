"""What Decode and the reader share: an archive as image data over time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from vtkmodules.vtkCommonCore import vtkInformationVector
from vtkmodules.vtkCommonDataModel import vtkDataObject, vtkImageData
from vtkmodules.vtkCommonExecutionModel import vtkAlgorithm, vtkStreamingDemandDrivenPipeline

from metainr_core.config import DEVICES
from metainr_core.errors import ArchiveError, MetaINRError, SettingsError
from metainr_core.grid import Grid

from .filter import MetaINRFilter, Progress, remove_times, stamp
from .properties import properties

_CACHED_BYTES = 512 << 20
_CACHED_IMAGES = 8
_EMPTY = (0, -1, 0, -1, 0, -1)


@properties(
    Resolution="original", Scale=1.0, Dimensions=(0, 0, 0), UseBox=0,
    Box=(0.0, 1.0, 0.0, 1.0, 0.0, 1.0), Device="auto",
)  # fmt: skip
class ArchiveSource(MetaINRFilter):
    """Decodes the step nearest to the time asked for. Subclasses give ``archive_path``."""

    output_types = ("vtkImageData",)

    def __init__(self, **ports: Any):
        super().__init__(**ports)
        self._archive: Any = None
        self._stamp: tuple[int, ...] | None = None
        self._grid: Grid | None = None
        self._problem: MetaINRError | ImportError | None = None
        self._images: OrderedDict[Any, vtkImageData] = OrderedDict()

    def archive_path(self) -> str:
        """Path of the ``.minr`` file. Raises MetaINRError."""
        raise NotImplementedError

    def RequestInformation(self, request: Any, inInfo: Any, outInfo: vtkInformationVector) -> int:
        info = outInfo.GetInformationObject(0)
        remove_times(info)
        pipeline = vtkStreamingDemandDrivenPipeline
        info.Set(pipeline.WHOLE_EXTENT(), _EMPTY, 6)
        self._problem = None
        try:
            self._open()
            grid = self._grid = self._chosen_grid()
        except (MetaINRError, ImportError) as error:
            # Told when data is asked for: once, and not while a state is still being loaded.
            self._problem = error
            return 1
        info.Set(pipeline.WHOLE_EXTENT(), grid.extent, 6)
        info.Set(vtkDataObject.SPACING(), grid.spacing, 3)
        info.Set(vtkDataObject.ORIGIN(), grid.origin, 3)
        info.Set(vtkDataObject.DIRECTION(), grid.direction, 9)
        info.Set(vtkAlgorithm.CAN_PRODUCE_SUB_EXTENT(), 1)
        times = self._archive.times
        if times:
            info.Set(pipeline.TIME_STEPS(), times, len(times))
            info.Set(pipeline.TIME_RANGE(), (times[0], times[-1]), 2)
        return 1

    def _open(self) -> None:
        """Opens the archive, again if the file has changed."""
        from metainr_core import Archive

        path = self.archive_path()
        found = stamp(path)
        if self._archive is None or str(self._archive.path) != path or found != self._stamp:
            self._images.clear()
            self._archive = Archive.open(path)
            self._stamp = found
        if not self._archive.steps:
            raise ArchiveError(f"{path} holds no encoded step yet; run Meta-INR Encode")

    def _chosen_grid(self) -> Grid:
        values, grid = self.values, self._archive.grid
        if values["Device"] not in DEVICES:
            raise SettingsError(f"Device is {values['Device']!r}; one of {', '.join(DEVICES)}")
        if values["UseBox"]:
            grid = grid.cropped(values["Box"])
        if values["Resolution"] == "original":
            return grid
        if values["Resolution"] == "scale":
            return grid.scaled(values["Scale"])
        if values["Resolution"] != "dims":
            raise SettingsError(f"Resolution is {values['Resolution']!r}; original, scale or dims")
        dims = zip(values["Dimensions"], grid.dims, strict=True)
        return grid.resampled([asked or own for asked, own in dims])

    def run(self, inInfo: Any, output: vtkImageData, progress: Progress) -> None:
        if self._problem is not None or self._grid is None:
            raise self._problem or ArchiveError("no archive is open")
        info = self.GetOutputInformation(0)
        pipeline = vtkStreamingDemandDrivenPipeline
        extent = info.Get(pipeline.UPDATE_EXTENT())
        if any(high < low for low, high in zip(extent[::2], extent[1::2], strict=True)):
            return  # another process has all of it
        grid = self._grid.part(extent)
        record = self._archive.records[0]
        if info.Has(pipeline.UPDATE_TIME_STEP()):
            time = info.Get(pipeline.UPDATE_TIME_STEP())
            record = min(self._archive.records, key=lambda r: abs(r.time - time))
        output.ShallowCopy(self._image(record.step, grid, progress))
        output.GetInformation().Set(vtkDataObject.DATA_TIME_STEP(), record.time)

    def _image(self, step: int, grid: Grid, progress: Progress) -> vtkImageData:
        from metainr_core.vti import make_image

        device = self.values["Device"]
        key = (step, grid, device)
        if key not in self._images:
            self._make_room(4 * grid.voxels * self._archive.components)
            values = self._archive.decode(step, grid, device=device, progress=progress)
            self._images[key] = make_image(values, grid, self._archive.array)
        self._images.move_to_end(key)
        return self._images[key]

    def _make_room(self, size: int) -> None:
        """Forgets the images that were not used for longest, before one of ``size`` bytes."""
        kept = sum(image.GetActualMemorySize() << 10 for image in self._images.values())
        while self._images and (len(self._images) >= _CACHED_IMAGES or kept + size > _CACHED_BYTES):
            _, image = self._images.popitem(last=False)
            kept -= image.GetActualMemorySize() << 10
