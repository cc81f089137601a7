"""What the ``metainr`` command says of its results, for people and as JSON."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import MetaINRWarning
from .records import step_names
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


def goals(archive: Archive) -> dict[str, dict[str, float | None]]:
    """What the settings asked of the archive, and what it reached: in its worst step, of errors.

    None where a PSNR is infinite.
    """
    records, settings = archive.records, archive.info.get("encode", {})
    if not records:
        return {}
    psnr = min(r.psnr_series for r in records)
    reached = {
        "target_psnr": psnr if math.isfinite(psnr) else None,
        "target_ratio": archive.ratio,
        "max_error": max(r.max_error for r in records),
    }
    asked = {name: settings.get(name, 0.0) for name in reached}
    return {n: {"asked": v, "reached": reached[n]} for n, v in asked.items() if v}


def warn_of_misses(archive: Archive, steps: Collection[int] | None = None) -> None:
    """One MetaINRWarning for each goal that the archive, or one of ``steps``, falls short of.

    To be called once everything is encoded: the more steps, the less the prior weighs.
    """
    asked = {name: goal["asked"] or 0.0 for name, goal in goals(archive).items()}
    own = [r for r in archive.records if steps is None or r.step in steps]
    if (target := asked.get("target_psnr")) is not None:
        below = [r.step for r in own if r.psnr_series < target]
        if below:
            verb = "misses" if len(below) == 1 else "miss"
            text = f"{step_names(below)} {verb} the target of {target:g} dB"
            cure = "more epochs or a wider network reach more"
            warnings.warn(f"{archive.path}: {text}; {cure}", MetaINRWarning, stacklevel=2)
    if (target := asked.get("target_ratio")) is not None and archive.ratio < target:
        text = f"target_ratio is {target:g}, and the archive reaches {archive.ratio:.5g}"
        coded = all(r.weights == "coded" for r in archive.records)
        cure = "a smaller network reaches more" if coded else "coded weights reach more"
        warnings.warn(f"{archive.path}: {text}; {cure}", MetaINRWarning, stacklevel=2)


def archive_report(archive: Archive, progress: Progress = no_progress) -> dict[str, Any]:
    """What ``encode`` and ``info`` tell of an archive, JSON-able."""
    records = archive.records
    damaged = archive.damaged(progress)
    good = [r for r in records if r.step not in damaged]
    finite = [r.psnr_series for r in good if math.isfinite(r.psnr_series)]
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
        "weights": sorted({r.weights for r in records}),
        "bytes": archive.total_bytes,
        "ratio": archive.ratio,
        **goals(archive),
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
