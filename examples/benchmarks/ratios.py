"""How much sooner one method is as good as another: read off the curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import mean
from typing import Any

# Curve, reference, and the largest ratio of seconds that is wanted on every series.
PAIRS = (
    ("default", "adam_fp32", 1 / 5.87),
    ("default", "adam_bf16", None),
    ("default", "adam_own", None),
    ("default", "published", 1 / 100),
    ("wide", "published", 1 / 30),
    ("previous", "adam_fp32", None),
)
MEDIAN_GOAL = 1 / 8  # of the first pair, on the median series


def points(curve: dict[str, Any]) -> list[dict[str, Any]]:
    """Per number of passes: means over the steps, and the steps' lowest and highest PSNR."""
    result = []
    for epochs in sorted({row["epochs"] for row in curve["rows"]}):
        rows = [row for row in curve["rows"] if row["epochs"] == epochs]
        decibels = [row["psnr"] for row in rows]
        seconds = [row["seconds"] for row in rows]
        result.append(
            {
                "epochs": epochs,
                "seconds": mean(seconds),
                "seconds_low": min(seconds),
                "seconds_high": max(seconds),
                "psnr": mean(decibels),
                "psnr_low": min(decibels),
                "psnr_high": max(decibels),
            }
        )
    return result


def seconds_to(found: Sequence[dict[str, Any]], target: float) -> tuple[float | None, str]:
    """Seconds at which a curve reaches ``target`` dB, and how that is known.

    ``at most``: the shortest fit is as good already. ``interpolated``: between two lengths, in
    the logarithm of the seconds. None and ``not reached`` if no length is as good.
    """
    if found and found[0]["psnr"] >= target:
        return found[0]["seconds"], "at most"
    for a, b in pairwise(found):
        if b["psnr"] >= target:
            part = (target - a["psnr"]) / (b["psnr"] - a["psnr"])
            low, high = math.log(a["seconds"]), math.log(b["seconds"])
            return math.exp(low + part * (high - low)), "interpolated"
    return None, "not reached"


def _named(reference: dict[str, Any]) -> str:
    """With what was left out of it, where that is much."""
    note = f"; {reference['note']}" if reference["key"] == "published" else ""
    return f"{reference['label']} ({reference['network']}{note})"


def _within(seconds: float | None, limit: float) -> bool:
    return seconds is not None and seconds <= limit


def compare(curves: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per pair of methods that both were measured."""
    by_key = {curve["key"]: curve for curve in curves}
    rows = []
    for key, reference_key, goal in PAIRS:
        if key not in by_key or reference_key not in by_key:
            continue
        curve, reference = by_key[key], by_key[reference_key]
        found, end = points(curve), points(reference)[-1]
        seconds, how = seconds_to(found, end["psnr"])
        whole = next((p["seconds"] for p in found if p["psnr"] >= end["psnr"]), None)
        saved = end["seconds"] - seconds if seconds is not None else 0.0
        smaller = curve["parameters"] <= reference["parameters"]
        if reference_key == "published" and not smaller:
            goal = None  # promised for networks that are no larger
        rows.append(
            {
                "key": key,
                "reference_key": reference_key,
                "curve": f"{curve['label']} ({curve['network']})",
                "reference": _named(reference),
                "epochs": end["epochs"],
                "psnr": end["psnr"],
                "reference_seconds": end["seconds"],
                "seconds": seconds,
                "how": how,
                "ratio": None if seconds is None else seconds / end["seconds"],
                # Of a length that was really run, not of one between two.
                "run_ratio": None if whole is None else whole / end["seconds"],
                "smaller": smaller,
                "goal": goal,
                "met": None if goal is None else _within(seconds, goal * end["seconds"]),
                "steps_to_repay": curve["pretrain_seconds"] / saved if saved > 0 else None,
            }
        )
    return rows
