"""Tables and figures as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from . import machine


def table(columns: str, rows: Sequence[Sequence[str]]) -> str:
    """``columns``: the heads, separated by bars."""
    heads = [head.strip() for head in columns.split("|")]
    lines = [" | ".join(cells) for cells in (heads, *rows)]
    lines = [f"| {line} |" for line in lines]
    lines.insert(1, "|" + "---|" * len(heads))
    return "\n".join(lines) + "\n"


def number(value: float | None) -> str:
    """Three digits that count, without an exponent; a dash for None."""
    if value is None:
        return "–"
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{min(max(digits, 0), 9)}f}"


def spread(found: dict[str, Any], scale: float = 1.0) -> str:
    text = number(found["median"] / scale)
    if len(found["values"]) > 1:
        text += f" ({number(found['low'] / scale)}–{number(found['high'] / scale)})"
    return text


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def verdict(met: bool | None) -> str:
    return {True: "yes", False: "NO", None: ""}[met]


def about(part: Mapping[str, Any]) -> str:
    """The machine, and whether the figures are any good."""
    quick = " **Quick settings: to see that it works, not for figures.**" if part["quick"] else ""
    return f"{machine.sentence(part['machine'])}.{quick}\n\n"
