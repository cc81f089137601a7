"""The paper's table as Markdown, CSV and pictures, of what was measured so far."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from . import plots
from .markdown import about, number, table
from .paper_curves import summary
from .ratios import points, seconds_to

_COLUMNS = (
    "method | network | passes | PSNR dB | of the series | SSIM | LPIPS | Chamfer voxels"
    " | fit s | pretraining s | kB a step | kB in all"
)
_CSV = (
    "series",
    "method",
    "network",
    "parameters",
    "passes",
    "psnr",
    "psnr_series",
    "ssim",
    "lpips",
    "chamfer_voxels",
    "mean_error",
    "max_error",
    "fit_seconds",
    "pretrain_seconds",
    "bytes_per_step",
    "bytes_of_series",
)


def write(folder: Path, data: Mapping[str, Any]) -> None:
    """``paper_table.md``, ``paper_table.csv`` and a plot per series."""
    text = "# The paper's comparison\n"
    for name, part in data.items():
        if part["curves"]:
            text += "\n" + _section(folder, name, part)
    (folder / "paper_table.md").write_text(text)
    with (folder / "paper_table.csv").open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(_CSV)
        for name, part in data.items():
            lines.writerows(line for c in part["curves"] for line in _csv_lines(name, c))


def _section(folder: Path, name: str, part: Mapping[str, Any]) -> str:
    curves = part["curves"]
    text = f"## {name}\n\n" + about(part) + part["words"] + "\n\n"
    text += table(_COLUMNS, [_line(c, epochs) for c in curves for epochs in c["shown"]])
    if missing := _why_no_lpips(curves):
        text += f"\nLPIPS {missing}\n"
    notes = [f"{c['label']}: {c['note']}" for c in curves if c["note"]]
    text += "\n" + ". ".join(notes) + ".\n"
    text += (
        "\nSeconds of the fit until the row's method is as good (PSNR over the series' range) as"
        " the column's after the passes named, and by how much sooner; interpolated between"
        " lengths, `≤` where the shortest was as good, a dash where none is:\n\n"
    )
    letters = ascii_lowercase[: len(curves)]
    lines = matrix(curves)
    for letter, line, curve in zip(letters, lines, curves, strict=True):
        line[0] = f"{letter} {line[0]}, {_ending(curve)}"
    text += table(" | ".join(["", *letters]), lines)
    picture = f"paper_{name}.png"
    if plots.draw(folder / picture, name, curves):
        text += f"\n![PSNR over seconds, {name}]({picture})\n"
    return text


def _end(curve: Mapping[str, Any]) -> dict[str, Any]:
    """The longest of the shown fits."""
    return next(p for p in points(dict(curve)) if p["epochs"] == curve["shown"][-1])


def _ending(curve: Mapping[str, Any]) -> str:
    end = _end(curve)
    return f"{end['epochs']:g} passes: {end['psnr']:.2f} dB in {number(end['seconds'])} s"


def matrix(curves: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """One row per method, one column per method whose PSNR at its end is to be reached."""
    lines = []
    for curve in curves:
        cells, found = [str(curve["label"])], points(dict(curve))
        for other in curves:
            end = _end(other)
            seconds, how = seconds_to(found, end["psnr"])
            if curve is other:
                cells.append("")
            elif seconds is None:
                cells.append("–")
            else:
                bound = "≤ " if how == "at most" else ""
                cells.append(f"{bound}{number(seconds)} ({number(end['seconds'] / seconds)} ×)")
        lines.append(cells)
    return lines


def _line(curve: Mapping[str, Any], epochs: int) -> list[str]:
    found = summary(curve, epochs)
    chamfer = found["chamfer_voxels"]
    return [
        curve["label"],
        curve["network"],
        str(epochs),
        _digits(found["psnr_own"], 2),
        _digits(found["psnr"], 2),
        _digits(found["ssim"], 4),
        "unavailable" if found["lpips"] is None else f"{found['lpips']:.4f}",
        "a surface is missing" if chamfer is None else f"{chamfer:.3f}",
        number(found["seconds"]),
        number(curve["pretrain_seconds"]) if curve["pretrain_seconds"] else "",
        number(found["bytes"] / 1e3),
        number(found["archive_bytes"] / 1e3),
    ]


def _digits(value: float | None, count: int) -> str:
    return "–" if value is None else f"{value:.{count}f}"


def _why_no_lpips(curves: Sequence[Mapping[str, Any]]) -> str:
    rows = [row for curve in curves for row in curve["rows"]]
    return next((row["lpips"] for row in rows if isinstance(row["lpips"], str)), "")


def _csv_lines(name: str, curve: Mapping[str, Any]) -> list[list[Any]]:
    lines = []
    for epochs in sorted({row["epochs"] for row in curve["rows"]}):
        found = summary(curve, epochs)
        figures = ("psnr_own", "psnr", "ssim", "lpips", "chamfer_voxels", "mean_error", "max_error")
        lines.append(
            [
                name,
                curve["label"],
                curve["network"],
                curve["parameters"],
                epochs,
                *(_short(found[key]) for key in figures),
                _short(found["seconds"]),
                _short(curve["pretrain_seconds"]),
                _short(found["bytes"]),
                _short(found["archive_bytes"]),
            ]
        )
    return lines


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
