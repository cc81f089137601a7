"""Meta-INR Compare: figures, difference and isosurfaces of a reconstruction and its original."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vtkmodules.vtkCommonDataModel import vtkDataObject, vtkImageData

from metainr_core.errors import Cancelled, SettingsError

from .filter import Progress
from .geometry import fill_surface
from .images import announce_grid, array_choice
from .moments import Moment, moments, nearest
from .pair import PairFilter
from .properties import properties
from .series import PipelineSeries, Upstream
from .tables import add_field_text, add_field_value, fill_table

if TYPE_CHECKING:
    from .comparing import Figures, PipelinePair

TABLE, DIFFERENCE, REFERENCE, RECONSTRUCTION = range(4)
DIFFERENCE_ARRAY = "difference"
MATCHING_ARRAY = "matching"
TIME_STEPS = ("current", "all")


@properties(
    ReconstructionScalars="", IgnoreNonfinite=0, TimeSteps="current", Isovalues=(),
    LPIPS=0, LPIPSNet="alex", BackboneFile="",
)  # fmt: skip
class MetaINRCompare(PairFilter):
    """Outputs: table, difference (reconstruction - reference), isosurfaces of both.

    Inputs: reference (port 0), reconstruction (port 1). The table has one row for the time shown,
    or for every common time; the other outputs are those of the time shown.
    """

    label = "Meta-INR Compare"
    output_types = ("vtkTable", "vtkImageData", "vtkPolyData", "vtkPolyData")
    image_port = DIFFERENCE

    def __init__(self) -> None:
        super().__init__()
        self._figures: Figures | None = None

    def SetNumberOfIsovalues(self, count: int) -> None:
        """ParaView sets the length of a list, then its elements."""
        self.SetIsovalues((self.values["Isovalues"] + count * (0.0,))[:count])

    def SetIsovalue(self, index: int, value: float) -> None:
        values = list(self.values["Isovalues"])
        values[index] = value
        self.SetIsovalues(values)

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
            if inputs[0].steps or inputs[1].steps:
                self._set_time(shown.time)
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
        from .comparing import PipelinePair

        ignore = bool(self.values["IgnoreNonfinite"])

        def matching(image: vtkImageData) -> tuple[str, str]:
            from metainr_core.vti import image_arrays

            name = self.values["ReconstructionScalars"] or reference.array
            found = [a for a, n in image_arrays(image) if n == name]
            own = reference.grid.association
            return found[0] if found and own not in found else own, name

        with (
            PipelineSeries.opened(
                inputs[0], array_choice(self), first=shown.first, ignore_nonfinite=ignore
            ) as reference,
            PipelineSeries.opened(
                inputs[1], matching, first=shown.second, ignore_nonfinite=ignore
            ) as reconstruction,
        ):
            yield PipelinePair(reference, reconstruction)

    def _known(self, pair: PipelinePair, progress: Any) -> Figures:
        """The figures found before, unless something has changed."""
        from .comparing import Figures

        settings = {k: v for k, v in self.values.items() if k != "TimeSteps"}
        inputs = pair.reference, pair.reconstruction
        key = settings, [(series.upstream.modified, series.array, series.grid) for series in inputs]
        if self._figures is None or self._figures.key != key:
            self._figures = Figures.of(key, pair.reference, self.values, progress)
        return self._figures

    def _show(self, pair: PipelinePair, shown: Moment, figures: Figures, progress: Any) -> None:
        """Fills the outputs that are of one time."""
        from metainr_core.vti import make_image

        from .comparing import FIGURES

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

    def _set_time(self, time: float) -> None:
        for port in range(len(self.output_types)):
            info = self.GetOutputDataObject(port).GetInformation()
            info.Set(vtkDataObject.DATA_TIME_STEP(), time)
