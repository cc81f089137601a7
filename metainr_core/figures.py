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
_BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.02, 1)}


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
    draw_map(axes, projection, selected, color)
    target = io.BytesIO()
    figure.savefig(target, format="png", bbox_inches="tight")
    return target.getvalue()


def draw_map(axes: Any, projection: Projection, selected: Sequence[int], color: str) -> None:
    """Draws the map into matplotlib's ``axes``, with legends beside it."""
    values = color_values(projection, color)
    texts = [v for v in dict.fromkeys(values) if isinstance(v, str)]
    if texts:
        palette = {text: _COLOURS[i % len(_COLOURS)] for i, text in enumerate(filter(None, texts))}
        colours: Any = np.array([palette.get(str(v), _NOTHING) for v in values])
        _legend(axes, [(text, "o", c) for text, c in palette.items()], color, **_BESIDE)
    else:
        colours = _scale(axes, [float(v) for v in values], color)
    positions = projection.positions
    for number, path in enumerate(projection.paths):
        x, y = positions[path].T
        axes.plot(x, y, color=_NOTHING, linewidth=1, zorder=1)
        axes.scatter(x, y, c=colours[path], s=36, marker=_marker(number), zorder=2)
    names = [(m.name, _marker(i), "0.4") for i, m in enumerate(projection.members)]
    if names[0][0] and len(names) <= len(_MARKERS):
        _legend(axes, names, "member", loc="best")
    ringed = [i for i, step in enumerate(projection.steps) if step in set(selected)]
    axes.scatter(
        *positions[ringed].T, s=150, facecolors="none", edgecolors="black", linewidths=1.4, zorder=3
    )
    for i in ringed:
        axes.annotate(
            str(projection.steps[i]),
            positions[i],
            xytext=(7, 6),
            textcoords="offset points",
            fontsize=9,
            zorder=4,
        )
    if ringed:
        axes.set_title("ringed: representative steps", fontsize=10)
    axes.set_aspect("equal", "datalim")
    axes.margins(0.08)
    axes.grid(True, color="0.92")
    axes.set_axisbelow(True)
    axes.set_xlabel(_axis_name(projection, 0))
    axes.set_ylabel(_axis_name(projection, 1))


def _scale(axes: Any, values: Sequence[float], name: str) -> np.ndarray:
    """A colour for each value, ``(n, 4)``, and a colour bar that says which."""
    known = [v for v in values if math.isfinite(v)]
    norm = extra("matplotlib.colors", "a picture").Normalize(min(known), max(known))
    cm = extra("matplotlib.cm", "a picture")
    mapped = cm.ScalarMappable(norm, "viridis")
    mapped.cmap.set_bad(_NOTHING)
    axes.figure.colorbar(mapped, ax=axes, label=name)
    return mapped.to_rgba(np.ma.masked_invalid(values))


def _marker(number: int) -> str:
    return _MARKERS[number % len(_MARKERS)]


def _legend(axes: Any, entries: Sequence[tuple[str, str, str]], title: str, **place: Any) -> None:
    """Names with their marker and colour."""
    line = extra("matplotlib.lines", "a picture").Line2D
    handles = [
        line([], [], label=name, marker=marker, color=colour, linestyle="none")
        for name, marker, colour in entries
    ]
    axes.add_artist(axes.legend(handles=handles, title=title, fontsize=8, **place))


def _axis_name(projection: Projection, axis: int) -> str:
    if projection.explained_variance:
        share = projection.explained_variance[axis]
        return f"principal component {axis + 1} ({100 * share:.0f} % of the variance)"
    return f"t-SNE {axis + 1} (perplexity {projection.perplexity:.3g})"
