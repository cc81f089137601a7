"""What Decode and the reader share: an archive as image data over time."""

from __future__ import annotations

from typing import Any

from vtkmodules.vtkCommonCore import vtkInformationVector
from vtkmodules.vtkCommonDataModel import vtkDataObject, vtkImageData
from vtkmodules.vtkCommonExecutionModel import vtkAlgorithm, vtkStreamingDemandDrivenPipeline

from metainr_core.config import DEVICES
from metainr_core.errors import ArchiveError, MetaINRError, SettingsError
from metainr_core.grid import Grid
from metainr_core.members import described, find_member, member_of
from metainr_core.records import StepRecord
from metainr_core.report import warn_of_missing

from .encode import ARCHIVE_ARRAY
from .filter import MetaINRFilter, Progress, remove_times, stamp
from .images import announce_grid
from .properties import properties
from .stepping import Direction, StepImages
from .tables import add_field_text


@properties(
    Resolution="original", Scale=1.0, Dimensions=(0, 0, 0), UseBox=0,
    Box=(0.0,) * 6, Member="", Device="auto",
)  # fmt: skip
class ArchiveSource(MetaINRFilter):
    """Decodes the step nearest to the time asked for, of one member of the archive.

    Subclasses give ``archive_path``, which is also the output's field data ``minr_archive``.
    """

    output_types = ("vtkImageData",)

    def __init__(self, **ports: Any):
        super().__init__(**ports)
        self._archive: Any = None
        self._stamp: tuple[int, ...] | None = None
        self._grid: Grid | None = None
        self._records: list[StepRecord] = []
        self._problem: MetaINRError | ImportError | None = None
        self._images: StepImages | None = None
        self._direction = Direction()
        self._tells_missing = False

    def archive_path(self) -> str:
        """Path of the ``.minr`` file. Raises MetaINRError."""
        raise NotImplementedError

    def RequestInformation(self, request: Any, inInfo: Any, outInfo: vtkInformationVector) -> int:
        info = outInfo.GetInformationObject(0)
        remove_times(info)
        pipeline = vtkStreamingDemandDrivenPipeline
        announce_grid(info, None)
        self._problem = None
        try:
            self._open()
            self._records = self._chosen_records()
            grid = self._grid = self._chosen_grid()
        except (MetaINRError, ImportError) as error:
            # Told when data is asked for: once, and not while a state is still being loaded.
            self._problem = error
            return 1
        announce_grid(info, grid)
        info.Set(vtkAlgorithm.CAN_PRODUCE_SUB_EXTENT(), 1)
        times = [record.time for record in self._records]
        info.Set(pipeline.TIME_STEPS(), times, len(times))
        info.Set(pipeline.TIME_RANGE(), (times[0], times[-1]), 2)
        return 1

    def GetMembers(self) -> list[str]:
        """Names of the members that have steps in the archive opened last; none in no ensemble."""
        if self._archive is None:
            return []
        steps, members = self._archive.steps, self._archive.members
        return [m.name for m in members if m.name and any(step in m.steps for step in steps)]

    def GetBoxRange(self) -> list[float]:
        """Lowest and highest of each of the six numbers of ``Box``; 0 to 1 without an archive."""
        bounds = (0.0, 1.0) * 3 if self._archive is None else self._archive.grid.bounds
        return [b for axis in (0, 2, 4) for b in 2 * bounds[axis : axis + 2]]

    def _chosen_records(self) -> list[StepRecord]:
        """Of the encoded steps of ``Member``, or without one of the first that has any."""
        archive, name = self._archive, self.values["Member"]
        member = member_of(archive.members, archive.steps[0])
        if name:
            member = find_member(archive.members, name, archive.path)
        chosen = [record for record in archive.records if record.step in member.steps]
        if not chosen:
            raise ArchiveError(f"{archive.path} holds no step of {described(member)} yet")
        return chosen

    def _open(self) -> None:
        """Opens the archive, again if the file has changed."""
        from metainr_core import Archive

        path = self.archive_path()
        found = stamp(path)
        if self._archive is None or str(self._archive.path) != path or found != self._stamp:
            self._archive = self._images = None
            self._archive = Archive.open(path)
            self._images = StepImages(self._archive)
            self._stamp = found
            self._tells_missing = True
        if not self._archive.steps:
            if self._archive.missing:
                raise ArchiveError(
                    f"{path}: the files of all of its steps are missing in {self._archive.folder};"
                    " copy that folder again"
                )
            raise ArchiveError(f"{path} holds no encoded step yet; run Meta-INR Encode")

    def _chosen_grid(self) -> Grid:
        values, grid = self.values, self._archive.grid
        if values["Device"] not in DEVICES:
            raise SettingsError(f"Device is {values['Device']!r}; one of {', '.join(DEVICES)}")
        if values["UseBox"] and any(values["Box"]):
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
        if self._problem is not None or self._grid is None or self._images is None:
            raise self._problem or ArchiveError("no archive is open")
        if self._tells_missing:
            warn_of_missing(self._archive)
            self._tells_missing = False
        info = self.GetOutputInformation(0)
        pipeline = vtkStreamingDemandDrivenPipeline
        extent = info.Get(pipeline.UPDATE_EXTENT())
        if any(high < low for low, high in zip(extent[::2], extent[1::2], strict=True)):
            return  # another process has all of it
        grid = self._grid.part(extent)
        position = 0
        if info.Has(pipeline.UPDATE_TIME_STEP()):
            time = info.Get(pipeline.UPDATE_TIME_STEP())
            times = [record.time for record in self._records]
            position = min(range(len(times)), key=lambda i: abs(times[i] - time))
        record, device = self._records[position], self.values["Device"]
        output.ShallowCopy(self._images.image(record.step, grid, device, progress))
        output.GetInformation().Set(vtkDataObject.DATA_TIME_STEP(), record.time)
        add_field_text(output, ARCHIVE_ARRAY, str(self._archive.path))
        following = self._direction.after(position, len(self._records))
        if following is not None:
            self._images.begin(self._records[following].step, grid, device)
