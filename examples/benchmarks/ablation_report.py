"""The ablations as Markdown and CSV, of what was measured so far."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from .markdown import about, number, table

_SETTLED = 0.5  # dB that twice as many passes add


def write(folder: Path, data: Mapping[str, Any]) -> None:
    """``paper_ablations.md`` and ``paper_ablations.csv``."""
    text = "# Ablations\n"
    for name, entry in data.items():
        text += f"\n## {name}\n\n" + about(entry)
        for part in dict.fromkeys(row["part"] for row in entry["rows"]):
            rows = [row for row in entry["rows"] if row["part"] == part]
            text += f"**{part}**\n\n" + _table(rows) + "\n"
    (folder / "paper_ablations.md").write_text(text)
    with (folder / "paper_ablations.csv").open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        heads = ("series", "part", "variant", "pretrain_seconds", "passes", "psnr_series", "fit_s")
        lines.writerow(heads)
        for name, entry in data.items():
            for row in entry["rows"]:
                first = (name, row["part"], row["label"], _short(row.get("pretrain_seconds")))
                for point in row["points"]:
                    figures = (_short(point["psnr"]), _short(point["seconds"]))
                    lines.writerow((*first, point["epochs"], *figures))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lengths = sorted({p["epochs"] for row in rows for p in row["points"]})
    passes = [f"{e:g} {'pass' if e == 1 else 'passes'}: dB" for e in lengths]
    many = len(lengths) > 2
    lines = []
    for row in rows:
        found = {p["epochs"]: p["psnr"] for p in row["points"]}
        before = row.get("pretrain_seconds")
        lines.append(
            [
                row["label"],
                row.get("note", ""),
                number(before) if before else "",
                *(f"{found[e]:.2f}" if e in found else "" for e in lengths),
                *([settled(row["points"])] if many else []),
            ]
        )
    heads = ["variant", "prior", "pretraining s", *passes]
    return table(" | ".join([*heads, *(["settled after"] if many else [])]), lines)


def settled(found: Sequence[Mapping[str, float]]) -> str:
    """The passes after which twice as many add less than half a decibel."""
    for a, b in pairwise(found):
        if b["epochs"] == 2 * a["epochs"] and b["psnr"] - a["psnr"] < _SETTLED:
            return f"{a['epochs']:g}"
    return f"> {found[-1]['epochs']:g}"


def _short(value: float | None) -> str:
    return "" if not value else f"{value:.6g}"
