"""PSNR over seconds as a picture: one line per method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metainr_core import figures
from metainr_core.errors import MetaINRError
from metainr_core.extras import extra

from .ratios import points

# Okabe and Ito's colours, which colour-blind readers tell apart too; markers say the same again.
_STYLES = {
    "default": ("#0072B2", "o", "-"),
    "previous": ("#56B4E9", "v", "-"),
    "wide": ("#009E73", "s", "-"),
    "adam_own": ("#CC79A7", "D", "--"),
    "adam_bf16": ("#E69F00", "^", "--"),
    "adam_fp32": ("#D55E00", "<", "--"),
    "published": ("#000000", "X", ":"),
    # Of the paper's table.
    "scratch": ("#000000", "X", ":"),
    "tuned": ("#D55E00", "<", "--"),
    "tuned_own": ("#CC79A7", "D", "--"),
    "pretrained": ("#999999", "P", ":"),
    "paper": ("#E69F00", "^", ":"),
    "muon": ("#F0E442", "p", "-"),
    "default_pooled": ("#56B4E9", "v", "-"),
}


def new_figure(size: tuple[float, float], dpi: int) -> tuple[Any, Any] | None:
    """A figure of ``size`` inches and matplotlib's ticker; None where there is no matplotlib."""
    try:
        return figures.new_figure(size, dpi), extra("matplotlib.ticker", "a plot")
    except MetaINRError:
        return None


def draw(file: Path, name: str, curves: Sequence[dict[str, Any]]) -> bool:
    """Writes a PNG; False, with nothing written, where there is no matplotlib."""
    made = new_figure((8, 5), 150)
    if made is None:
        return False
    figure, ticker = made
    axes = figure.add_subplot()
    for curve in curves:
        colour, marker, line = _STYLES[curve["key"]]
        found = points(curve)
        seconds, middle = ([p[key] for p in found] for key in ("seconds", "psnr"))
        below = [p["psnr"] - p["psnr_low"] for p in found]
        above = [p["psnr_high"] - p["psnr"] for p in found]
        label = f"{curve['label']} ({curve['network']})"
        if curve["pretrain_seconds"]:
            label += f", {curve['pretrain_seconds']:.0f} s of pretraining before"
        axes.errorbar(
            seconds,
            middle,
            (below, above),
            label=label,
            color=colour,
            marker=marker,
            linestyle=line,
            markersize=6,
            elinewidth=0.7,
            capsize=2,
        )
        axes.annotate(
            f"{found[-1]['epochs']:g}",
            (seconds[-1], middle[-1]),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=8,
            color=colour,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel("seconds of the fit per time step (figure at a line's end: passes)")
    axes.set_ylabel("PSNR over the series' range, dB")
    axes.set_title(name)
    axes.grid(True, which="major", color="0.85")
    axes.grid(True, which="minor", axis="x", color="0.94")
    axes.set_axisbelow(True)
    figure.legend(loc="upper center", bbox_to_anchor=(0.5, 0.02), fontsize=8, ncol=2)
    figure.savefig(file, bbox_inches="tight")
    return True
