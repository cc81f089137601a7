"""Charts of what the filters found: training, quality over time, and the map of the time steps.

Pretrain, Encode and Projection show these views by themselves when they are applied (the hints in
the XML); here they are found again or made, and Compare gets its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from paraview import simple

from .placement import make_layout
from .sources import COMPARE, ENCODE, all_sources, kind, label, selected, table_columns

PRETRAIN, PRIOR, PROJECTION = (
    f"MetaINR{name}" for name in ("Pretrain", "PriorReader", "Projection")
)
PLOTTED = (PRETRAIN, PRIOR, ENCODE, COMPARE, PROJECTION)
TRAINING_VIEW, TIME_VIEW, MAP_VIEW = (f"MetaINR{name}View" for name in ("Training", "Time", "Map"))
PICTURE = 2  # port of the Projection
LEFT, RIGHT = "0", "1"  # axes
CIRCLE = "4"  # marker
ORANGE, BLUE, GREY, GREEN, RED = COLORS = (
    ("0.85", "0.42", "0.1"), ("0.12", "0.34", "0.69"), ("0.55", "0.55", "0.55"),
    ("0.2", "0.6", "0.3"), ("0.75", "0.15", "0.2"),
)  # fmt: skip
CORNERS = {0: (0, 1), 1: (1, 1), 2: (1, 0), 3: (0, 0)}  # of a legend: right or left, up or down
LEGEND = np.array([0.5, 0.35])  # its share of a chart's width and height
WHICH = "in the Pipeline Browser select a Meta-INR Pretrain, Encode, Compare, Projection or prior"


class PlotError(Exception):
    """One line that says what is missing."""


@dataclass(frozen=True)
class Curve:
    """A column over time. ``color``: red, green and blue; ``axis``: LEFT or RIGHT."""

    column: str
    label: str
    color: tuple[str, str, str]
    axis: str = LEFT


def plot(source: Any) -> list[Any]:
    """Shows a Pretrain, an opened prior, an Encode, a Compare or a Projection in its charts.

    Returns the views: those that show it already, else new ones in a layout of their own. A Compare
    is set to all time steps.

    Raises PlotError when there is nothing to plot.
    """
    if kind(source) not in PLOTTED:
        raise PlotError(f"{label(source)} has no chart; {WHICH}")
    if kind(source) == COMPARE:
        source.TimeSteps = "all"
    # Views are not told of what was finished for another one than them.
    source.SMProxy.MarkModified(source.SMProxy)
    source.UpdatePipeline()
    port = simple.OutputPort(source, 0)
    if not port.GetDataInformation().GetNumberOfRows():
        raise PlotError(
            f"{label(source)} has no rows yet; apply it, or see what its own message says"
        )
    if kind(source) in (PRETRAIN, PRIOR):
        return [chart(port, TRAINING_VIEW)]
    if kind(source) == ENCODE:
        return [plot_quality(port)]
    if kind(source) == COMPARE:
        return plot_comparison(port)
    return [plot_map(simple.OutputPort(source, PICTURE))]


def plot_quality(port: Any) -> Any:
    """PSNR and bytes, with the series of the XML, which are shown without this too."""
    view = chart(port, TIME_VIEW)
    curves = [Curve("psnr", "", ORANGE), Curve("psnr_series", "", BLUE)]
    place_legend(view, table_columns(port), [*curves, Curve("bytes", "", GREY, RIGHT)])
    return view


def plot_comparison(port: Any) -> list[Any]:
    """PSNR and what has no unit in one view, distances of the isosurfaces in another."""
    columns = table_columns(port)
    curves = [
        Curve("psnr", "PSNR", ORANGE),
        Curve("psnr_series", "PSNR (series)", BLUE),
    ]
    shares = {"ssim": GREY, "lpips": RED}
    shares = {name: color for name, color in shares.items() if name in columns}
    curves += [Curve(name, name.upper(), color, RIGHT) for name, color in shares.items()]
    title = ", ".join(name.upper() for name in shares)
    quality = chart(port, TIME_VIEW, LeftAxisTitle="PSNR (dB)", RightAxisTitle=title)
    show_curves(port, quality, curves, columns)
    distances = [name for name in columns if name.startswith("chamfer_voxels_")]
    if not distances:
        return [quality]
    isovalues = [columns[f"isovalue_{name.rpartition('_')[2]}"][0] for name in distances]
    surfaces = chart(port, TIME_VIEW, LeftAxisTitle="Chamfer distance (voxels)")
    curves = [
        Curve(name, f"isosurface {value:.3g}", COLORS[number % len(COLORS)])
        for number, (name, value) in enumerate(zip(distances, isovalues, strict=True))
    ]
    show_curves(port, surfaces, curves, columns)
    return [quality, surfaces]


def plot_map(picture: Any) -> Any:
    """The map, coloured by time."""
    view = chart(picture, MAP_VIEW)
    shown = simple.Show(picture, view)
    simple.ColorBy(shown, ("POINTS", "time"))
    shown.RescaleTransferFunctionToDataRange(False, True)
    shown.LineWidth = 2
    bar = simple.GetScalarBar(shown.LookupTable, view)
    bar.Title, bar.ComponentTitle, bar.Visibility = "time", "", 1
    bar.AutomaticLabelFormat, bar.LabelFormat, bar.RangeLabelFormat = 0, "%.4g", "%.4g"
    simple.ResetCamera(view)
    return view


def chart(port: Any, view_type: str, **titles: str) -> Any:
    """The view of this type that shows the port, found by its titles if there are any; else a new
    one."""
    for view in views_of(port, view_type):
        if all(view.GetPropertyValue(name) == text for name, text in titles.items()):
            simple.Show(port, view)
            return view
    view = simple.CreateView(view_type, **titles)
    name = f"Plot: {label(port)}"
    simple.AssignViewToLayout(view, simple.GetLayoutByName(name) or make_layout(name))
    simple.Show(port, view)
    return view


def views_of(port: Any, view_type: str) -> Iterator[Any]:
    for view in simple.GetViews(viewtype=view_type):
        if view.FindRepresentation(port.SMProxy, port.Port) is not None:
            yield view


def show_curves(
    port: Any, view: Any, curves: Sequence[Curve], columns: dict[str, np.ndarray]
) -> None:
    """Those of them that are finite somewhere: of equal volumes PSNR is infinite at all times."""
    seen = [curve for curve in curves if np.isfinite(columns[curve.column]).any()]
    place_legend(view, columns, seen)
    shown = simple.GetRepresentation(port, view)
    labels = list(shown.SeriesLabel)
    now = [dict(zip(labels[::2], labels[1::2], strict=True)).get(x) for x in shown.SeriesVisibility]
    if sorted(now, key=str) == sorted(curve.label for curve in seen):
        return
    # The panel of ParaView's window would undo part of what is changed under its eyes.
    simple.Delete(shown)
    shown = simple.Show(port, view)
    shown.UseIndexForXAxis, shown.XArrayName = 0, "time"
    shown.SeriesVisibility = [curve.column for curve in seen]
    texts: dict[str, list[tuple[str, ...]]] = {
        "SeriesLabel": [(curve.label,) for curve in seen],
        "SeriesPlotCorner": [(curve.axis,) for curve in seen],
        "SeriesMarkerStyle": [(CIRCLE,) for _ in seen],
        "SeriesColor": [curve.color for curve in seen],
        "SeriesOpacity": [("1",) for _ in seen],  # ParaView's own is lost when the table grows
    }
    for name, rows in texts.items():
        pairs = zip(seen, rows, strict=True)
        setattr(shown, name, [text for curve, row in pairs for text in (curve.column, *row)])


def place_legend(view: Any, columns: dict[str, np.ndarray], curves: Sequence[Curve]) -> None:
    """Into the corner that the curves pass least."""
    inside = dict.fromkeys(CORNERS, 0)
    for axis in (LEFT, RIGHT):
        lines = [line(columns["time"], columns[c.column]) for c in curves if c.axis == axis]
        points = np.concatenate([np.empty((0, 2)), *lines])
        if len(points):
            low, width = points.min(axis=0), np.ptp(points, axis=0)
            shares = (points - low) / np.where(width, width, 1)
            for number, corner in CORNERS.items():
                near = np.abs(shares - corner) < LEGEND
                inside[number] += int(near.all(axis=1).sum())
    view.LegendLocation = min(inside, key=inside.__getitem__)


def line(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``(n, 2)``: points along the finite part of a curve over rising `x`."""
    known = np.isfinite(y)
    if not known.any():
        return np.empty((0, 2))
    along = np.linspace(x[known][0], x[known][-1], 100)
    return np.stack([along, np.interp(along, x[known], y[known])], axis=1)


def sources_to_plot() -> list[Any]:
    """Those that are selected, else the only one there is.

    Raises PlotError when there are none or several.
    """
    chosen = {s.SMProxy.GetGlobalID(): s for s in selected() if kind(s) in PLOTTED}  # of any port
    if chosen:
        return list(chosen.values())
    found = [source for source in all_sources() if kind(source) in PLOTTED]
    if len(found) == 1:
        return found
    raise PlotError(f"which table? {WHICH[0].upper()}{WHICH[1:]} and run the macro again")
