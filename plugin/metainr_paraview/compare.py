"""Meta-INR Compare: figures, difference and isosurfaces of a reconstruction and its original."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vtkmodules.vtkCommonCore import vtkInformationVector
from vtkmodules.vtkCommonDataModel import vtkDataObject, vtkImageData
from vtkmodules.vtkCommonExecutionModel import vtkAlgorithm, vtkStreamingDemandDrivenPipeline

from metainr_core.errors import Cancelled, MetaINRError, SettingsError
from metainr_core.grid import Grid

from .comparing import FIGURES, Figures, PipelinePair
from .filter import OneProcessFilter, Progress, remove_times
from .geometry import fill_surface
from .images import (
    EMPTY_EXTENT,
    announce_grid,
    announced_grid,
    array_association,
    selected_or_only_array,
)
from .moments import Moment, moments, nearest
from .properties import properties
from .series import PipelineSeries, Upstream
from .tables import add_field_text, add_field_value, fill_table

TABLE, DIFFERENCE, REFERENCE, RECONSTRUCTION = range(4)
DIFFERENCE_ARRAY = "difference"
MATCHING_ARRAY = "matching"
TIME_STEPS = ("current", "all")
_PIPELINE = vtkStreamingDemandDrivenPipeline


@properties(
    ReconstructionScalars="", IgnoreNonfinite=0, TimeSteps="current", Isovalues=(),
    LPIPS=0, LPIPSNet="alex", BackboneFile="",
)  # fmt: skip
class MetaINRCompare(OneProcessFilter):
    """Outputs: table, difference (reconstruction - reference), isosurfaces of both.

    Inputs: reference (port 0), reconstruction (port 1). The table has one row for the time shown,
    or for every common time; the other outputs are those of the time shown.
    """

    label = "Meta-INR Compare"
    output_types = ("vtkTable", "vtkImageData", "vtkPolyData", "vtkPolyData")

    def __init__(self) -> None:
        super().__init__(nInputPorts=2, inputType="vtkImageData")
        self._figures: Figures | None = None

    def SetNumberOfIsovalues(self, count: int) -> None:
        """ParaView sets the length of a list, then its elements."""
        self.SetIsovalues((self.values["Isovalues"] + count * (0.0,))[:count])

    def SetIsovalue(self, index: int, value: float) -> None:
        values = list(self.values["Isovalues"])
        values[index] = value
        self.SetIsovalues(values)

    def RequestInformation(self, request: Any, inInfo: Any, outInfo: vtkInformationVector) -> int:
        inputs = [inInfo[port].GetInformationObject(0) for port in (0, 1)]
        outputs = [outInfo.GetInformationObject(port) for port in range(len(self.output_types))]
        grid: Grid | None = None
        times: list[float] = []
        # What is wrong is told when data is asked for: once, and not while a state is loaded.
        try:
            association = array_association(self) or "point"
            first, second = (announced_grid(info, association) for info in inputs)
            if first and second:
                grid = first.overlap(second)
            steps = [info.Get(_PIPELINE.TIME_STEPS()) or () for info in inputs]
            times = [moment.time for moment in moments(*steps)] if any(steps) else []
        except MetaINRError:
            pass
        for info in outputs:
            remove_times(info)
            if times:
                info.Set(_PIPELINE.TIME_STEPS(), times, len(times))
                info.Set(_PIPELINE.TIME_RANGE(), (times[0], times[-1]), 2)
        announce_grid(outputs[DIFFERENCE], grid)
        outputs[DIFFERENCE].Remove(vtkAlgorithm.CAN_PRODUCE_SUB_EXTENT())
        return 1

    def RequestUpdateExtent(self, request: Any, inInfo: Any, outInfo: Any) -> int:
        # VTK would ask both inputs for the extent that is asked of the difference.
        for port in (0, 1):
            info = inInfo[port].GetInformationObject(0)
            if info.Has(_PIPELINE.WHOLE_EXTENT()):
                whole = info.Get(_PIPELINE.WHOLE_EXTENT())
                info.Set(_PIPELINE.UPDATE_EXTENT(), whole, 6)
        return 1

    def RequestData(self, request: Any, inInfo: Any, outInfo: vtkInformationVector) -> int:
        # All outputs become those of the one time that was asked of one of them. VTK has to know
        # of each, or it would not run again for an output whose own time was another one.
        info = inInfo[0].GetInformationObject(0)
        key = _PIPELINE.UPDATE_TIME_STEP()
        for port in range(len(self.output_types)):
            output = outInfo.GetInformationObject(port)
            output.Remove(key)
            if info.Has(key):
                output.Set(key, info.Get(key))
                data = vtkDataObject.GetData(outInfo, port).GetInformation()
                data.Set(vtkDataObject.DATA_TIME_STEP(), info.Get(key))
        super().RequestData(request, inInfo, outInfo)
        if vtkDataObject.GetData(outInfo, DIFFERENCE).GetNumberOfPoints() == 0:
            # VTK would run again, and tell the error again, for the extent that is missing.
            output = outInfo.GetInformationObject(DIFFERENCE)
            announce_grid(output, None)
            output.Set(_PIPELINE.UPDATE_EXTENT(), EMPTY_EXTENT, 6)
        return 1

    def run(self, inInfo: Any, output: Any, progress: Progress) -> None:
        if self.values["TimeSteps"] not in TIME_STEPS:
            raise SettingsError(f"TimeSteps is {self.values['TimeSteps']!r}; current or all")
        inputs = Upstream(self, 0, "the Reference"), Upstream(self, 1, "the Reconstruction")
        found = moments(inputs[0].steps, inputs[1].steps)
        shown = nearest(found, inputs[0].requested)
        wanted = found if self.values["TimeSteps"] == "all" else [shown]
        with self._pair(inputs, shown) as pair:
            figures = self._known(pair, lambda f, m: progress(0.2 * f, m))
            self._show(pair, shown, figures, progress)
            try:
                for done, moment in enumerate(wanted):
                    progress(0.2 + 0.8 * done / len(wanted), f"comparing time {moment.time:g}")
                    if moment not in figures.rows:
                        figures.measure(moment, *pair.values(moment), pair.grid)
            except Cancelled:
                measured = sum(moment in figures.rows for moment in wanted)
                text = (
                    f"stopped; the table has {measured} of {len(wanted)} times; Run Again continues"
                )
                self.report(text, "Warning")
            rows = [figures.rows[moment] for moment in wanted if moment in figures.rows]
            fill_table(output, figures.columns(), rows)
            add_field_text(output, MATCHING_ARRAY, pair.match.text)

    @contextmanager
    def _pair(self, inputs: tuple[Upstream, Upstream], shown: Moment) -> Iterator[PipelinePair]:
        ignore = bool(self.values["IgnoreNonfinite"])

        def chosen(image: vtkImageData) -> tuple[str, str]:
            return selected_or_only_array(self, image)

        def matching(image: vtkImageData) -> tuple[str, str]:
            from metainr_core.vti import image_arrays

            name = self.values["ReconstructionScalars"] or reference.array
            found = [a for a, n in image_arrays(image) if n == name]
            own = reference.grid.association
            return found[0] if found and own not in found else own, name

        with (
            PipelineSeries.opened(
                self, inputs[0], array=chosen, first=shown.first, ignore_nonfinite=ignore
            ) as reference,
            PipelineSeries.opened(
                self, inputs[1], array=matching, first=shown.second, ignore_nonfinite=ignore
            ) as reconstruction,
        ):
            yield PipelinePair(reference, reconstruction)

    def _known(self, pair: PipelinePair, progress: Any) -> Figures:
        """The figures found before, unless something has changed."""
        settings = {k: v for k, v in self.values.items() if k != "TimeSteps"}
        inputs = pair.reference, pair.reconstruction
        key = settings, [(series.upstream.modified, series.array, series.grid) for series in inputs]
        if self._figures is None or self._figures.key != key:
            self._figures = Figures.of(key, pair.reference, self.values, progress)
        return self._figures

    def _show(self, pair: PipelinePair, shown: Moment, figures: Figures, progress: Any) -> None:
        """Fills the outputs that are of one time."""
        from metainr_core.vti import make_image

        progress(0.2, f"comparing time {shown.time:g}")
        first, second = pair.values(shown)
        if shown in figures.rows:
            surfaces = pair.surfaces(first, second, figures.isovalues)
        else:
            surfaces = figures.measure(shown, first, second, pair.grid).surfaces
        for port in (REFERENCE, RECONSTRUCTION):
            fill_surface(self.GetOutputDataObject(port), surfaces, port - REFERENCE)
        announce_grid(self.GetOutputInformation(DIFFERENCE), pair.grid)
        image = self.GetOutputDataObject(DIFFERENCE)
        image.ShallowCopy(make_image(second - first, pair.grid, DIFFERENCE_ARRAY))
        for name in FIGURES:
            add_field_value(image, name, figures.rows[shown][name])
