"""A rate-distortion curve: its points, what it says at a ratio, its picture and its tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from metainr_core.metrics import Errors, psnr

from .markdown import about, number, table
from .plots import new_figure

PARTS = ("peers", "ours")
LIMIT = 200.0  # dB, so that a step without error is a number too
RATIOS = (30, 60, 100, 150, 200, 300, 500, 1000)
# How much smaller than asked for an archive may be and still stand for the ratio.
_BEFORE = 1.2
# What a picture shows; below, a volume is not worth looking at.
LOWEST_RATIO, LOWEST_PSNR = 12, 15
# Okabe and Ito's colours, which colour-blind readers tell apart too; markers say the same again.
_PEERS = {
    "SZ3 per step": ("#D55E00", "o", "--"),
    "SZ3 4-D": ("#E69F00", "s", "--"),
    "SZ3 all steps as 3-D": ("#CC79A7", "D", "--"),
    "ZFP per step": ("#777777", "^", ":"),
    "ZFP 4-D": ("#000000", "v", ":"),
}
_OURS = (("#0072B2", "o", "-"), ("#56B4E9", "v", "-"), ("#009E73", "s", "-"), ("#000088", "D", "-"))

Curves = Mapping[str, Sequence["Point"]]
"""Points by label."""


@dataclass(frozen=True)
class Point:
    """One setting on a whole series.

    ``variant``: what it is. ``ratio``: bytes of the series as float32 over all bytes stored.
    ``psnr``: over the range of the series, dB, mean over the steps, at most ``LIMIT`` each;
    ``pooled``: of the mean squared error of all steps. ``max_error``: over the range of the
    series; so is ``bound``, the error that was allowed (0: none was named). ``seconds`` to
    compress and to restore all steps; ``before``: spent once for all of them.
    """

    variant: str
    ratio: float
    psnr: float
    pooled: float
    max_error: float
    seconds: float
    restore_seconds: float
    bound: float = 0.0
    before: float = 0.0


def range_width(data: np.ndarray) -> float:
    """The widest component's range, what PSNR is relative to."""
    flat = data.reshape(-1, data.shape[-1])
    return float((flat.max(axis=0).astype(float) - flat.min(axis=0)).max())


def score(original: np.ndarray, decoded: np.ndarray, width: float) -> dict[str, float]:
    """``psnr``, ``pooled``, ``max_error`` of a ``Point``; arrays ``(steps, nz, ny, nx, C)``."""
    errors = [Errors.between(a, b) for a, b in zip(original, decoded, strict=True)]
    return {
        "psnr": mean(min(psnr(e.mean_squared, width), LIMIT) for e in errors),
        "pooled": min(psnr(mean(e.mean_squared for e in errors), width), LIMIT),
        "max_error": max(e.largest for e in errors) / width,
    }


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats in ratio and PSNR both, by falling PSNR and rising ratio."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.ratio, -p.psnr)):
        if not kept or point.psnr > kept[-1].psnr:
            kept.append(point)
    return kept[::-1]


def psnr_at(points: Sequence[Point], ratio: float) -> float | None:
    """PSNR of a curve at ``ratio``, dB, linear in the logarithm of the ratio; None outside it.

    The best of what lies between the points of the ``front``, and between those of one variant.
    Just before a curve begins, its first point: it is smaller than was asked for.
    """
    variants = {p.variant for p in points}
    lines = [front(points), *(front([p for p in points if p.variant == v]) for v in variants)]
    found = [v for line in lines for v in _between(line, ratio)]
    beyond = [p.psnr for p in points if ratio <= p.ratio <= ratio * _BEFORE]
    return max(found or beyond, default=None)


def _between(line: Sequence[Point], ratio: float) -> list[float]:
    found = [p.psnr for p in line if p.ratio == ratio]
    for a, b in pairwise(line):
        if a.ratio < ratio < b.ratio:
            part = math.log(ratio / a.ratio) / math.log(b.ratio / a.ratio)
            found.append(a.psnr + part * (b.psnr - a.psnr))
    return found


def draw(file: Path, series: Mapping[str, Curves]) -> bool:
    """Writes a PNG, a panel per series; False, with nothing written, without matplotlib."""
    columns = min(3, len(series))
    rows = math.ceil(len(series) / columns)
    made = new_figure((5.6 * columns, 4.2 * rows), 90)
    if made is None:
        return False
    figure, ticker = made
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    ours = [k for k in dict.fromkeys(k for c in series.values() for k in c) if k not in _PEERS]
    styles = {**_PEERS, **{k: _OURS[i % len(_OURS)] for i, k in enumerate(ours)}}
    handles = {}
    for axes, (name, curves) in zip(grid, series.items(), strict=False):
        for label, points in curves.items():
            shown = [p for p in front(points) if p.ratio >= LOWEST_RATIO and p.psnr >= LOWEST_PSNR]
            colour, marker, line = styles[label]
            handles[label] = axes.plot(
                [p.ratio for p in shown],
                [p.psnr for p in shown],
                color=colour,
                marker=marker,
                linestyle=line,
                markersize=3 if label in _PEERS else 6,
                linewidth=1.3 if label in _PEERS else 2,
            )[0]
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.set_title(name)
        axes.grid(True, color="0.88")
        axes.set_axisbelow(True)
        axes.set_xlabel("float32 bytes over stored bytes")
        axes.set_ylabel("PSNR over the series' range, dB")
    for axes in grid[len(series) :]:
        axes.set_axis_off()
    figure.tight_layout()
    order = [k for k in styles if k in handles]
    figure.legend(
        [handles[k] for k in order], order, loc="upper center", bbox_to_anchor=(0.5, 0), ncol=3
    )
    figure.savefig(file, bbox_inches="tight")
    return True


def at_ratios(curves: Curves, ratios: Sequence[float] = RATIOS) -> str:
    """PSNR at ratios as a Markdown table, a dash outside a curve."""
    rows = []
    for ratio in ratios:
        found = [psnr_at(points, ratio) for points in curves.values()]
        rows.append([f"{ratio:g}", *("–" if v is None else f"{v:.2f}" for v in found)])
    return table(" | ".join(["ratio", *curves]), rows)


def all_points(curves: Curves) -> str:
    """All points as a Markdown table."""
    columns = "curve | setting | ratio | PSNR dB | pooled dB | largest error | once s | s | back s"
    rows = []
    for label, points in curves.items():
        for p in points:
            quality = [f"{p.ratio:.1f}", f"{p.psnr:.2f}", f"{p.pooled:.2f}", f"{p.max_error:.3g}"]
            seconds = map(number, (p.before, p.seconds, p.restore_seconds))
            rows.append([label, p.variant, *quality, *seconds])
    return table(columns, rows)


def report(data: Mapping[str, Any]) -> str:
    """Of all that ``results.json`` holds, as Markdown."""
    text = "# Rate and distortion\n\nRatio: bytes of the series as float32 over all bytes stored.\n"
    for name, curves in collect(data).items():
        text += f"\n## {name}\n\n"
        for part in PARTS:
            if entry := data.get(f"rate_{part}", {}).get(name):
                text += f"{part.capitalize()}, {entry['dims']}, {entry['count']} steps: "
                text += about(entry)
                text += "".join(f"* without {reason}\n" for reason in entry.get("missing", []))
        text += "PSNR over the series' range in dB, mean over the steps, at a ratio:\n\n"
        text += at_ratios(curves) + "\nAll points; of peers, those that no other beats:\n\n"
        text += all_points({k: front(v) if k in _PEERS else v for k, v in curves.items()})
    return text


def collect(data: Mapping[str, Any]) -> dict[str, dict[str, list[Point]]]:
    """The curves of each series by label, the peers' first, of what ``results.json`` holds."""
    found: dict[str, dict[str, list[Point]]] = {}
    for part in PARTS:
        for name, entry in data.get(f"rate_{part}", {}).items():
            for row in entry["rows"]:
                found.setdefault(name, {})[row["label"]] = [Point(**p) for p in row["points"]]
    return found
