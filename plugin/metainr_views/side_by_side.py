"""Original, reconstruction and difference side by side, in three linked views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paraview import servermanager, simple

from . import colors
from .placement import lay_out, link_cameras
from .sources import Array, SideBySideError, array_range, arrays_of, find_array, users

NAME = "Side by side"  # of the layout; what is made here is registered under names that start so
VIEWS = ("original", "reconstruction", "difference")
TABLE, DIFFERENCE, REFERENCE_SURFACE, RECONSTRUCTION_SURFACE = range(4)  # ports of the Compare
BACKGROUND, TEXT = [0.08, 0.09, 0.12], [1.0, 1.0, 1.0]
TITLE_PIXELS, BAR_PIXELS = 17, 14  # height of letters
OUTLIER, FAR = 8.0, 2.0  # times the mean difference or distance, where its colours end


@dataclass(frozen=True)
class SideBySide:
    """What `side_by_side` made. ``views``: original, reconstruction, difference.

    ``pixels``: width and height that suit the layout in a picture.
    """

    layout: Any
    views: Sequence[Any]
    compare: Any
    pixels: tuple[int, int]

    def save_picture(self, path: str | Path) -> bool:
        """The time shown, as an image file of the kind that the name's end says; whether that went
        well. An older file of this name is gone in any case."""
        Path(path).unlink(missing_ok=True)
        with self._unlinked():
            simple.SaveScreenshot(str(path), self.layout, ImageResolution=list(self.pixels))
        return Path(path).is_file()  # SaveScreenshot returns True also where it cannot write

    def save_animation(self, path: str | Path, frames_per_second: int = 5) -> bool:
        """All times that original and reconstruction have in common; whether that went well.

        A film (.ogv, .avi), or pictures (.png, .jpg …) with numbers in front of the name's end.
        """
        scene = simple.GetAnimationScene()
        keeper = simple.GetTimeKeeper()
        keeper.SuppressedTimeSources = [self.compare.Reference, self.compare.Reconstruction]
        scene.UpdateAnimationUsingDataTimeSteps()
        scene.PlayMode = "Snap To TimeSteps"
        with self._unlinked():
            return simple.SaveAnimation(
                str(path),
                self.layout,
                ImageResolution=list(self.pixels),
                FrameRate=frames_per_second,
                FrameWindow=[0, len(self.compare.TimestepValues) - 1],
            )

    @contextmanager
    def _unlinked(self) -> Iterator[None]:
        """Links would draw all views again for each that is drawn."""
        simple.RemoveCameraLink(NAME)
        try:
            yield
        finally:
            link_cameras(NAME, self.views)


def side_by_side(
    original: Any,
    reconstruction: Any,
    *,
    array: str | None = None,
    compare: Any = None,
    isovalues: Sequence[float] | None = None,
    time: float | None = None,
    all_times: bool = False,
    in_window: bool = False,
) -> SideBySide:
    """Lays out two sources of image data and their difference in linked views.

    array: name (None: of the reconstruction's first array, if the original has it). compare: a
    MetaINRCompare of the two, with settings of its own (None: one is made). isovalues: None renders
    volumes, otherwise isosurfaces are shown; of none, those at the quartiles. time: shows the
    common time nearest to it (None: to the current one). all_times: the colours of difference or
    distance span all time steps, which are compared now for that, rather than the one that is
    shown. Those of original and reconstruction always span the original at all time steps.
    in_window: this is the GUI, whose window says how large the views are.

    Raises SideBySideError when there is nothing to compare.
    """
    remove_previous(keep=compare)
    scene = simple.GetAnimationScene()
    scene.UpdateAnimationUsingDataTimeSteps()
    if compare is None:
        compare = new_compare(original, reconstruction, array, isovalues or [])
    compare.UpdatePipelineInformation()
    if len(compare.TimestepValues):
        wanted = scene.AnimationTime if time is None else time
        scene.AnimationTime = min(compare.TimestepValues, key=lambda t: abs(t - wanted))
    for source in (original, reconstruction, compare):
        source.UpdatePipeline(scene.AnimationTime)
    if not simple.OutputPort(compare, TABLE).GetDataInformation().GetNumberOfRows():
        raise SideBySideError("there is no comparison; the message above says why")
    association, name = compare.Scalars
    shown = (association, name), find_array(reconstruction, compare.ReconstructionScalars or name)
    preset = colors.VOLUME if isovalues is None else colors.SURFACE
    values = colors.value_functions(original, shown[0], preset)
    views = [new_view(view) for view in VIEWS]
    if isovalues is None:
        for source, of_source, view in zip((original, reconstruction), shown, views, strict=False):
            show_volume(source, of_source, values, view, name)
        port = simple.OutputPort(compare, DIFFERENCE)
        reach = colors.largest_shown(compare, OUTLIER, "mean_error", "max_error", all_times)
        difference = colors.difference_functions(reach, values)
        show_volume(port, find_array(port), difference, views[2], "difference")
    else:
        for side, view in zip((REFERENCE_SURFACE, RECONSTRUCTION_SURFACE), views, strict=False):
            show_surface(compare, side, "isovalue", values, view, name)
        columns = "chamfer_voxels_", "hausdorff_voxels_"
        reach = colors.largest_shown(compare, FAR, *columns, all_times)
        distances = colors.distance_functions(reach)
        title = "distance to the original's (voxels)"
        show_surface(compare, RECONSTRUCTION_SURFACE, "distance_voxels", distances, views[2], title)
    annotate(compare, views, surfaces=isovalues is not None)
    layout, pixels = lay_out(NAME, views, original.GetDataInformation().GetBounds(), in_window)
    link_cameras(NAME, views)
    return SideBySide(layout, views, compare, pixels)


def new_compare(
    original: Any, reconstruction: Any, array: str | None, isovalues: Sequence[float]
) -> Any:
    for source in (original, reconstruction):
        source.UpdatePipeline()
    theirs = [name for _, name in arrays_of(reconstruction)]
    common = [name for _, name in arrays_of(original) if name in theirs]
    ours = find_array(original, array or (common[0] if common else None))
    return simple.MetaINRCompare(
        registrationName=f"{NAME}: Compare",
        Reference=original,
        Reconstruction=reconstruction,
        Scalars=list(ours),
        ReconstructionScalars=ours[1] if ours[1] in theirs else find_array(reconstruction)[1],
        Isovalues=list(isovalues),
    )


def new_view(name: str) -> Any:
    return simple.CreateView(
        "RenderView",
        registrationName=f"{NAME}: {name}",
        UseColorPaletteForBackground=0,
        Background=BACKGROUND,
        OrientationAxesVisibility=0,
    )


def show_volume(
    source: Any, array: Array, functions: colors.TransferFunctions, view: Any, title: str
) -> None:
    shown = simple.Show(source, view)
    extent = np.reshape(source.GetDataInformation().GetExtent(), (3, 2))
    flat = bool((extent[:, 0] == extent[:, 1]).any())
    shown.SetRepresentationType("Slice" if flat else "Volume")
    color(shown, array, functions, view, title)
    shown.ScalarOpacityFunction = functions[1]


def show_surface(
    compare: Any, port: int, array: str, functions: colors.TransferFunctions, view: Any, title: str
) -> None:
    """Half transparent where there are several, one inside the other."""
    shown = simple.Show(simple.OutputPort(compare, port), view)
    low, high = array_range(simple.OutputPort(compare, port), ("POINTS", "isovalue"))
    shown.SetRepresentationType("Surface")
    shown.Opacity, shown.Ambient = 1.0 if low == high else 0.5, 0.2
    color(shown, ("POINTS", array), functions, view, title)


def color(
    shown: Any, array: Array, functions: colors.TransferFunctions, view: Any, title: str
) -> None:
    simple.ColorBy(shown, array)
    shown.LookupTable = functions[0]
    bar = simple.GetScalarBar(functions[0], view)
    bar.Title, bar.ComponentTitle = title, ""
    bar.Orientation, bar.WindowLocation = "Horizontal", "Lower Center"
    bar.ScalarBarLength, bar.ScalarBarThickness = 0.45, 12
    bar.TitleFontSize = bar.LabelFontSize = BAR_PIXELS
    bar.TitleColor = bar.LabelColor = TEXT
    bar.AutomaticLabelFormat, bar.LabelFormat = 0, "%.3g"
    low, high = colors.ends(functions)
    bar.UseCustomLabels, bar.CustomLabels, bar.AddRangeLabels = 1, [low, (low + high) / 2, high], 0
    bar.Visibility = 1


def annotate(compare: Any, views: Sequence[Any], surfaces: bool) -> None:
    """Some lines above each view, out of the row of the compare's table that is of the time shown.

    They are evaluated whenever the table changes, so they follow the time wherever it is changed.
    """
    number = "len([name for name in table.keys() if name.startswith('chamfer_voxels_')])"
    each = f"', '.join(['{{}}' % table['{{}}_%d' % k][row] for k in range({number})])"
    chamfer, isovalues = each.format("%.2g", "chamfer_voxels"), each.format("%.3g", "isovalue")
    texts = (
        "'Original' + chr(10) + 'time %g' % table['time'][row]",
        "'Reconstruction' + chr(10) + 'PSNR %.1f dB (series %.1f dB)'"
        " % (table['psnr'][row], table['psnr_series'][row])"
        " + chr(10) + 'SSIM %.3f' % table['ssim'][row]",
        f"'{'Distance' if surfaces else 'Difference'}' + chr(10) + 'Chamfer '"
        f" + {chamfer} + ' voxels' + chr(10) + 'at ' + {isovalues}",
    )
    now = "time_value" if len(compare.TimestepValues) else "0"
    for name, text, view in zip(VIEWS, texts, views, strict=True):
        annotation = simple.PythonAnnotation(
            registrationName=f"{NAME}: {name} text",
            Input=simple.OutputPort(compare, TABLE),
            ArrayAssociation="Field Data",
            Expression=f"(lambda table, row: {text})(inputs[0].RowData, "
            f"abs(inputs[0].RowData['time'] - {now}).argmin())"
            " if inputs[0].RowData.keys() else 'no comparison'",
        )
        shown = simple.Show(annotation, view)
        shown.FontSize, shown.Color, shown.WindowLocation = TITLE_PIXELS, TEXT, "Upper Center"
        shown.Justification = "Center"


def remove_previous(keep: Any = None) -> None:
    """Removes what an earlier call made, but for `keep` and a Compare that something else uses."""
    simple.RemoveCameraLink(NAME)
    for (name, _), view in servermanager.ProxyManager().GetProxiesInGroup("views").items():
        if name.startswith(NAME):
            simple.Delete(view)
    layout = simple.GetLayoutByName(NAME)
    if layout:
        simple.RemoveLayout(layout)
    for texts in (True, False):  # which use the Compare
        for (name, _), source in simple.GetSources().items():
            ours = name.startswith(NAME) and name.endswith("text") == texts
            if ours and source != keep and not users(source):
                simple.Delete(source)
