"""The curves as Markdown: all points, and how much sooner one method is as good as another."""

from __future__ import annotations

from statistics import median
from typing import Any

from . import ratios
from .markdown import about, number, table, verdict
from .ratios import MEDIAN_GOAL, compare, points


def section(series: dict[str, Any]) -> str:
    """``series``: by name, their curves and machines."""
    text = (
        "## PSNR over seconds\n\nSeconds of the fit loop per step, mean over the steps; PSNR over"
        " the series' range, mean (lowest–highest) over the steps.\n"
    )
    firsts = []
    for name, part in series.items():
        text += f"\n### {name}\n\n" + about(part)
        text += (
            f"Steps {', '.join(map(str, part['steps']))} of {part['count']}; {part['dims']}.\n\n"
        )
        columns = "method | network | weights | pretraining s | passes | fit s | PSNR dB | "
        text += table(columns, [line for curve in part["rows"] for line in _curve_lines(curve)])
        found = compare(part["rows"])
        text += "\nTime to the reference's PSNR, over the reference's time to it:\n\n"
        columns = (
            "curve | reference | its passes | dB | its s | s | | ratio | ratio of a whole run"
            " | goal | met | steps that repay pretraining"
        )
        text += table(columns, [_ratio_line(row) for row in found])
        firsts += [
            row for row in found if (row["key"], row["reference_key"]) == ratios.PAIRS[0][:2]
        ]
        if (part_plot := part.get("plot")) is not None:
            text += f"\n![PSNR over seconds, {name}]({part_plot})\n"
    if firsts:
        # A curve that never gets there is as bad as can be.
        middle = median(row["ratio"] if row["ratio"] is not None else 1e9 for row in firsts)
        shown = number(middle) if middle < 1e9 else "not reached"
        text += (
            f"\n{firsts[0]['curve']} against {firsts[0]['reference']}, median of {len(firsts)}"
            f" series: ratio {shown}, goal <= {number(MEDIAN_GOAL)}, met:"
            f" {verdict(middle <= MEDIAN_GOAL)}\n"
        )
    return text


def _curve_lines(curve: dict[str, Any]) -> list[list[str]]:
    seconds = number(curve["pretrain_seconds"]) if curve["pretrain_seconds"] else ""
    head = [curve["label"], curve["network"], str(curve["parameters"]), seconds]
    lines = []
    for p in points(curve):
        decibels = f"{p['psnr']:.2f} ({p['psnr_low']:.2f}–{p['psnr_high']:.2f})"
        fit = f"{number(p['seconds'])} ({number(p['seconds_low'])}–{number(p['seconds_high'])})"
        lines.append([*head, f"{p['epochs']:g}", fit, decibels, curve["note"]])
    return lines


def _ratio_line(row: dict[str, Any]) -> list[str]:
    return [
        row["curve"],
        row["reference"],
        f"{row['epochs']:g}",
        f"{row['psnr']:.2f}",
        number(row["reference_seconds"]),
        number(row["seconds"]),
        row["how"],
        number(row["ratio"]),
        number(row["run_ratio"]),
        f"<= {number(row['goal'])}" if row["goal"] else "",
        verdict(row["met"]),
        number(row["steps_to_repay"]),
    ]
