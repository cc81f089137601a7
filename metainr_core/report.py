"""What the ``metainr`` command says of its results, for people and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .series import Progress, no_progress

if TYPE_CHECKING:
    from .archive import Archive


def encoded(archive: Archive, damaged: Sequence[int] = ()) -> str:
    """How much of the series the archive holds, and which files are of no use."""
    text = f"{len(archive.steps)} of {archive.info.get('series_steps', '?')} steps"
    for steps, what in ((archive.missing, "missing"), (damaged, "damaged; encode them again")):
        if steps:
            text += f"; the files of {', '.join(map(str, steps))} are {what}"
    return text


def archive_report(archive: Archive, progress: Progress = no_progress) -> dict[str, Any]:
    """What ``encode`` and ``info`` tell of an archive, JSON-able."""
    records = archive.records
    damaged = archive.damaged(progress)
    finite = [r.psnr_series for r in records if math.isfinite(r.psnr_series)]
    return {
        "archive": str(archive.path),
        "array": archive.array,
        "components": archive.components,
        "association": archive.grid.association,
        "dims": list(archive.grid.dims),
        "network": archive.header.siren.to_json(),
        "bricks": archive.layout.bricks,
        "encoded": encoded(archive, damaged),
        "damaged": damaged,
        "mean_psnr_series": sum(finite) / len(finite) if finite else None,
        "bytes": archive.total_bytes,
        "ratio": archive.ratio,
        "steps": [r.to_json() for r in records],
    }


_COLUMNS = ("step", "time", "psnr", "psnr_series", "max_error", "ratio", "bytes", "seconds")


def print_report(report: dict[str, Any], json_file: str | None) -> None:
    """As a table, which ``json_file`` adds a file to; or only as JSON, if that is ``-``."""
    if json_file == "-":
        print(json.dumps(report, indent=1))
        return
    if json_file:
        from .storage import write_atomically

        write_atomically(Path(json_file), json.dumps(report, indent=1).encode())
    rows = report.get("steps", [])
    for name, value in report.items():
        if name != "steps":
            print(f"{name:18s}{_shown(value)}")
    if rows and isinstance(rows[0], dict):
        print(" ".join(f"{c:>11s}" for c in _COLUMNS))
        for row in rows:
            nothing = "-" if row["mean_squared_error"] else "exact"
            cells = (nothing if row[c] is None else _shown(row[c]) for c in _COLUMNS)
            print(" ".join(f"{cell:>11s}" for cell in cells))


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_shown(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    return str(value)
