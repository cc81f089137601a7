"""Pictures of results, by matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import SettingsError
from .extras import extra
from .projection import Projection

_MARKERS = "osD^vP*X<>ph"
# Okabe and Ito's colours, which colour-blind readers tell apart.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
_NOTHING = "0.7"


def new_figure(size: tuple[float, float], dpi: int = 150) -> Any:
    """A figure of ``size`` inches, to be saved without a display. Raises MetaINRError."""
    figure = extra("matplotlib.figure", "a picture").Figure(figsize=size, dpi=dpi)
    extra("matplotlib.backends.backend_agg", "a picture").FigureCanvasAgg(figure)
    return figure


def color_values(projection: Projection, color: str) -> list[float | str]:
    """What the steps are coloured by: ``time`` or a parameter. Raises SettingsError."""
    parameters = projection.parameters
    if color in parameters:
        return parameters[color]
    if color != "time":
        names = ", ".join(["time", *parameters])
        raise SettingsError(f"color is {color!r}, which the steps do not have; one of {names}")
    return list(projection.times)


def map_png(projection: Projection, selected: Sequence[int] = (), color: str = "time") -> bytes:
    """The map as a PNG file: a line along the time of each member, ``selected`` steps ringed.

    Raises MetaINRError, also where there is no matplotlib.
    """
    figure = new_figure((8, 6))
    axes = figure.add_subplot()
    draw_map(axes, projection, color, selected)
    draw_legends(axes, projection, color)
    if selected:
        axes.set_title("ringed: representative steps", fontsize=10)
    target = io.BytesIO()
    figure.savefig(target, format="png", bbox_inches="tight")
    return target.getvalue()


def draw_map(
    axes: Any, projection: Projection, color: str = "time", selected: Sequence[int] = ()
) -> None:
    """Draws the map into matplotlib's ``axes``. Raises SettingsError."""
    colours = _colours(color_values(projection, color))
    positions = projection.positions
    for number, path in enumerate(projection.paths):
        x, y = positions[path].T
        style = _style(projection, number)
        axes.plot(x, y, color=style["color"], alpha=0.5, linewidth=1, zorder=1)
        axes.scatter(x, y, c=colours[path], s=36, marker=style["marker"], zorder=2)
    ringed = [i for i, step in enumerate(projection.steps) if step in set(selected)]
    rings = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.4}
    axes.scatter(*positions[ringed].T, s=150, zorder=3, **rings)
    for i in ringed:
        text, offset = str(projection.steps[i]), {"xytext": (7, 6), "textcoords": "offset points"}
        axes.annotate(text, positions[i], fontsize=9, zorder=4, **offset)
    axes.set_aspect("equal", "datalim")
    axes.margins(0.08)
    axes.grid(True, color="0.92")
    axes.set_axisbelow(True)
    axes.set_xlabel(_axis_name(projection, 0))
    axes.set_ylabel(_axis_name(projection, 1))


def draw_legends(axes: Any, projection: Projection, color: str) -> None:
    """What colours and markers of ``draw_map`` mean."""
    values = color_values(projection, color)
    if isinstance(values[0], str):
        entries = [
            (text, {"marker": "o", "color": colour, "linestyle": "none"})
            for text, colour in _palette(values).items()
        ]
        _legend(axes, entries, color, loc="upper left", bbox_to_anchor=(1.02, 1))
    else:
        axes.figure.colorbar(color_scale(values), ax=axes, label=color)
    draw_members(axes, projection)


def draw_members(axes: Any, projection: Projection) -> None:
    """A legend of the members of an ensemble, unless there are too many to tell apart."""
    members = projection.members
    if members[0].name and len(members) <= len(_MARKERS):
        styles = [(m.name, _style(projection, i)) for i, m in enumerate(members)]
        _legend(axes, styles, "member", loc="best")


def color_scale(values: Sequence[Any]) -> Any:
    """matplotlib's ScalarMappable over the numbers ``values``; NaN is grey."""
    known = [v for v in values if math.isfinite(v)]
    norm = extra("matplotlib.colors", "a picture").Normalize(min(known), max(known))
    mapped = extra("matplotlib.cm", "a picture").ScalarMappable(norm, "viridis")
    mapped.cmap.set_bad(_NOTHING)
    return mapped


def _colours(values: Sequence[Any]) -> np.ndarray:
    """``(n,)`` names or ``(n, 4)`` numbers."""
    if isinstance(values[0], str):
        palette = _palette(values)
        return np.array([palette.get(value, _NOTHING) for value in values])
    return color_scale(values).to_rgba(np.ma.masked_invalid(values))


def _palette(values: Sequence[Any]) -> dict[str, str]:
    """A colour for each text that is not empty."""
    texts = [text for text in dict.fromkeys(values) if text]
    return {text: _COLOURS[i % len(_COLOURS)] for i, text in enumerate(texts)}


def _style(projection: Projection, number: int) -> dict[str, Any]:
    """Marker and line colour of a member."""
    several = len(projection.members) > 1
    colour = _COLOURS[number % len(_COLOURS)] if several else "0.4"
    return {"marker": _MARKERS[number % len(_MARKERS)], "color": colour}


def _legend(
    axes: Any, entries: Sequence[tuple[str, dict[str, Any]]], title: str, **place: Any
) -> None:
    line = extra("matplotlib.lines", "a picture").Line2D
    handles = [line([], [], label=name, **style) for name, style in entries]
    axes.add_artist(axes.legend(handles=handles, title=title, fontsize=8, **place))


def _axis_name(projection: Projection, axis: int) -> str:
    if projection.explained_variance:
        share = projection.explained_variance[axis]
        return f"principal component {axis + 1} ({100 * share:.0f} % of the variance)"
    return f"t-SNE {axis + 1} (perplexity {projection.perplexity:.3g})"
