"""The results as Markdown: a table per part, medians with the lowest and highest repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import curve_report
from .markdown import about, number, percent, spread, table, verdict

_GIGA, _MEGA = 1e9, 1e6
_STEADY = 0.15  # change of the product rates during a row


def write(folder: Path, data: dict[str, Any]) -> None:
    """``report.md`` in ``folder`` of what ``results.json`` there holds."""
    text = "# Benchmark\n\nMedians; lowest and highest repeat in brackets.\n"
    for part, section in _SECTIONS.items():
        if part in data:
            text += "\n" + section(data[part])
    (folder / "report.md").write_text(text)


def _ceilings(part: dict[str, Any]) -> str:
    rows = []
    for result in part["rows"]:
        for row in result["products"]:
            shape = f"{result['rows']} × {row['width']} × {row['width']}"
            rate = spread(row["rate"], _GIGA)
            rows.append([row["arithmetic"], shape, str(row["threads"]), f"{rate} Gop/s"])
        for row in result["copy"]:
            rate = spread(row["rate"], _GIGA)
            rows.append(["copy", "read + written", str(row["threads"]), f"{rate} GB/s"])
    text = "## Ceilings: bare matrix products and copies\n\n" + about(part)
    return text + table("arithmetic | shape | threads | rate", rows)


def _throughput(part: dict[str, Any]) -> str:
    text = "## Throughput\n\n" + about(part)
    text += (
        "Shares are of the product rate 50,000 × width × width of the network's own width, and of"
        " width 256, the higher of just before and just after. Only products with weights count"
        " (training 6, decoding 2 operations per weight and point), those of Muon only where named."
        " Goals refer to the own width.\n\n"
    )
    columns = "network | job | rate | Gop/s | own width | width 256 | with Muon's | goal | met"
    rows = [line for row in part["rows"] for line in _throughput_lines(row)]
    text += table(columns, rows)
    text += "\nPretraining: measured time over that of its products at the own-width rate.\n\n"
    lines = [_pretraining_line(row) for row in part["rows"] if row["pretraining"]]
    columns = (
        "network | rounds/s | network Gop | Muon Gop | time ratio | without Muon's | goal | met"
    )
    return text + table(columns, lines)


def _name(row: dict[str, Any]) -> str:
    bricks = f"{row['bricks']} × " if row["bricks"] > 1 else ""
    default = " (default)" if row["default"] else ""
    drift = row["ceiling"]["drift"]
    unsteady = f" (unsteady: product rates {percent(drift)} apart)" if drift > _STEADY else ""
    return f"{bricks}{row['network']}{default}{unsteady}"


def _throughput_lines(row: dict[str, Any]) -> list[list[str]]:
    lines, nothing = [], [""] * 6
    own = row["ceiling"]["own_width"]["median"]
    for optimizer, label in (("muon", "training"), ("adam", "training with Adam")):
        found = row["training"][optimizer]
        rate = found["rate"]["median"]
        both = rate * (found["operations"] + found["muon_operations"]) / own
        goal = row["goals"].get("training") if optimizer == "muon" else None
        job = f"{label}, batch {found['batch_size']}"
        gops = number(rate * found["operations"] / _GIGA)
        extra = percent(both) if optimizer == "muon" else ""
        figures = [_millions(found["rate"]), gops, *_shares(found), extra, *_goal(found, goal)]
        lines.append([_name(row), job, *figures])
    whole = _millions(row["training"]["muon"]["encode_rate"])
    lines.append([_name(row), "encode as a whole", whole, *nothing])
    found = row["decoding"]
    gops = number(found["rate"]["median"] * found["operations"] / _GIGA)
    goal = row["goals"].get("decoding")
    figures = [_millions(found["rate"]), gops, *_shares(found), "", *_goal(found, goal)]
    job = f"decoding, {found['arithmetic']}, reading the file {percent(found['file_share'])} of it"
    return [*lines, [_name(row), job, *figures]]


def _millions(found: dict[str, Any]) -> str:
    return spread(found, _MEGA) + " M/s"


def _shares(found: dict[str, Any]) -> tuple[str, str]:
    return percent(found["own_share"]), percent(found["peak_share"])


def _goal(found: dict[str, Any], goal: float | None) -> tuple[str, str]:
    if goal is None:
        return "", ""
    return f">= {percent(goal)}", verdict(found["own_share"] >= goal)


def _pretraining_line(row: dict[str, Any]) -> list[str]:
    found, goal = row["pretraining"], row["goals"].get("pretraining")
    return [
        _name(row),
        spread(found["rounds"]),
        number(found["network_operations"] / _GIGA),
        number(found["muon_operations"] / _GIGA),
        number(found["time_ratio"]),
        number(found["time_ratio_without_muon"]),
        f"<= {goal:g}" if goal else "",
        verdict(found["time_ratio"] <= goal if goal else None),
    ]


def _gpu(part: dict[str, Any]) -> str:
    rows = []
    for row in part["rows"]:
        value = "not measured here"
        if row["value"] is not None:
            value = f"{spread(row['value'])} {row['unit']}"
        rows.append([row["what"], value, f"{row['goal']} {row['unit']}", verdict(row["met"])])
    return "## Promised for one H100\n\n" + about(part) + table("what | | goal | met", rows)


def _memory(part: dict[str, Any]) -> str:
    from . import memory  # only where it was measured

    head = "| " + " | ".join(memory.COLUMNS) + " |\n|" + "---|" * len(memory.COLUMNS) + "\n"
    text = "## Peak memory\n\n" + about(part)
    if part.get("note"):
        text += part["note"] + "\n"
    if part["rows"]:
        text += head + "\n".join(map(memory.table_line, part["rows"])) + "\n"
    return text


_SECTIONS = {
    "ceilings": _ceilings,
    "throughput": _throughput,
    "gpu": _gpu,
    "curve": curve_report.section,
    "memory": _memory,
}
